"""Outputs of a finished study are a function of it alone: not of the process, folder, order or locale."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from smoke.command import environment, transferscope

pytestmark = pytest.mark.slow
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
VERBS = (
    ("status", "study.yaml"),
    ("plan", "study.yaml"),
    ("plan", "study.yaml", "--json"),
    ("results", "study.yaml"),
    ("results", "study.yaml", "--format", "json"),
    ("store", "study.yaml"),
    ("verify", "study.yaml"),
    ("gc", "study.yaml"),
    ("ls",),
    ("init", "images", "--out", "new.yaml"),
    ("check", "study.yaml"),
    ("run", "study.yaml"),
    ("report", "study.yaml"),
    ("--help",),
)

SAY = """
import json, sys
from transferscope import cli
for number, verb in enumerate(json.loads(sys.argv[1])):
    sys.argv[:] = ["transferscope", *verb]
    code = 0
    try:
        cli.main()
    except SystemExit as left:
        code = left.code or 0
    print(f"verb {number} ended with {code}")
"""


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file that a report writes."""
    files = [folder / "report.html", folder / "results.json", folder / "resolved.yaml"]
    files += [path for name in ("figures", "tables") for path in (folder / name).iterdir()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def moved(folder: Path, to: Path) -> Path:
    """A copy of a finished study without its page."""
    shutil.copytree(folder, to)
    for name in ("figures", "tables"):
        shutil.rmtree(to / name)
    for name in ("report.html", "results.json", "resolved.yaml"):
        (to / name).unlink()
    return to


@pytest.mark.slow
def test_a_report_has_the_same_bytes_anywhere(trained: Path, tmp_path: Path) -> None:
    here, there = moved(trained, tmp_path / "here"), moved(trained, tmp_path / "a" / "b" / "there")
    first = transferscope("report", cwd=here, PYTHONHASHSEED="1")
    second = transferscope("report", there / "study.yaml", cwd=tmp_path, PYTHONHASHSEED="2", **ASCII)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    ours, theirs = outputs(here), outputs(there)
    assert ours.keys() == theirs.keys() and any(name.endswith(".pdf") for name in ours)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert not [path for path in here.rglob(".*") if path.name not in (".scratch", ".live")], "no scratch file is left"


@pytest.mark.slow
def test_tables_hold_no_path_of_the_machine(trained: Path) -> None:
    for file in (trained / "store").glob("ingest/*/*.json"):
        if file.name != "step.json":
            assert str(trained.parent) not in file.read_text(encoding="utf-8"), file.name


@pytest.mark.slow
def test_every_verb_speaks_to_an_ascii_terminal(copied: Path) -> None:
    """One after the other in one process, which has that terminal."""
    done = subprocess.run(
        [sys.executable, "-c", SAY, json.dumps(VERBS)], cwd=copied, env=environment(**ASCII), capture_output=True
    )
    assert done.returncode == 0 and b"Error" not in done.stderr, (done.stdout + done.stderr).decode()
    said = done.stdout.decode("ascii")
    assert re.findall(r"^verb (\d+) ended with (\d+)$", said, re.MULTILINE) == [
        (str(number), "0") for number in range(len(VERBS))
    ]
    assert (copied / "tables" / "transfer.csv").read_bytes()


@pytest.mark.slow
def test_a_report_of_a_store_that_may_not_be_written(copied: Path, tmp_path: Path, call) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    rows = next((copied / "store" / "train").glob("*/rows.json"))
    rows.write_text(rows.read_text().replace("0.", "1.", 1))
    before[rows] = rows.stat().st_mtime_ns
    done = call("report", copied / "study.yaml", "--read-only", "--out", tmp_path / "page", cwd=tmp_path)
    assert done.code == 4, done.out + done.err
    assert "is damaged (rows.json" in (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before, "not even set aside"
    assert list((tmp_path / "page" / "figures").iterdir())
