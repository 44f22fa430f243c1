"""The script that prints the tables of docs/statistics.md runs, and the page has the tables it prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PARTS = ("deciding", "images", "pairs", "many", "absence")


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_the_page_has_the_rows_that_are_printed(part: str) -> None:
    done = subprocess.run(
        [sys.executable, HERE / "tables_over_seeds.py", part, "--repetitions", "2"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    page = (HERE.parents[1] / "docs" / "statistics.md").read_text(encoding="utf-8")
    printed, told = ([_named(line) for line in text.splitlines() if line[:1] == "|"] for text in (done.stdout, page))
    assert printed and set(printed) <= set(told)


def _named(line: str) -> str:
    """A row of a table without the numbers that were measured: those with a point, and what stands in brackets."""
    return re.sub(r"\(\d[\d.]*\)|\d+\.\d+|\bnan\b", "", line)
