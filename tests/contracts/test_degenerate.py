"""Every analysis tells of tables in which nothing varies, nothing is defined, or hardly anything is there."""

from collections.abc import Callable

import polars as pl
import pytest
from contract import analyses as contract
from contract.analyses import Done

from transferscope import analyses

NAMES = analyses.names()


@pytest.mark.parametrize("kind", contract.DEGENERATE)
@pytest.mark.parametrize("name", NAMES)
def test_a_section_survives_a_degenerate_table(done: Callable[[str], Done], name: str, kind: str) -> None:
    contract.check_degenerate(done(name), kind)


@pytest.mark.parametrize("name", NAMES)
def test_a_section_survives_any_column_without_a_value(done: Callable[[str], Done], name: str) -> None:
    contract.check_any_column(done(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_section_survives_one_target_seed_or_arm(done: Callable[[str], Done], name: str) -> None:
    contract.check_one_of_each(done(name))


def test_nobody_makes_a_mistake(done: Callable[[str], Done]) -> None:
    of = done("mistakes")
    none = of.whole.rows.with_columns(
        *(pl.lit(0).alias(c) for c in ("wrong_a", "wrong_b", "common", "only_a", "only_b")),
        *(pl.lit(None, pl.Float64).alias(c) for c in ("kappa", "jaccard", "share_a", "share_b", "expected_jaccard")),
    )
    section = contract.section_of(of, none)
    said = " ".join(section.notes)
    assert "no mistakes to compare: no network of the pair is wrong in any of the 24 test answers" in said
    assert not section.findings and section.tables[0].rows["kappa"].null_count() == section.tables[0].rows.height
