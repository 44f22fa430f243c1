"""The arms: the initial values a run starts from, each a pure function of two state dicts, one function per arm."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from transferscope.devices import exact
from transferscope.errors import UserError, did_you_mean
from transferscope.models.arms import Arm, parse_arm
from transferscope.models.blocks import Block, blocks, parameters_of
from transferscope.models.build import build_network, head_names
from transferscope.models.load_report import Loaded
from transferscope.models.loading import fit
from transferscope.models.pretrained import weights_state
from transferscope.models.weights import belongs
from transferscope.random_streams import stream

State = Mapping[str, Tensor]


def start(
    arm: str | Arm,
    net: nn.Module,
    *,
    network: str,
    classes: int,
    weights: str | State | None = None,
    seed: int,
    head_seed: int | None = None,
    min_share: float = 0.9,
    allow: Sequence[str] = (),
    example: Tensor | None = None,
) -> Loaded | None:
    """Give `net`, as `build_network(network, classes, seed=seed)` made it, the initial values of `arm`.

    `weights` are the pretrained tensors or the reference to them. `seed` draws whatever the arm draws. The head is
    always a fresh draw: the one that `build_network(network, classes, seed=head_seed)` has, so one `head_seed` for all
    replicas makes them share it (default: `seed`). `example` orders the blocks (see `blocks.blocks`). Returns what was
    loaded, None for `random`. Raises UserError for weights that do not fit (see `loading.fit` for `min_share` and
    `allow`) or equal the random ones, and for an unknown block.
    """
    arm = parse_arm(arm) if isinstance(arm, str) else arm
    head = head_names(net, classes)
    loaded = None
    if arm.needs_weights:
        if weights is None:
            raise UserError(f"arms: '{arm}' needs pretrained weights; set pretrained.weights.")
        state = weights_state(weights, network) if isinstance(weights, str) else weights
        fresh = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        found, loaded = fit(net, state, head=head, min_share=min_share, allow=allow)
        if all(torch.equal(found[name], fresh[name]) for name, _ in net.named_parameters() if name in found):
            raise UserError("weights: the pretrained weights equal the random initial values; nothing was loaded.")
        net.load_state_dict(initial(arm, net, fresh, found, seed=seed, example=example))
    if head_seed is not None and head_seed != seed:
        other = build_network(network, classes, seed=head_seed).state_dict()
        net.load_state_dict({name: t for name, t in other.items() if belongs(name, head)}, strict=False)
    return loaded


def initial(
    arm: Arm, net: nn.Module, fresh: State, found: State, *, seed: int, example: Tensor | None = None
) -> dict[str, Tensor]:
    """The full state dict of an arm, given the fresh one of `net` and the pretrained tensors found for its body."""
    trained = tuple(name for name, _ in net.named_parameters() if name in found)
    match arm.name:
        case "random":
            return random(fresh)
        case "pretrained":
            return pretrained(fresh, found)
        case "stats":
            return stats(fresh, found, trained, seed=seed)
        case "permuted":
            return permuted(fresh, found, trained, seed=seed)
    above = stats(fresh, found, trained, seed=seed) if arm.above == "stats" else random(fresh)
    return transfuse(above, found, blocks(net, example), arm.upto)


def random(fresh: State) -> dict[str, Tensor]:
    """RI: the fresh values."""
    return dict(fresh)


def pretrained(fresh: State, found: State) -> dict[str, Tensor]:
    """P: the pretrained values wherever there are any."""
    return {**fresh, **found}


def stats(fresh: State, found: State, trained: tuple[str, ...], *, seed: int) -> dict[str, Tensor]:
    """Every parameter redrawn i.i.d. from a Gaussian with the pretrained tensor's mean and variance.

    The *Mean Var* initialisation of Raghu et al. 2019 ("Transfusion"), section 4: scale without features. Buffers stay
    fresh: running statistics describe activations that the redrawn weights no longer produce.
    """
    drawn = {}
    for name in trained:
        values = exact(found[name])
        noise = stream(seed, "stats", name).standard_normal(values.numel(), dtype=np.float32)
        spread = values.std(correction=0)
        redrawn = torch.from_numpy(noise).to(torch.float64).view(values.shape) * spread + values.mean()
        drawn[name] = redrawn.to(found[name])
    return {**fresh, **drawn}


def permuted(fresh: State, found: State, trained: tuple[str, ...], *, seed: int) -> dict[str, Tensor]:
    """The pretrained values of each parameter shuffled within it: its exact histogram without features.

    Buffers stay fresh, for the reason given at `stats`.
    """
    drawn = {}
    for name in trained:
        order = stream(seed, "permuted", name).permutation(found[name].numel())
        drawn[name] = found[name].flatten()[torch.from_numpy(order)].view(found[name].shape)
    return {**fresh, **drawn}


def transfuse(above: State, found: State, cut: tuple[Block, ...], upto: int | str | None) -> dict[str, Tensor]:
    """P up to block `upto` in execution order, `above` from there on (Raghu et al. 2019, *weight transfusion*).

    `upto` is a count (0: none), a block's name (that one included) or "all". Raises UserError for one there is not.
    """
    names = [block.name for block in cut]
    if upto == "all":
        count = len(cut)
    elif isinstance(upto, int):
        if upto > len(cut):
            raise UserError(f"arms: transfuse:{upto} asks for more than the network's {len(cut)} blocks.")
        count = upto
    elif upto in names:
        count = names.index(upto) + 1
    else:
        raise UserError(f"arms: the network has no block '{upto}'; {did_you_mean(str(upto), names)}")
    below = {name for block in cut[:count] for name in parameters_of(block, found)}
    return {**above, **{name: tensor for name, tensor in found.items() if name in below}}
