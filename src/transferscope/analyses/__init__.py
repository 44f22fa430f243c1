"""The analyses: one file an experiment. The file name is the key in the study's `analyses:`.

An analysis module has a docstring (what it measures, which section of the paper, how to read it), `Options` (a strict
pydantic model), ``plan(study, options)`` yielding ``(labels, step)``, and ``section(table, options) -> Section``.
"""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from transferscope.engine.plan import Cell, Plan
from transferscope.errors import UserError, did_you_mean
from transferscope.study import Study
from transferscope.study.explain import explain


class Options(BaseModel):
    """What every analysis's options share: strict, frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def names() -> list[str]:
    """The analyses that come with the project."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def load(name: str) -> ModuleType:
    """The module of an analysis: a file of this folder, or a dotted path to anyone's. UserError for neither."""
    if name in names():
        return importlib.import_module(f"{__name__}.{name}")
    if "." not in name:
        raise UserError(f"analyses: '{name}' is not an analysis; {did_you_mean(name, names())}")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"analyses: the module '{name}' cannot be imported ({error}).") from None


def options(name: str, given: dict[str, Any]) -> Any:
    """The checked options of an analysis. UserError in one sentence."""
    model = load(name).Options
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UserError(explain(error, model, f"analyses.{name}")) from None


def chosen(study: Study) -> dict[str, dict[str, Any]]:
    """The analyses of a study with their options; `images` opens every report, asked for or not."""
    return {"images": {}, **study.analyses}


def plan(study: Study) -> Plan:
    """Every cell of every analysis of a study, merged into one plan."""
    checked = {name: options(name, given) for name, given in chosen(study).items()}
    return Plan.of(
        Cell(name, labels, step) for name, given in checked.items() for labels, step in load(name).plan(study, given)
    )
