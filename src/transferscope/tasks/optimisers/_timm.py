"""Optimisers of timm, by the names of `timm.optim.list_optimizers`: what there is, what each takes, and building one.

What there is is read from timm's list of records (`OptimInfo(name=..., has_betas=...)`) without importing timm, which
takes seconds; a test holds it against what timm itself says.
"""

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError, reason

if TYPE_CHECKING:
    import torch
    from torch import nn

LIST = Path("optim") / "_optim_factory.py"
ABROAD = {"bnb": "bitsandbytes", "fused": "apex"}  # beginnings of names whose optimisers are other packages'
OWN_DRAWS = "kron"  # the beginning of those that draw random numbers of their own
RESTLESS = ("madgrad", "rmsproptf", "crmsprop", "cadafactor")  # beginnings of those that move weights at rate 0


@dataclass(frozen=True)
class Record:
    """What timm says of one optimiser: fields of a recipe that it takes, and whether it wants second derivatives."""

    takes: tuple[str, ...]
    betas: int
    second_order: bool


@cache
def records() -> Mapping[str, Record]:
    """Every optimiser by its name, but for second names of the same; none where timm keeps its list elsewhere."""
    spec = importlib.util.find_spec("timm")
    places = spec.submodule_search_locations if spec else None
    file = Path(next(iter(places))) / LIST if places else LIST
    if not file.is_file():
        return {}
    calls = (node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    said = (_constants(call) for call in calls if isinstance(call.func, ast.Name) and call.func.id == "OptimInfo")
    return {one["name"]: _record(one) for one in said if "name" in one}


def _constants(call: ast.Call) -> dict[str, Any]:
    words = {word.arg: word.value for word in call.keywords if word.arg} | dict(zip(("name",), call.args, strict=False))
    return {word: value.value for word, value in words.items() if isinstance(value, ast.Constant)}


def _record(said: Mapping[str, Any]) -> Record:
    has = {"momentum": "has_momentum", "betas": "has_betas", "eps": "has_eps"}
    usual = {"has_eps": True}
    takes = ("lr", "weight_decay", *(field for field, word in has.items() if said.get(word, usual.get(word, False))))
    return Record(takes, said.get("num_betas", 2), said.get("second_order", False))


def refusal(name: str) -> str | None:
    """Why a training cannot use the optimiser, as the rest of a sentence; None where it can."""
    record = records()[name]
    if record.second_order:
        return "wants second derivatives, which training does not compute"
    if name.startswith(OWN_DRAWS):
        return "draws random numbers of its own, so that a stopped run could not go on in the same bytes"
    if name.startswith(RESTLESS):
        return "moves weights at a rate of 0 too, so that no schedule could end a training"
    for beginning, package in ABROAD.items():
        if name.startswith(beginning) and importlib.util.find_spec(package) is None:
            return f"is the package {package}'s, which is not installed"
    return None


def names() -> tuple[str, ...]:
    """Those that a study may name."""
    return tuple(name for name in records() if refusal(name) is None)


def build(name: str, parameters: "Mapping[str, nn.Parameter]", given: Mapping[str, Any]) -> "torch.optim.Optimizer":
    """timm's optimiser with all parameters in one group; `given` are fields of the recipe that it takes.

    UserError for what timm, or the package that the optimiser is from, raises.
    """
    from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]

    try:
        made: torch.optim.Optimizer = create_optimizer_v2(list(parameters.values()), opt=name, **given)
    except Exception as error:
        raise UserError(f"recipe.optimizer: timm cannot build '{name}' ({reason(error)}).") from error
    return made
