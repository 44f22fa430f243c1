"""A log file holds every line with its time and level, whatever the console says, and is never in the way."""

import logging
import re
from datetime import datetime
from pathlib import Path

import pytest
from smoke.command import transferscope
from toy import tasks

from transferscope.console import lines, logfile
from transferscope.console.watch import Watcher
from transferscope.engine.estimate import Past
from transferscope.engine.executors import Slots
from transferscope.engine.executors.local import Local
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.store import Store
from transferscope.errors import UserError
from transferscope.forecast import Forecast

LINE = re.compile(r"(\S+) (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)")


def said(file: Path) -> list[tuple[str, str]]:
    """Level and text of every line; its time is absolute, and none is before the one above it."""
    found, last = [], None
    for line in file.read_text(encoding="utf-8").splitlines():
        match = LINE.fullmatch(line)
        assert match is not None, line
        when = datetime.fromisoformat(match[1])
        assert when.tzinfo is not None and (last is None or when >= last)
        found.append((match[2], match[3]))
        last = when
    return found


@pytest.fixture
def log(tmp_path: Path):
    logger = logging.getLogger("transferscope")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield tmp_path / "run.log"
    logfile.end(0)
    logger.setLevel(level)


def test_both_consoles_the_quiet_one_and_the_library_are_in_it(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logfile.begin(log)
    lines.out.print("[bold]one[/bold]\ntwo é")
    lines.silent.print("three")
    lines.err.print("[red]error:[/red] four")
    lines.err.print("five \x1b[31m")
    logging.getLogger("transferscope.data").debug("six")
    try:
        raise ValueError("seven")
    except ValueError:
        logging.getLogger("transferscope.data").warning("lost", exc_info=True)
    found = said(log)  # it is there before anything is closed
    assert found[0][1].startswith("transferscope ") and " began: transferscope" in found[0][1]
    assert found[1:7] == [
        ("INFO", "one"),
        ("INFO", "two é"),
        ("INFO", "three"),
        ("ERROR", "error: four"),
        ("WARNING", "five \\x1b[31m"),
        ("DEBUG", "six"),
    ]
    assert found[7] == ("WARNING", "lost") and found[-1] == ("WARNING", "ValueError: seven")
    assert "three" not in "".join(capsys.readouterr())


def test_it_is_appended_to_and_a_token_stays_out_of_it(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text("2026-01-01T00:00:00.000+00:00 INFO before\n")
    monkeypatch.setattr("sys.argv", ["transferscope", "serve", "--token", "secret-one", "--token=secret-two", "a b"])
    logfile.begin(log)
    logfile.end(3)
    found = [text for _, text in said(log)]
    assert found[0] == "before" and found[-1] == "ended with exit code 3"
    assert "secret" not in log.read_text() and found[1].endswith("serve --token ... --token=... 'a b'")
    lines.out.print("after")
    assert "after" not in log.read_text()


@pytest.mark.parametrize("name", ["absent/run.log", "folder", "file/run.log"])
def test_one_that_cannot_be_written_is_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--log-file: .* cannot be written \(.+\); choose another file"):
        logfile.begin(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_disk_that_is_full_costs_the_lines_only(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logfile.begin(Path("/dev/full"))
    for _ in range(3):
        lines.out.print("on")
    heard = capsys.readouterr()
    assert heard.out.count("on\n") == 3
    assert heard.err.count("takes no more (the disk is full); the work goes on") == 1 and "Traceback" not in heard.err


@pytest.mark.parametrize("live", [False, True])
def test_steps_and_the_failures_of_workers_are_in_it(log: Path, tmp_path: Path, live: bool) -> None:
    """Of a worker that is a process of its own: its traceback, and what it printed before."""
    store = Store(tmp_path / "store")
    store.prepare()
    good, bad = tasks.number.step(value=1), tasks.fail.step(how="loud")
    plan = Plan.of([Cell("a", {"which": "good"}, good), Cell("a", {"which": "bad"}, bad)])
    slots = Slots(("cpu",), 1, 1)
    logfile.begin(log)
    forecast = Forecast(Past(store), "", {})
    with Watcher(lines.silent, plan, [good, bad], forecast, 1, live=live, failures=store.root / "failures") as watch:
        Local(slots).run([good, bad], store, watch)
    found = said(log)
    texts = [text for _, text in found]
    assert {"started number good", "started fail bad"} <= set(texts)
    assert any(re.fullmatch(r"\[.*\] done number good \(.* s\)", text) for text in texts)
    assert any(level == "ERROR" and text.startswith("failed fail bad: RuntimeError: loud") for level, text in found)
    assert ("ERROR", "RuntimeError: loud") in found and ("ERROR", "a last word") in found
    assert ("ERROR", "--- what it printed last ---") in found


def test_a_verb_that_is_piped_logs_and_says_how_it_ended(tmp_path: Path) -> None:
    done = transferscope("run", "none.yaml", "--log-file", "a.log", "--quiet", cwd=tmp_path)
    assert done.returncode == 2
    found = said(tmp_path / "a.log")
    assert found[0][1].endswith("run none.yaml --log-file a.log --quiet")
    assert found[1][0] == "ERROR" and "none.yaml" in found[1][1]
    assert found[-1] == ("INFO", "ended with exit code 2")
    refused = transferscope("run", "none.yaml", "--log-file", str(tmp_path), cwd=tmp_path)
    assert refused.returncode == 2 and refused.stderr.startswith("error: --log-file: ")
    assert refused.stderr.count("\n") == 1
