"""`file:PATH`: weights in a `.safetensors` file, or in a `.pth`, `.pt` or `.bin` file that holds tensors only."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError
from transferscope.models import refs
from transferscope.models.pretrained import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from torch import Tensor


def check(rest: str, network: str | None) -> None:
    """UserError unless a path is given and, with a network, the file is there."""
    if not rest:
        raise UserError("'file:' lacks a path, e.g. file:weights.safetensors.")
    if network is not None and not Path(rest).expanduser().is_file():
        raise UserError(f"weights: no file '{rest}'; file: takes the path of a .safetensors or .pth file.")


def files(rest: str, network: str) -> list[Path]:
    """The file itself."""
    return [Path(rest).expanduser()]


def fingerprint(rest: str, network: str) -> str:
    """Hash of the tensors (names, dtypes, shapes, bytes): the same for every file format that holds them."""
    from transferscope.models.weights import fingerprint_state

    return fingerprint_state(state(rest, network))


def describe(rest: str, network: str) -> dict[str, Any]:
    """timm's preprocessing for the architecture where the network is timm's, else ImageNet mean and std, bicubic."""
    shown: dict[str, Any] = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bicubic"}
    scheme, name = refs.split(network)
    if scheme == "timm":
        with contextlib.suppress(UserError):
            from transferscope.models.pretrained import timm as hub

            shown = hub.describe("", f"timm:{name}")
    return shown | {"source": f"weights from the file {Path(rest).name}"}


def state(rest: str, network: str) -> "dict[str, Tensor]":
    """The tensors under the names of the file; `weights.load_into` sees to prefixes."""
    from transferscope.models.weights import read_state

    return read_state(Path(rest).expanduser())
