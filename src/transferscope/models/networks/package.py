"""`package:minilm-l6`: an encoder of texts that a Python package ships, its states averaged, with a linear head."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError, did_you_mean
from transferscope.models.encoders import ENCODERS
from transferscope.models.networks import transformers

if TYPE_CHECKING:
    from torch import nn

EXAMPLE, READS = "minilm-l6", "texts"
OURS, LIBRARY = transformers.OURS, transformers.LIBRARY


def check(name: str) -> None:
    """UserError unless there is such an encoder and its package, and transformers, are installed."""
    if name not in ENCODERS:
        raise UserError(f"'package:{name}' is no network; {did_you_mean(name, tuple(ENCODERS))}")
    ENCODERS[name].home()
    transformers.check(name)


def settled(name: str, options: Mapping[str, Any], folder: Path) -> tuple[str, dict[str, Any]]:
    """The name, and the configuration in the package beside the `options`: a network is known by what it is."""
    _, found = transformers.settled(str(ENCODERS[name].home()), options, folder)
    return name, found


def build(name: str, classes: int, config: Mapping[str, Any] | None = None, **options: Any) -> "nn.Module":
    """The encoder with fresh weights, pooled as the package says, and a head of `classes` outputs, in float32."""
    check(name)
    home = ENCODERS[name].home()
    kind, usual = transformers.settled(str(home), {}, home)
    usual["config"] = config if config is not None else usual.get("config")
    return transformers.build(kind, classes, **{**usual, **options})
