"""Optimisers: what a gradient does to the weights. One file each, the file name being what `recipe.optimizer` says.

A file has a docstring that begins with its name, and one function, torch being imported inside it::

    def build(parameters: Mapping[str, nn.Parameter], *, lr: float, weight_decay: float) -> torch.optim.Optimizer

`parameters` are those that train, by name, in the network's order; each belongs to exactly one group. What stands after
the `*` are the fields of the recipe that the optimiser goes by (see `OFFERED`); a study that sets another of them is
refused, so that no number in a study file is without effect. Groups may differ in anything but the learning rate:
before every step the loop sets ``group["lr"]`` of all of them to what the schedule says, and at 0 no weight may move.
All that changes from step to step is kept in ``optimizer.state[parameter]`` as tensors and numbers: that is what a
stopped run saves and goes on from (`tasks.resume`). ``step()`` is called without a closure.

A dotted path names anyone's module. It is imported when training starts, and is identified by its name: when its code
changes so that numbers change, give it a new name.
"""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING

from transferscope import registry
from transferscope.errors import UserError

if TYPE_CHECKING:
    from types import ModuleType

    import torch
    from torch import nn

USUAL = "sgd"  # what every training used before there was a choice
OFFERED = ("lr", "momentum", "nesterov", "weight_decay")  # fields of the recipe that `build` may take


def names() -> list[str]:
    """The optimisers that come with the project."""
    return list(registry.names(__name__))


def check(name: str) -> None:
    """UserError unless `name` is one of them, or a module of somebody's that may exist; imports none of those."""
    if name in names():
        return
    if not registry.is_dotted(name):
        raise UserError(f"'{name}' is not an optimiser; {registry.hint(__name__, name)}")
    registry.need(name, name)


def unused(name: str) -> tuple[str, ...]:
    """The fields of a recipe that the optimiser pays no heed to; () for somebody's own, which is not imported."""
    if name not in names():
        return ()
    taken = inspect.signature(_module(name).build).parameters
    return tuple(field for field in OFFERED if field not in taken)


def build(
    name: str, parameters: "Mapping[str, nn.Parameter]", offered: Mapping[str, object]
) -> "torch.optim.Optimizer":
    """The optimiser `name` of `parameters`, given what it takes of `offered`, whose keys are those of `OFFERED`.

    UserError for a module that cannot be imported, or that has no `build` which can be called so.
    """
    check(name)
    module = _module(name)
    if not callable(getattr(module, "build", None)):
        raise UserError(f"recipe.optimizer: the module '{name}' has no function 'build(parameters, *, lr, ...)'.")
    taken = inspect.signature(module.build).parameters
    given = {field: value for field, value in offered.items() if field in taken}
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
