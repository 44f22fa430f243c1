"""What a study did otherwise than those who published a number: where nothing weighs, the two may be subtracted."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from transferscope.against.form import Group, Setting, Value
from transferscope.analyses import Chosen
from transferscope.analyses._shared.phrases import word
from transferscope.errors import UserError
from transferscope.models import in_words
from transferscope.section import DataSet
from transferscope.study import Study
from transferscope.study.pairs import SHORT, sides, trained
from transferscope.tasks.inputs import USUAL

NEARLY = 0.02  # share of the training images that may be left out, for val, say


@dataclass(frozen=True)
class Basis:
    """One analysis of a study as it was asked for, on one of its targets, and what that holds where it is known."""

    study: Study
    one: Chosen
    target: str
    holds: DataSet | None = None


def targets(study: Study, name: str, of: Setting) -> list[str]:
    """The targets of a study that a published one is, in the study's order."""
    return [ours for ours, said in study.targets.items() if ours == name or (of.data and fnmatch(said.ref, of.data))]


def differences(basis: Basis, of: Setting, group: Group, value: Value, metric: str | None) -> list[str]:
    """What weighs: a clause for everything that is known of the published number and was otherwise here."""
    return list(_differences(basis, of, group, value, metric))


def _differences(basis: Basis, of: Setting, group: Group, value: Value, metric: str | None) -> Iterator[str]:
    study, ref = basis.study, basis.study.targets[basis.target].ref
    if metric is not None and of.metric is not None and metric != of.metric:
        yield f"{word(metric)} instead of {word(of.metric)}"
    if of.data is not None and not fnmatch(ref, of.data):
        yield f"images of '{ref}' instead of '{of.data}'"
    if of.network is not None and study.network != of.network:
        yield f"{in_words(study.network)} instead of {in_words(of.network)}"
    if of.image_size is not None and study.input == USUAL and study.image_size != of.image_size:
        yield f"{study.image_size} px instead of {of.image_size}"
    arms = _arms(value)
    shorter = getattr(basis.one.options, "epochs", None)  # of an analysis that trains for fewer
    yield from _by_arm(arms, of.epochs, "epochs:", lambda arm: shorter or study.recipe.epochs_of(arm))
    yield from _by_arm(arms, group.lr, "a rate of", lambda arm: _single(study.recipe.rates(arm)))
    recipe = study.recipe.model_dump(mode="json")
    for key, theirs in of.recipe.items():
        if not _same(recipe.get(key), theirs):
            yield f"{key} {_said(recipe.get(key))} instead of {_said(theirs)}"
    for key, theirs in group.options.items():
        ours = getattr(basis.one.options, key, None)
        if not _same(ours, theirs):
            yield f"{basis.one.kind}.{key} {_said(ours)} instead of {_said(theirs)}"
    if basis.holds is not None:
        if of.train is not None and abs(basis.holds.train - of.train) > NEARLY * of.train:
            yield f"{basis.holds.train:,} training images instead of {of.train:,}"
        if of.test is not None and basis.holds.test != of.test:
            yield f"{basis.holds.test:,} test images instead of {of.test:,}"


def _arms(value: Value) -> list[str]:
    """The arms whose training a number depends on."""
    if value.arm is not None:
        return [value.arm]
    if value.pair is None:
        return list(SHORT)
    said = set(value.pair.replace("&", " ").split())
    return [arm for arm in SHORT if trained(arm) in said or trained(arm) in sides(value.pair)]


def _by_arm(arms: Sequence[str], theirs: Any, what: str, ours: Callable[[str], Any]) -> Iterator[str]:
    """What is otherwise for the `arms`, of what is said of all or by arm; once where it is the same for all."""
    found: dict[str, None] = {}
    for arm in arms:
        published = theirs.get(arm) if isinstance(theirs, Mapping) else theirs
        if published is None:
            continue
        try:
            here = ours(arm)
        except UserError:  # an arm that the study does not have
            continue
        if not _same(here, published):
            a, b = (_said(one) for one in (here, published))
            found[f"{what} {a} instead of {b}"] = None
    yield from found


def _single(rates: tuple[float, ...]) -> Any:
    return rates[0] if len(rates) == 1 else rates


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if _number(ours) and _number(theirs):
        return math.isclose(ours, theirs, rel_tol=1e-6, abs_tol=1e-12)
    return bool(ours == theirs)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_said, value))}]"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value).lower()
