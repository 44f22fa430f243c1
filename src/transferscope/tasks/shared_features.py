"""Shared features: what a frozen part gives for images, computed by one run and read by all others that need the same.

They lie in the store's memo folder, a file for every part, table and choice of images. Nobody needs them: what was
deleted, damaged or cannot be written is computed again, in the same batches, so that the numbers are the same.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from transferscope import atomic_files
from transferscope.engine.artifact import Artifact
from transferscope.engine.machine import this_machine
from transferscope.engine.step import canonical
from transferscope.engine.task_context import Work
from transferscope.models.weights import fingerprint_state
from transferscope.probes.passes.entry_points import CLOSE, off

FOLDER = "features"
ROOM = 4 * 2**30  # bytes of all files; those that were used longest ago go
WAIT = 0.2  # seconds between two looks at a lock


def table_digest(folder: Path) -> str | None:
    """What tells the result in a folder from all others; None where no store vouches for it."""
    found = Artifact(folder).said.get("digest") if (folder / "step.json").exists() else None
    return None if found is None else str(found)


def digest(values: np.ndarray) -> str:
    """Of the bytes of an array."""
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()


def of(
    work: Work, question: Mapping[str, Any], computed: Callable[[], Tensor], first: Callable[[], Tensor]
) -> tuple[Tensor, float]:
    """The features (n, ...) that `question` asks for, and the seconds that it took to compute them.

    Where they were kept the `first` of them, computed now, must be what they were then: the question does not say
    everything, such as the code of somebody's network. A run that is computing the same is waited for; raises
    Interrupted.
    """
    if work.memo is None or question["table"] is None:
        return _timed(computed)
    how = [this_machine().describe(work.device), torch.__version__, torch.get_num_threads()]
    name = hashlib.blake2b(canonical({**question, "how": how}), digest_size=16).hexdigest()
    file = work.memo / FOLDER / f"{name}.safetensors"

    def known() -> tuple[Tensor, float] | None:
        if (found := _read(file)) is None:
            return None
        now = first()
        features, close = found[0].to(now.device), CLOSE[question["precision"]]
        return (features, found[1]) if off(features[: len(now)], now) <= close else None

    if not atomic_files.may_write(file):
        return known() or _timed(computed)
    with _alone(file, work):
        if (found := known()) is not None:
            return found
        features, seconds = _timed(computed)
        if features.is_contiguous():
            _write(file, features, seconds)
        return features, seconds


def _timed(computed: Callable[[], Tensor]) -> tuple[Tensor, float]:
    began = time.perf_counter()
    return computed(), time.perf_counter() - began


@contextmanager
def _alone(file: Path, work: Work) -> Iterator[None]:
    """Inside, no other process is at work on a file, unless the file system has no locks."""
    lock = FileLock(f"{file}.lock")
    with suppress(OSError, NotImplementedError):
        file.parent.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            work.go_on()
            with suppress(Timeout):
                lock.acquire(timeout=WAIT)
    try:
        yield
    finally:
        if file.exists():  # whoever waits for this very lock finds it
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _read(file: Path) -> tuple[Tensor, float] | None:
    try:
        with safe_open(file, "pt") as opened:
            features, said = opened.get_tensor("features"), opened.metadata()
        if fingerprint_state({"features": features}) != said["digest"]:
            return None
        with suppress(OSError):
            os.utime(file)
        return features, float(said["seconds"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def _write(file: Path, features: Tensor, seconds: float) -> None:
    held = {"features": features.cpu()}
    said = {"digest": fingerprint_state(held), "seconds": repr(seconds)}
    with suppress(OSError):
        atomic_files.write(file, save(held, metadata=said))
        _make_room(file.parent)


def _make_room(folder: Path) -> None:
    """Delete the files that were used longest ago, as many as are too much."""
    files = sorted(folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > ROOM:
            file.unlink(missing_ok=True)
