"""What a study file leaves to the files beside its network and weights: their names, sizes and tokenizers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transferscope import models
from transferscope.errors import UserError
from transferscope.tasks import inputs


def settled(raw: Mapping[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """The network with all in its text that decides it, weights that are meant as its own, and its size in pixels.

    What is no network is left for the model to refuse.
    """
    try:
        text = models.written(raw.get("network"))
        if not isinstance(text, str):
            return {}
        models.check_network_ref(text)
    except UserError as error:
        said = str(error)
        raise UserError(f"{where}: {said if said.startswith('network') else f'network: {said}'}") from None
    try:
        found: dict[str, Any] = {"network": models.settled(text, folder)}
        if "image_size" not in raw and (size := models.meant_for(text, folder)):
            found["image_size"] = size
    except UserError as error:
        raise UserError(f"{where}: network: {error}") from None
    given, weights = raw.get("pretrained"), None
    if isinstance(given, str):
        found["pretrained"] = weights = models.own_weights(given, text)
    elif isinstance(given, Mapping) and isinstance(given.get("weights"), str):
        weights = models.own_weights(given["weights"], text)
        found["pretrained"] = {**given, "weights": weights}
    return found | _input(raw.get("input"), text, weights, where, folder)


def _input(said: Any, network: str, weights: str | None, where: str, folder: Path) -> dict[str, Any]:
    """The kind of input with all in its text that lies beside the network or the weights; {} for none that is said."""
    try:
        kind = inputs.written(said)
        return {"input": inputs.settled(kind, network, weights, folder)} if isinstance(kind, str) else {}
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except ValueError:  # which the model will say
        return {}
