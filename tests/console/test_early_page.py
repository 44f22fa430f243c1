"""The page is written when an analysis is complete, not too often, and never at the cost of the run."""

from types import SimpleNamespace
from typing import Any

from transferscope.console.early_page import EarlyPage
from transferscope.engine.plan import Cell, Plan


def early(write: Any, every: float = 0.0) -> tuple[EarlyPage, list[str]]:
    """Two analyses: one of the steps a and b, one of b and c."""
    steps = {name: SimpleNamespace(key=name, inputs=()) for name in "abc"}
    cells = [Cell(analysis, {}, steps[name]) for analysis, name in (("x", "a"), ("x", "b"), ("y", "b"), ("y", "c"))]
    heard: list[str] = []
    plan: Any = SimpleNamespace(cells=cells)
    assert isinstance(plan.cells, list) and Plan
    return EarlyPage(plan, list(steps.values()), lambda event, what: heard.append(event), write, every), heard


def end(page: EarlyPage, *keys: str) -> None:
    for key in keys:
        page("ended", {"key": key, "status": "done"})


def test_it_is_written_when_an_analysis_has_its_last_step_and_not_after_all() -> None:
    written: list[int] = []
    page, heard = early(lambda: written.append(1))
    end(page, "a")
    assert not written
    end(page, "b")
    assert len(written) == 1
    end(page, "c")
    assert len(written) == 1, "the last page is written by the run itself"
    assert heard == ["ended"] * 3


def test_it_waits_between_two_pages() -> None:
    written: list[int] = []
    page, _ = early(lambda: written.append(1), every=1000.0)
    page._next = float("inf")
    end(page, "a", "b")
    assert not written


def test_what_raises_costs_that_page_only() -> None:
    def broken() -> None:
        raise RuntimeError("no page today")

    page, heard = early(broken)
    end(page, "a", "b", "c")
    assert heard == ["ended"] * 3
