"""A network as an arm starts it, with the head of its weights' source where they bring one."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from transferscope.models import inits
from transferscope.models.build import build_network, head_names
from transferscope.models.load_report import Loaded
from transferscope.models.names import choose
from transferscope.models.pretrained import weights_state
from transferscope.models.weights import belongs


@dataclass(frozen=True)
class Sourced:
    """The network, what was loaded into its body (None for `random`), its head's names, and the number of classes of
    the source when the head is the one the weights were trained with, else None."""

    net: nn.Module
    loaded: Loaded | None
    head: tuple[str, ...]
    source_classes: int | None


def sourced(
    network: str,
    arm: str,
    weights: str | None,
    classes: int,
    *,
    seed: int,
    min_share: float = 0.9,
    allow: Sequence[str] = (),
) -> Sourced:
    """`inits.start` of an arm on a fresh network, but `pretrained` keeps the source's head where `weights` hold one
    that fits; every other arm, and weights without a head, get a fresh one of `classes` outputs. Errors as there."""
    net = build_network(network, classes, seed=seed)
    state = weights_state(weights, network) if weights is not None else None
    own = {}
    if arm == "pretrained" and state is not None:
        given = choose(state, net.state_dict(), net).given
        matrix = given.get(f"{head_names(net, classes)[0]}.weight")
        if matrix is not None and matrix.ndim > 1 and len(matrix) > 1:
            other = build_network(network, len(matrix), seed=seed)
            heads = head_names(other, len(matrix))
            fresh = {name: tensor for name, tensor in other.state_dict().items() if belongs(name, heads)}
            if all(name in given and given[name].shape == tensor.shape for name, tensor in fresh.items()):
                own = {name: given[name] for name in fresh}
                net, classes = other, len(matrix)
    loaded = inits.start(
        arm, net, network=network, classes=classes, weights=state, seed=seed, min_share=min_share, allow=allow
    )
    net.load_state_dict(own, strict=False)
    return Sourced(net, loaded, head_names(net, classes), classes if own else None)
