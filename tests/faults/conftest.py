"""A table of the faults that were tried, at the end of the tests of this folder."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter  # `pytest.TerminalReporter` is younger than the oldest pytest
from rich.console import Console
from rich.table import Table

from transferscope.engine.store import Store

ENDS = ("passed", "failed", "error", "skipped")


@pytest.fixture
def store(tmp_path) -> Store:
    """An empty store."""
    store = Store(tmp_path / "store")
    store.prepare()
    return store


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All are slow: what they try hangs on no release of a library, so that one round of them is enough."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Every fault by module and in words, how often it was tried and how often survived."""
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(ENDS, 0))
    for where, what, end in _ended(terminalreporter):
        counts[where, what][end] += 1
    if not counts:
        return
    table = Table("kind", "fault", "tried", "survived", box=None)
    for (where, what), by in sorted(counts.items()):
        tried = sum(count for end, count in by.items() if end != "skipped")
        table.add_row(where, what, str(tried) if tried else "not here", str(by["passed"]) if tried else "")
    terminalreporter.section("faults tried and survived")
    Console(file=terminalreporter._tw._file, width=150, highlight=False).print(table)


def _ended(terminalreporter: TerminalReporter) -> Iterator[tuple[str, str, str]]:
    """(module, fault in words, how it ended) of every test of this folder."""
    for end in ENDS:
        for report in terminalreporter.stats.get(end, ()):
            file, _, test = getattr(report, "nodeid", "").partition("::")
            if "faults/" in file:
                module = file.rpartition("/test_")[2].removesuffix(".py").replace("_", " ")
                yield module, test.partition("[")[0].removeprefix("test_").replace("_", " "), end
