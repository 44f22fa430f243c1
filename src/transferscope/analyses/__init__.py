"""The analyses: one file an experiment. The file name is the key in the study's `analyses:`.

An analysis module has a docstring (what it measures, which section of the paper, how to read it), `Options` (a strict
pydantic model), ``plan(study, options)`` yielding ``(labels, step)``, and ``section(table, options) -> Section``. One
that makes no sense for the `task` of a target says so: ``NOT_FOR = {"regression": "it counts wrong answers, ..."}``.
One that cannot go by the `metric` of a target says so too: ``unswayed(study)`` yields sentences for `check`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from transferscope import registry
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.section import Section
from transferscope.strict_models import Strict
from transferscope.study import Study
from transferscope.study.explain import explain


class Options(Strict):
    """What every analysis's options share: strict, frozen, unknown keys refused."""


class OfTrained(Options):
    """Of an analysis that looks at trained networks."""

    checkpoint: Literal["final", "best", "ema"] = "final"
    """The weights that trained networks have: the `final` ones, those `best` on val, or the average of `recipe.ema`."""


class Entry(BaseModel):
    """What an analysis of a study may say besides its options."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str | None = None
    """Which analysis this is; null where NAME says it already, so that one analysis can stand in a study twice."""
    recipe: dict[str, Any] = {}
    """What the runs that it asks for change of the study's recipe, as `{lr: 0.002}`: with `type`, one analysis at two
    rates."""


def names() -> list[str]:
    """The analyses that come with the project."""
    return list(registry.names(__name__))


def load(name: str) -> ModuleType:
    """The module of an analysis: a file of this folder, or a dotted path to anyone's. UserError for neither."""
    if name not in names() and not registry.is_dotted(name):
        raise UserError(f"analyses: '{name}' is not an analysis; {registry.hint(__name__, name)}")
    found = registry.module(__name__, name, "analyses", lambda why: f"the module '{name}' cannot be imported ({why}).")
    if absent := [one for one in ("Options", "plan", "section") if not hasattr(found, one)]:
        raise UserError(f"analyses: the module '{name}' has no '{absent[0]}', as every analysis has.")
    return found


def options(name: str, given: dict[str, Any], kind: str | None = None) -> Any:
    """The checked options of an analysis that goes by `name` (and is a `kind`). UserError in one sentence."""
    model = load(kind or name).Options
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UserError(explain(error, model, f"analyses.{name}")) from None


@dataclass(frozen=True)
class Chosen:
    """One analysis of a study: its name there, its type, the module of that type, and its checked options."""

    name: str
    kind: str
    module: ModuleType
    options: Any
    recipe: Mapping[str, Any] | None = None
    best_on: str = "val"

    @property
    def title(self) -> str:
        return self._titled(str(getattr(self.module, "TITLE", self.kind)))

    def plan(self, study: Study) -> Iterator[Cell]:
        """Its cells. UserError where it looks at averaged weights, and the study keeps none."""
        study = self.asked_of(study)
        if isinstance(self.options, OfTrained) and self.options.checkpoint == "ema" and study.recipe.ema is None:
            raise UserError(
                f"analyses.{self.name}.checkpoint: no run averages its weights; set recipe.ema, say to 0.999."
            )
        for kind, why in getattr(self.module, "NOT_FOR", {}).items():
            if unfit := [name for name, target in study.targets.items() if target.task == kind]:
                raise UserError(f"analyses.{self.name}: {why} (target '{unfit[0]}'); remove it.")
        for labels, step in self.module.plan(study, self.options):
            yield Cell(self.name, labels, step)

    def unswayed(self, study: Study) -> Iterator[str]:
        """Why it does not go by what targets of the study say of their metric, a sentence each."""
        yield from getattr(self.module, "unswayed", lambda study: ())(study)

    def asked_of(self, study: Study) -> Study:
        """The study with the recipe that the analysis asks for."""
        return study.retrained(self.recipe, f"analyses.{self.name}.recipe") if self.recipe else study

    def section(self, table: ResultTable) -> Section:
        """Its part of the page. TypeError where the module gives something else."""
        made = self.module.section(table, self.options)
        if not isinstance(made, Section):
            raise TypeError(f"its section() gave {type(made).__name__}, not a Section")
        made = replace(made, title=self._titled(made.title))
        return _warned(made, self.options) if self.best_on == "test" else made

    def _titled(self, title: str) -> str:
        return title if self.name == self.kind else f"{title} ({self.name})"


def chosen(study: Study) -> dict[str, Chosen]:
    """The analyses of a study by name; `images` opens every report, asked for or not.

    An analysis stands twice in a study under two names, where `type:` says which one it is. UserError in one sentence.
    """
    every = {name: _chosen(name, given) for name, given in {"images": {}, **study.analyses}.items()}
    return {name: replace(one, best_on=one.asked_of(study).recipe.best_on) for name, one in every.items()}


def _warned(made: Section, options: Any) -> Section:
    """The section of a study whose best epochs were chosen on test images, which says so where it speaks of them."""
    from transferscope.analyses._shared.phrases import CHOSEN, CHOSEN_ON_TEST

    if getattr(options, "checkpoint", None) != "best" and "best" not in (getattr(options, "pairs", None) or ()):
        return made
    note = (
        "The best weights of a run were chosen on the test images (recipe.best_on: test): scores of them on the same "
        "images lean upward."
    )
    return replace(made, basis=made.basis.replace(CHOSEN, CHOSEN_ON_TEST), notes=[*made.notes, note])


def _chosen(name: str, given: Mapping[str, Any]) -> Chosen:
    rest = {key: value for key, value in given.items() if key not in Entry.model_fields}
    recipe = {} if given.get("recipe") is None else given["recipe"]
    if not isinstance(recipe, Mapping):
        raise UserError(f"analyses.{name}.recipe: give keys of the recipe and their values (it is {recipe!r:.60}).")
    if given.get("type") is None:
        return Chosen(name, name, load(name), options(name, rest), recipe)
    kind = str(given["type"])
    if name in names() and kind != name:
        raise UserError(f"analyses.{name}.type: '{name}' is an analysis itself; give this '{kind}' another name.")
    if not re.fullmatch(r"[\w.-]+", name):
        raise UserError(f"analyses: '{name}' names files of the report; use letters, digits, '-', '_' and '.'.")
    return Chosen(name, kind, load(kind), options(name, rest, kind), recipe)


def plan(study: Study) -> Plan:
    """Every cell of every analysis of a study, merged into one plan."""
    return Plan.of(cell for one in chosen(study).values() for cell in one.plan(study))
