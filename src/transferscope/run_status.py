"""What a run tells while it goes on, to whoever looks at its store: one small file a run, gone when the run is."""

import json
import platform
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import psutil

from transferscope import atomic_files
from transferscope.engine.queue import Watch
from transferscope.engine.store import Store

FOLDER = ".live"
TELLS = 1.0  # seconds between two words of a run, at least
BEATS = 10.0  # ... and at most, also where nothing happens
GONE = 60.0  # seconds without a word after which a run on another machine counts as lost
# What the file of a run holds at least.
TOLD: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("host", "study"), str),
    **dict.fromkeys(("pid", "total", "workers"), int),
    **dict.fromkeys(("since", "began", "at", "told"), float),
    **dict.fromkeys(("running", "ended", "lost"), dict),
    "left": (float, int, type(None)),
}


def share(what: Mapping[str, Any]) -> float | None:
    """The share, 0 to 1, of a step that is done by an event of its progress; None where it does not tell."""
    if "epochs" in what:
        batches = max(what.get("batches", 1), 1)
        done = what["epoch"] - (what["batch"] > 0) + what["batch"] / batches
        return min(1.0, float(done / what["epochs"]))
    return float(what["done"] / what["total"]) if what.get("total") else None


@dataclass
class Live:
    """Hears an executor's events and passes them on to `watch`; a thread writes what they come to. A context manager.

    `left` says how many seconds the run will take; it is asked between events, in their thread. What cannot be written
    costs the run nothing.
    """

    store: Store
    study: str
    total: int  # steps that this run is to do
    workers: int
    watch: Watch
    left: Callable[[], float | None] = lambda: None
    _running: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
    _ended: dict[str, int] = field(default_factory=dict, init=False)  # steps by how they ended
    _lost: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)  # those that failed, or for that not run
    _said: dict[str, Any] = field(default_factory=dict, init=False)
    _next: float = field(default=0.0, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        me = psutil.Process()
        self._who = {"host": platform.node(), "pid": me.pid, "since": me.create_time(), "began": time.time()}
        self._file = self.store.root.absolute() / FOLDER / f"{platform.node()}-{me.pid}-{uuid4().hex[:8]}.json"

    def __enter__(self) -> Self:
        _tidy(self.store)
        self._tell()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def __call__(self, event: str, what: Mapping[str, Any]) -> None:
        self.watch(event, what)
        key = what["key"]
        if event == "started":
            self._running[key] = {"began": time.time(), "share": 0.0}
        elif event == "progress" and key in self._running:
            self._running[key] |= {name: value for name, value in what.items() if name != "key"}
            if (done := share(what)) is not None:
                self._running[key]["share"] = done
        elif event == "ended":
            self._running.pop(key, None)
            self._ended[what["status"]] = self._ended.get(what["status"], 0) + 1
            if what["status"] in ("failed", "skipped"):
                self._lost[key] = {"status": what["status"], "error": what["error"]}
        if event in ("started", "ended") or time.monotonic() >= self._next:
            self._tell()

    def _tell(self) -> None:
        """What the thread is to write next; a new object every time, for the thread reads it as this one goes on."""
        self._next = time.monotonic() + TELLS
        self._said = {
            **self._who,
            "study": self.study,
            "total": self.total,
            "workers": self.workers,
            "left": self.left(),
            "at": time.time(),
            "running": {key: dict(said) for key, said in self._running.items()},
            "ended": dict(self._ended),
            "lost": dict(self._lost),
        }

    def _write(self) -> None:
        told: dict[str, Any] = {}
        when = 0.0
        while True:
            if self._said is not told or time.monotonic() - when >= BEATS:
                told, when = self._said, time.monotonic()
                with suppress(OSError, TypeError, ValueError):  # a full disk, words of somebody's task that are no JSON
                    self._file.parent.mkdir(parents=True, exist_ok=True)
                    atomic_files.write_json(self._file, {**told, "told": time.time()})
            if self._over.wait(TELLS):
                return


def heard(store: Store) -> list[dict[str, Any]]:
    """What the runs that are at work on a store told last, the oldest run first. Nothing is written."""
    found = [said for file in _files(store) if (said := _read(file)) is not None and _goes_on(said)]
    return sorted(found, key=lambda said: said["began"])


def _files(store: Store) -> list[Path]:
    return sorted((store.root / FOLDER).glob("[!.]*.json"))


def _read(file: Path) -> dict[str, Any] | None:
    """What a run told; None where the file is gone, or holds something else."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        for name, kind in TOLD.items():
            if not isinstance(said[name], kind):
                return None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return dict(said)


def _goes_on(said: Mapping[str, Any]) -> bool:
    """Whether the run that told this is still there: of one on this machine its process, else how long it is silent."""
    silent = abs(time.time() - float(said["told"]))
    if said["host"] != platform.node():
        return silent < GONE
    with suppress(psutil.Error):
        return abs(float(psutil.Process(said["pid"]).create_time()) - float(said["since"])) < 2
    return silent < 2 * BEATS  # it may be in another container, whose processes are not to be seen


def _tidy(store: Store) -> None:
    """Remove the files of runs that were killed."""
    with suppress(OSError):
        for file in _files(store):
            said = _read(file)
            if not (said and _goes_on(said)) and time.time() - file.stat().st_mtime > GONE:
                file.unlink(missing_ok=True)
        atomic_files.sweep(store.root / FOLDER, older=GONE)
