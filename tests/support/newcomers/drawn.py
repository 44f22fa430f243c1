"""`drawn:SEED`: for any network, what it is initialised with at that seed; a control that costs nothing."""

from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError
from transferscope.models.pretrained import PLAIN_PREPROCESSING

if TYPE_CHECKING:
    from torch import Tensor

EXAMPLE = ("7", "torchvision:squeezenet1_1")
CLASSES = 1000  # of the head, which no study uses


def check(rest: str, network: str | None) -> None:
    """UserError unless a seed is given."""
    if not rest.isdecimal():
        raise UserError(f"weights: 'drawn:{rest}' should give a seed, such as drawn:7.")


def fingerprint(rest: str, network: str) -> str:
    """The values follow from the seed and the network."""
    return f"drawn {rest} for {network}"


def describe(rest: str, network: str) -> dict[str, Any]:
    """Images are fed as to networks without pretrained weights."""
    return PLAIN_PREPROCESSING | {"source": f"a random initialisation (seed {rest})"}


def state(rest: str, network: str) -> "dict[str, Tensor]":
    """The tensors under the network's own names."""
    from transferscope.models.build import build_network

    return build_network(network, CLASSES, seed=int(rest)).state_dict()
