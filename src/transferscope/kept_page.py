"""The page of a finished study: left as it lies there while nothing that it is made from has changed, else made anew.

What it is made from is the plan, every file of its results (by size, times and inode), the code of this package, and
the libraries that are installed; what it is, is its own files, by their digests. Both are remembered beside the store.
"""

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from transferscope import analyses, battery, interim_looks, registry
from transferscope.data.reference import SOURCES
from transferscope.engine import integrity
from transferscope.engine.plan import Plan
from transferscope.engine.step import canonical, encoded
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome
from transferscope.memo import Memo
from transferscope.report.results import Results, Summary
from transferscope.study import Study
from transferscope.tasks import inputs

READ = (analyses.__name__, inputs.__name__, SOURCES)  # packages whose modules are at work when a page is made
WRITTEN = ("report.html", "results.json", "resolved.yaml", "figures", "tables")  # of a page, in the study's folder


def summary(study: Study, steps: Plan, store: Store, outcomes: Mapping[str, Outcome]) -> Summary:
    """What a terminal is told of a study's page, which is written anew unless it lies there as it would be written.

    `outcomes` are those of this run, `steps` and `store` what the study was planned to. A page that lacks something,
    of a study that names modules of one's own or of a store in a bucket, is always written.
    """
    made_from = _made_from(study, steps, store)
    if made_from and not outcomes and (known := _known(study, store, made_from)):
        if known["judged"]:
            interim_looks.remember(study, store)
        return Summary(**known["told"], page=study.folder / WRITTEN[0])
    found = battery.results(study, outcomes)
    told = found.summary
    if made_from and not (told.problems or told.incomplete) and made_from == _made_from(study, found.plan, store):
        _memo(store).put({_name(study, store): {"made_from": made_from, **_as_it_is(study, found, told)}})
    return told


def _as_it_is(study: Study, found: Results, told: Summary) -> dict[str, Any]:
    """What is remembered of a page that was just written."""
    files = {name: integrity.digest(study.folder / name) for name in _files(study.folder)}
    judged = any(finding.effects for finding in found.findings)
    said = {"answers": told.answers, "alarms": told.alarms, "findings": told.findings, "notes": told.notes}
    return {"files": files, "told": said, "judged": judged}


def _known(study: Study, store: Store, made_from: str) -> dict[str, Any] | None:
    """What is remembered of the study's page, where that is made from the same and lies there whole."""
    known = _memo(store).read().get(_name(study, store))
    if not isinstance(known, dict) or known.get("made_from") != made_from:
        return None
    try:
        whole = all(integrity.digest(study.folder / name) == wanted for name, wanted in known["files"].items())
    except OSError:
        return None
    return known if whole else None


def _files(folder: Path) -> Iterator[str]:
    """The files of the page in a study's folder."""
    for name in WRITTEN:
        place = folder / name
        within = sorted(one for one in place.iterdir() if one.is_file()) if place.is_dir() else [place]
        yield from (one.relative_to(folder).as_posix() for one in within)


def _made_from(study: Study, steps: Plan, store: Store) -> str:
    """A digest of everything that the study's page is made from; "" where not all of it can be told."""
    if store.remote is not None or registry.foreign(READ):
        return ""
    told = hashlib.blake2b(digest_size=20)

    def add(*values: Any) -> None:
        told.update(canonical(values) + b"\n")

    add(_code(), study.resolved(), str(study.folder.resolve()), repr(interim_looks.design(study, store)))
    for cell in steps.cells:
        add(cell.analysis, {name: str(value) for name, value in cell.labels.items()}, cell.step.key)
    for step in steps.steps:
        add(step.task, step.key, encoded(step.params), list(_states(str(store.path(step.task, step.key)))))
    return told.hexdigest()


def _states(folder: str) -> Iterator[list[Any]]:
    """Name, size, times and inode of every file below a folder; nothing where there is none."""
    try:
        found = sorted(os.scandir(folder), key=lambda one: one.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for one in found:
        if one.is_dir():
            yield from _states(one.path)
        else:
            state = one.stat()
            yield [one.path[len(folder) :], state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


@cache
def _code() -> str:
    """A digest of what makes pages of results: this package's files, Python, and the names and versions of all that is
    installed."""
    told = hashlib.blake2b(sys.version.encode(), digest_size=20)
    own = Path(__file__).parent
    for folder, _, names in sorted(os.walk(own)):
        for name in sorted(names):
            if not name.endswith(".pyc"):
                told.update(canonical([os.path.relpath(folder, own), name, integrity.digest(Path(folder, name))]))
    for place in filter(Path.is_dir, map(Path, sys.path)):
        installed = sorted(one.name for one in place.iterdir() if one.name.endswith((".dist-info", ".egg-info")))
        told.update(canonical(installed))
    return told.hexdigest()


def _name(study: Study, store: Store) -> str:
    return os.path.relpath(study.folder.resolve() / WRITTEN[0], store.root.resolve())


def _memo(store: Store) -> Memo:
    return store.memo("pages.json")
