"""Groups: which parameters are not decayed, and what share of the learning rate each has, for any optimiser."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn


def regroup(
    optimizer: "torch.optim.Optimizer",
    net: "nn.Module",
    *,
    decay_norms: bool,
    layer_decay: float,
    lr_scale: Mapping[str, float] | None = None,
) -> None:
    """Split the groups of an optimiser that has taken no step, so that each has one decay and one ``lr_scale``: the
    share of the layer times that of the name (`shares`).

    Without `decay_norms`, parameters of norms and biases (and those that a timm network names in `no_weight_decay`)
    get no weight decay: UserError where the optimiser has none that could be left out.
    """
    if decay_norms and layer_decay == 1 and not lr_scale:
        return
    spared = set() if decay_norms else _spared(net)
    scales = {} if layer_decay == 1 else dict(_scales(net, layer_decay))
    named = shares([name for name, _ in net.named_parameters()], lr_scale or {})
    for name, p in net.named_parameters():
        if name in named:
            scales[id(p)] = scales.get(id(p), 1.0) * named[name]
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        if spared and "weight_decay" not in group:
            raise UserError("recipe.decay_norms: the optimiser decays nothing; remove the key, or leave it at true.")
        found: dict[tuple[float, bool], dict[str, Any]] = {}
        for p in group["params"]:
            scale, bare = scales.get(id(p), 1.0), id(p) in spared
            if (scale, bare) not in found:
                changes = {"lr_scale": scale} | ({"weight_decay": 0.0} if bare else {})
                found[scale, bare] = {**group, **changes, "params": []}
            found[scale, bare]["params"].append(p)
        groups.extend(found.values())
    optimizer.param_groups[:] = groups


def shares(names: Iterable[str], lr_scale: Mapping[str, float]) -> dict[str, float]:
    """The factor of every parameter that fits a pattern of `lr_scale`, by the first that it fits.

    UserError for a pattern that fits none of `names`, the parameters of a network.
    """
    known = list(names)
    for pattern in lr_scale:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise UserError(
                f"recipe.lr_scale: no parameter of the network fits '{pattern}'; its names are such as "
                f"{', '.join(known[:3])}."
            )
    found = {}
    for name in known:
        first = next((factor for pattern, factor in lr_scale.items() if fnmatchcase(name, pattern)), None)
        if first is not None:
            found[name] = first
    return found


def _spared(net: "nn.Module") -> set[int]:
    """Identities of the parameters that are not decayed, as timm has it."""
    from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]

    named = getattr(net, "no_weight_decay", None)
    groups = param_groups_weight_decay(net, 1.0, no_weight_decay_list=named() if callable(named) else ())
    return {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}


def _scales(net: "nn.Module", layer_decay: float) -> Mapping[int, float]:
    """The share of every parameter: 1 for the head, times `layer_decay` for each layer below it.

    Layers are those of timm's `group_matcher`; a network without has its blocks for layers (`models.blocks`).
    """
    if callable(getattr(net, "group_matcher", None)):
        from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

        groups = param_groups_layer_decay(net, layer_decay=layer_decay)
        return {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    from transferscope.models.blocks import blocks, parameters_of

    cut, named = blocks(net), dict(net.named_parameters())
    depth = {name: len(cut) - 1 - place for place, block in enumerate(cut) for name in parameters_of(block, named)}
    return {id(p): layer_decay ** depth[name] for name, p in named.items()}
