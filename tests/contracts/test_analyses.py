"""What every file of `analyses/` promises (`contract.analyses`): asked for one by `-k NAME`, it alone is computed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from contract import analyses as contract
from contract.analyses import Done

from transferscope import analyses, battery
from transferscope.study import Study

NAMES = analyses.names()


def test_there_are_analyses() -> None:
    assert {"images", "transfer"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_docstring_says_what_and_how_to_read_it(name: str) -> None:
    contract.check_explained(analyses.load(name))


@pytest.mark.parametrize("name", NAMES)
def test_options_are_strict_frozen_and_explained(name: str) -> None:
    contract.check_options(analyses.load(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_names_every_cell_once(done: Callable[[str], Done], name: str) -> None:
    contract.check_plan(done(name))


@pytest.mark.parametrize("name", NAMES)
def test_section_of_the_smoke_study(done: Callable[[str], Done], name: str) -> None:
    contract.check_section(done(name))


@pytest.mark.parametrize("gap", contract.GAPS)
@pytest.mark.parametrize("name", NAMES)
def test_section_survives_missing_cells(done: Callable[[str], Done], name: str, gap: str) -> None:
    contract.check_gap(done(name), gap)


def test_alone_an_analysis_asks_for_the_steps_that_it_asks_for_among_others(finished: Path) -> None:
    """What is read of a study with one analysis holds for the study with all."""
    path = finished / "study.yaml"
    cells = battery.plan(Study.load(path))[0].cells
    for name in NAMES:
        alone = contract.of_study(Study.load(path, {"analyses": contract.said(name)}), name)
        assert [c.step.key for c in alone.cells] == [c.step.key for c in cells if c.analysis == name], name
