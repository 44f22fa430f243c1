"""What a first study says of a network that its user names: weights, options, size of the images, optimiser."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from transferscope import models
from transferscope.errors import UserError

OWN = ("timm", "transformers")  # schemes whose networks come with weights of that name


@dataclass(frozen=True)
class Suited:
    """A network and its weights as YAML writes them, pixels of its images, and the optimiser it is used to."""

    network: str
    weights: str
    size: int
    optimizer: str = "sgd"


def suited(network: str | None, weights: str | None, size: int, beside: Path) -> Suited:
    """What goes with a network in a study of images of about `size` pixels that lies in `beside`.

    One that cuts patches and is made for another size is built for this one, or a quarter of its own if that is more,
    by timm's `img_size`, where it takes that; else it gets its own. UserError where it cannot be built, or there is
    nothing to start from.
    """
    from transferscope.models import usual_settings
    from transferscope.models.build import build_network

    if network is None:
        raise UserError("--weights: they are weights of a network; say which with --network.")
    scheme = network.partition(":")[0]
    if weights is None and scheme not in OWN:
        raise UserError(f"--network {network}: it brings no weights; give yours, --weights file:PATH.")
    weights = None if weights is None else _written(weights, beside)
    text = models.settled(network, beside)
    net = build_network(text, 2, seed=0)
    usual, patch, said = usual_settings.usual_side(net), usual_settings.patch_side(net), network
    if usual and patch and usual != size:
        size = max(size, patch * math.ceil(usual / usual_settings.SMALL / patch))  # fewer patches are hardly an image
        options = {"img_size": size}
        try:
            build_network(models.written({"ref": network, "options": options}), 2, seed=0)
        except UserError:
            size = usual
        else:
            said = f"{{ref: {network}, options: {json.dumps(options)}}}".replace('"', "")
    return Suited(said, weights or scheme, size, usual_settings.optimiser(net))


def _written(weights: str, beside: Path) -> str:
    """Weights as a study in `beside` refers to them: a path alone, from there or from here, is that of a file."""
    path = Path(weights.partition("#")[0]).expanduser()
    for folder, said in ((beside, weights), (Path(), str(Path(weights).expanduser().absolute()))):
        if (folder / path).exists() and ":" not in weights:
            return f"file:{said}"
    try:
        models.check_weights_ref(weights)
    except UserError as error:
        raise UserError(f"--weights: {error}") from None
    return weights
