"""Optimisers: what a gradient does to the weights. One file each, the file name being what `recipe.optimizer` says.

A file has a docstring that begins with its name, and one function, torch being imported inside it::

    def build(parameters: Mapping[str, nn.Parameter], *, lr: float, weight_decay: float) -> torch.optim.Optimizer

`parameters` are those that train, by name, in the network's order; each belongs to exactly one group. What stands after
the `*` are the fields of the recipe that the optimiser goes by (see `OFFERED`); a study that sets another of them is
refused, so that no number in a study file is without effect. `betas` and `eps` are given only where the recipe says
them. Groups may differ in anything but the learning rate: before every step the loop sets ``group["lr"]`` of all to
what the schedule says (times ``group["lr_scale"]`` where a layer has a share of its own, see `_groups`), and at 0 no
weight may move. All that changes from step to step is kept in ``optimizer.state`` and in the groups as tensors and
numbers: that is what a stopped run saves and goes on from (`tasks.resume`). ``step()`` is called without a closure.

What has no file here is one of timm's optimisers (`_timm`). A dotted path names anyone's module. It is imported when
training starts, and is identified by its name: when its code changes so that numbers change, give it a new name.
"""

import difflib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING

from transferscope import registry
from transferscope.errors import UserError
from transferscope.tasks.optimisers import _timm
from transferscope.tasks.optimisers._groups import regroup, shares

if TYPE_CHECKING:
    from types import ModuleType

    import torch
    from torch import nn

__all__ = ["OFFERED", "USUAL", "betas", "build", "check", "heeded", "lines", "names", "regroup", "shares"]

USUAL = "sgd"  # what every training used before there was a choice
OFFERED = ("lr", "momentum", "nesterov", "betas", "eps", "weight_decay")  # fields of the recipe that `build` may take


def names() -> list[str]:
    """The optimisers that come with the project."""
    return list(registry.names(__name__))


def lines() -> dict[str, str]:
    """What there is to choose from, each with a line that says what it is."""
    further = [name for name in _timm.names() if name not in names()]
    return {**registry.lines(__name__), "timm's": f"by their names there: {', '.join(further)}"}


def check(name: str) -> None:
    """UserError unless `name` is one of them, one of timm's, or a module of somebody's that may exist.

    Imports neither timm nor anybody's module.
    """
    if name in names():
        return
    if registry.is_dotted(name):
        registry.need(name, name)
    elif name not in _timm.records():
        raise UserError(f"'{name}' is not an optimiser; {_near(name)}")
    elif (why := _timm.refusal(name)) is not None:
        raise UserError(f"'{name}' {why}; {_near(name)}")


def _near(name: str) -> str:
    """The tail of a sentence: optimisers with names like it."""
    known = [*names(), *(one for one in _timm.names() if one not in names())]
    near = [one for one in difflib.get_close_matches(name, known, n=4, cutoff=0.6) if one != name]
    if len(near) == 1:
        return f"did you mean '{near[0]}'?"
    return f"near names are {', '.join(near)}." if near else "timm.optim.list_optimizers() has the others' names."


def heeded(name: str) -> tuple[str, ...]:
    """The fields of a recipe, of those `OFFERED`, that the optimiser goes by; all for somebody's, not imported here."""
    if name in names():
        taken = inspect.signature(_module(name).build).parameters
        return tuple(field for field in OFFERED if field in taken)
    if registry.is_dotted(name):
        return OFFERED
    return _timm.records()[name].takes


def betas(name: str) -> int | None:
    """How many `betas` the optimiser has; None where that is not known."""
    if name in names():
        return 2 if "betas" in heeded(name) else 0
    return None if registry.is_dotted(name) else _timm.records()[name].betas


def build(
    name: str, parameters: "Mapping[str, nn.Parameter]", offered: Mapping[str, object]
) -> "torch.optim.Optimizer":
    """The optimiser `name` of `parameters`, given what it takes of `offered`, whose keys are those of `OFFERED`.

    What is None is not given. UserError for a module that cannot be imported, or that has no `build` which can be
    called so.
    """
    check(name)
    said = {field: value for field, value in offered.items() if value is not None}
    if name not in names() and not registry.is_dotted(name):
        taken = heeded(name)
        return _timm.build(name, parameters, {field: value for field, value in said.items() if field in taken})
    module = _module(name)
    if not callable(getattr(module, "build", None)):
        raise UserError(f"recipe.optimizer: the module '{name}' has no function 'build(parameters, *, lr, ...)'.")
    taken = tuple(inspect.signature(module.build).parameters)
    given = {field: value for field, value in said.items() if field in taken}
    try:
        inspect.signature(module.build).bind(parameters, **given)
    except TypeError as error:
        raise UserError(
            f"recipe.optimizer: '{name}' wants to be built otherwise ({error}): besides the parameters it may take "
            f"{', '.join(OFFERED)}, and needs a default for anything else."
        ) from None
    made: torch.optim.Optimizer = module.build(parameters, **given)
    return made


def _module(name: str) -> "ModuleType":
    return registry.module(__name__, name, "recipe.optimizer")
