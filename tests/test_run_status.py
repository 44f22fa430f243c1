"""A run tells what it is at, in a file beside its results that is gone when it is."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from transferscope import run_status
from transferscope.engine.store import Store
from transferscope.run_status import Live, heard, share


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def until(what: Callable[[], Any]) -> Any:
    limit = time.monotonic() + 60
    while not (found := what()):
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)
    return found


def test_it_tells_what_runs_and_what_failed_and_is_gone_at_the_end(store: Store) -> None:
    events: list[str] = []
    with Live(store, "mine", 3, 2, lambda event, what: events.append(event), lambda: 12.5) as told:
        told("started", {"key": "a"})
        told("progress", {"key": "a", "epoch": 1, "epochs": 4, "batch": 0, "batches": 1, "metric": 0.5})
        told("started", {"key": "b"})
        told("ended", {"key": "b", "status": "failed", "seconds": 1.0, "error": "too hot"})
        told("ended", {"key": "c", "status": "done", "seconds": 1.0, "error": ""})
        run = until(lambda: next((one for one in heard(store) if one["lost"]), None))
        assert (run["study"], run["total"], run["workers"], run["left"]) == ("mine", 3, 2, 12.5)
        assert run["running"]["a"]["share"] == 0.25 and run["running"]["a"]["metric"] == 0.5
        assert run["lost"] == {"b": {"status": "failed", "error": "too hot"}} and "b" not in run["running"]
    assert events == ["started", "progress", "started", "ended", "ended"], "who watches hears all of it"
    assert heard(store) == [] and list((store.root / run_status.FOLDER).iterdir()) == []


def test_what_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    ended = []
    with Live(Store(tmp_path / "store"), "mine", 1, 1, lambda event, what: ended.append(what["key"])) as told:
        told("ended", {"key": "a", "status": "done", "seconds": 0.0, "error": ""})
    assert ended == ["a"]


KILLED = """
import sys, time
from pathlib import Path
from transferscope.engine.store import Store
from transferscope.run_status import Live
with Live(Store(Path(sys.argv[1])), "killed", 1, 1, lambda event, what: None):
    print("there", flush=True)
    time.sleep(600)
"""


def test_a_run_that_was_killed_is_not_heard_and_its_file_is_removed_by_a_later_one(store: Store) -> None:
    run = subprocess.Popen([sys.executable, "-c", KILLED, str(store.root)], stdout=subprocess.PIPE, text=True)
    until(lambda: heard(store))
    run.kill()
    run.communicate()
    file = next((store.root / run_status.FOLDER).iterdir())
    old = time.time() - 2 * run_status.GONE
    said = json.loads(file.read_text()) | {"told": old}
    file.write_text(json.dumps(said))
    os.utime(file, (old, old))
    assert heard(store) == []
    with Live(store, "next", 1, 1, lambda event, what: None):
        until(lambda: [one["study"] for one in heard(store)] == ["next"])
        assert not file.exists()


def said(**more: Any) -> dict[str, Any]:
    me, now = psutil.Process(), time.time()
    who = {"host": platform.node(), "pid": me.pid, "since": me.create_time(), "began": now, "told": now, "at": now}
    rest = {"study": "s", "total": 1, "workers": 1, "left": None, "running": {}, "ended": {}, "lost": {}}
    return {**who, **rest, **more}


@pytest.mark.parametrize(
    ("written", "counts"),
    [
        (said(), 1),
        (said(since=1.0), 0),  # another process has its number now
        ({"now": True, **said(host="elsewhere", pid=1)}, 1),
        (said(host="elsewhere", told=time.time() - 1000), 0),
        (said(running=[]), 0),
        (said(left="soon"), 0),
        ({"study": "s"}, 0),
        ([1, 2], 0),
        ("{", 0),
    ],
)
def test_only_runs_that_go_on_are_heard(store: Store, written: Any, counts: int) -> None:
    (store.root / run_status.FOLDER).mkdir(parents=True)
    if isinstance(written, dict) and "now" in written:
        written = {**written, "told": time.time()}  # the parameter was made when the tests were gathered
    text = written if isinstance(written, str) else json.dumps(written)
    (store.root / run_status.FOLDER / "one.json").write_text(text)
    assert len(heard(store)) == counts


def test_the_share_of_a_step() -> None:
    assert share({"epoch": 2, "epochs": 4, "batch": 5, "batches": 10}) == 0.375  # in the middle of the second
    assert share({"epoch": 4, "epochs": 4, "batch": 0, "batches": 1}) == 1
    assert share({"done": 3, "total": 4}) == 0.75
    assert share({"said": "loading"}) is None
