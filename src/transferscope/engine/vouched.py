"""Results that were found whole before: who only tells of them does not read them again while their files stay.

A file stays while its size, times and inode do. What reads a result (a run, a page) holds it against its digests all
the same; a disk that changes bytes by itself is noticed there, and not here.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transferscope.engine.artifact import ROWS, SAID, Artifact
from transferscope.engine.store import Store
from transferscope.memo import Memo

SETTLED = 2.0  # seconds since a file's last change, from which on one more change shows in its times on any file system

Check = Callable[[Artifact], None]


@contextmanager
def vouched(store: Store) -> Iterator[Check]:
    """What raises as `Artifact.check_rows` does, for results of a store; in a bucket everything is read."""
    if store.remote is not None:
        yield Artifact.check_rows
        return
    memo = store.memo("vouched.json")
    known, found = memo.read(), dict[str, list[int]]()

    def check(artifact: Artifact) -> None:
        folder = str(artifact.path)
        name, state = folder[len(str(store.root)) + 1 :], _state(folder)
        if state and known.get(name) == state:
            return
        artifact.check_rows()
        if state and state == _state(folder):
            found[name] = state

    yield check
    if found:
        _remember(memo, store, found)


def _remember(memo: Memo, store: Store, found: dict[str, list[int]]) -> None:
    def joined(known: dict[str, Any]) -> dict[str, Any]:
        return {name: state for name, state in {**known, **found}.items() if (store.root / name / SAID).exists()}

    memo.change(joined)


def _state(folder: str) -> list[int]:
    """Size, times and inode of a result's folder and its small files; nothing where one is missing or just changed."""
    state: list[int] = []
    for place in (folder, f"{folder}/{SAID}", f"{folder}/{ROWS}"):
        try:
            of = os.stat(place)  # noqa: PTH116 (of every result)
        except OSError:
            return []
        if time.time() - of.st_ctime < SETTLED:
            return []
        state += (of.st_size, of.st_mtime_ns, of.st_ctime_ns, of.st_ino)
    return state
