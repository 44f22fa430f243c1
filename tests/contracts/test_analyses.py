"""What every file of `analyses/` promises (`contract.analyses`): asked for one by `-k NAME`, it alone is computed."""

from collections.abc import Callable

import pytest
from contract import analyses as contract
from contract.analyses import Done

from transferscope import analyses

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
