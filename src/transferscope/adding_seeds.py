"""Adding seeds: one at a time to a study, until its claims are decided or the last look is reached.

Nothing is remembered between runs but results: a study is at the first look that lacks some or leaves a claim open.
"""

from collections.abc import Mapping

from transferscope import analyses, battery, interim_looks
from transferscope.analyses._shared import contrasts
from transferscope.engine.plan import Plan
from transferscope.engine.store import Store
from transferscope.section import Finding, Section
from transferscope.study import Study


def present(study: Study, *, timed: bool = False) -> tuple[Study, Plan, Store]:
    """The study with the seeds of its present look, its plan and its store; a study of fixed seeds as it is. `timed` as
    for `battery.plan`."""
    if study.growing is None:
        return study, *battery.plan(study, timed=timed)
    first, last = study.growing
    for count in range(first, last + 1):
        look = study.changed(seeds=tuple(range(count)))
        steps, store = battery.plan(look, timed=timed)
        if count == last or steps.todo(store) or not undecided(_sections(look, steps, store), count):
            break
    return look, steps, store


def undecided(sections: Mapping[str, Section], seeds: int) -> list[Finding]:
    """The findings on claims that another seed may decide: open, and with a value of every seed in every effect."""
    judged = [finding for section in sections.values() for finding in section.findings if finding.effects]
    return [
        one
        for one in judged
        if one.verdict == "open" and all(effect is not None and effect.n >= seeds for effect in one.effects)
    ]


def _sections(study: Study, steps: Plan, store: Store) -> dict[str, Section]:
    """What every analysis says at this look."""
    design, seeds = interim_looks.design(study, store), len(study.seeds)
    return {
        name: contrasts.judge(one.section(battery.table(name, steps, store)), design, seeds)
        for name, one in analyses.chosen(study).items()
    }
