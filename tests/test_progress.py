"""Bars of long probes: on a terminal and in a notebook, never in a step, a pipe or a file; nothing else changes."""

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, suppress

import polars as pl
import pytest
import torch
from smoke import nets
from smoke.command import environment

import transferscope as ts
from transferscope import progress

GONE = re.compile(r"\r +\r$")  # spaces over what stood there


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Notebook(io.StringIO):
    __module__ = "ipykernel.iostream"


@pytest.fixture(params=[Terminal, Notebook])
def seen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a bar writes from its first moment."""
    monkeypatch.setattr(progress, "AFTER", 0.0)
    return request.param()  # type: ignore[no-any-return]


def batches(count: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draws = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 3, 16, 16, generator=draws), torch.arange(8) % 4) for _ in range(count)]


def test_a_bar_counts_what_is_gone_through_and_goes(seen: io.StringIO) -> None:
    with redirect_stderr(seen):
        assert list(progress.over([1, 2, 3], "things")) == [1, 2, 3]
    said = seen.getvalue()
    assert "things" in said and "0/3" in said and GONE.search(said)


def test_a_bar_goes_where_one_stops_in_the_middle(seen: io.StringIO) -> None:
    with redirect_stderr(seen):
        for thing in progress.over(iter("abc"), "letters"):
            if thing == "b":
                break
        with pytest.raises(KeyboardInterrupt):
            _stopped()
    assert "letters" in seen.getvalue() and GONE.search(seen.getvalue())


def _stopped() -> None:
    for _ in progress.over(range(3), "numbers"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("probe", ["similarity", "path", "rewind", "criticality"])
def test_probes_show_how_far_they_are_and_find_the_same(probe: str, seen: io.StringIO) -> None:
    words = {"similarity": "batches", "criticality": "criticality of blocks"}.get(probe, "sets of weights")
    with redirect_stderr(seen):
        loud = _found(probe)
    assert words in seen.getvalue()
    written = seen.getvalue()
    with progress.silent(), redirect_stderr(seen):
        quiet = _found(probe)
    assert seen.getvalue() == written
    assert loud.equals(quiet)


def _found(probe: str) -> pl.DataFrame:
    torch.manual_seed(0)
    a, b = nets.tiny(4), nets.tiny(4)
    if probe == "criticality":
        return ts.criticality(b, a, batches(), alphas=2, sigmas=2, draws=1).table()
    more = {"alphas": 3} if probe == "path" else {}
    return getattr(ts, probe)(b, a, batches(), **more).table()


def test_nothing_is_shown_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "AFTER", 0.0)
    with redirect_stderr(io.StringIO()) as stream:
        assert list(progress.over(range(3), "things")) == [0, 1, 2] and stream.getvalue() == ""


def test_a_terminal_that_does_not_know_its_size_shows_one_too() -> None:
    pty = pytest.importorskip("pty")
    code = (
        "import time; from transferscope import progress; progress.AFTER = 0.0\n"
        "for _ in progress.over(range(4), 'things'): time.sleep(0.2)"
    )
    screen, line = pty.openpty()
    watched = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, stderr=line, env=environment())
    os.close(line)
    seen = b""
    with suppress(OSError):  # Linux's way to say that nobody writes any more
        while some := os.read(screen, 1024):
            seen += some
    os.close(screen)
    assert watched.wait() == 0
    assert b"things:" in seen and b"3/4" in seen
