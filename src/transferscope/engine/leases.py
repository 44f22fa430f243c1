"""Leases: who is at work on what in a bucket, which has no locks; one that is no longer renewed is void.

To take one a process writes an object of its own beside those of others and looks: alone, it has the lease. Of several
that come at once the first by name stays when the others are gone. That is safe where a listing shows all that was
written before, as those of S3, Google Cloud and Azure do. An object grows by a byte whenever it is renewed, so that one
listing tells of all; clocks are not compared.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from transferscope.engine.bucket import Bucket
from transferscope.errors import UserError

FOLDER = "locks"
RENEWED = 20.0  # seconds between two renewals
VOID = 120.0  # seconds without one after which a lease is void
LOOKS = 2.0  # seconds for which a listing of all leases holds
YIELDS = 5  # looks that the first of several waits for the others to go
PAUSE = 0.2  # seconds between them


class Leases:
    """The leases of a bucket, by name."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._seen: dict[str, tuple[int, float]] = {}  # objects: their bytes, and since when we know these
        self._gone: dict[str, bool] = {}  # whether the process of an object, if of this machine, is no more
        self._all: dict[str, int] = {}
        self._looked = -LOOKS

    def held(self, name: str) -> bool:
        """Whether a process, of this machine or another, is at work under a name. Void leases are removed."""
        if time.monotonic() - self._looked >= LOOKS:
            self._all = {one: said.size for one, said in self._bucket.names(FOLDER).items()}
            self._looked = time.monotonic()
            self._seen = {one: seen for one, seen in self._seen.items() if one in self._all}
        return bool(self._valid({one: size for one, size in self._all.items() if one.startswith(f"{name}/")}))

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """Hold a lease inside the block; False where another process has it."""
        own = f"{name}/{uuid4().hex}"
        said = json.dumps(_self()).encode()
        self._bucket.write(f"{FOLDER}/{own}", said)
        stop = threading.Event()
        try:
            if not self._is_first(name, own):
                yield False
                return
            threading.Thread(target=self._renew, args=(own, said, stop), daemon=True).start()
            yield True
        finally:
            stop.set()
            with suppress(UserError):  # it will be void
                self._bucket.delete([f"{FOLDER}/{own}"])

    def _is_first(self, name: str, own: str) -> bool:
        for _ in range(YIELDS):
            there = {f"{name}/{one}": said.size for one, said in self._bucket.names(f"{FOLDER}/{name}").items()}
            others = self._valid({one: size for one, size in there.items() if one != own})
            if not others:
                return True
            if min(others) < own:
                return False
            time.sleep(PAUSE)
        return False

    def _valid(self, leases: dict[str, int]) -> list[str]:
        """Those of some leases that are valid; the others are removed."""
        now, valid = time.monotonic(), []
        for one, size in leases.items():
            if self._seen.get(one, (-1, 0.0))[0] != size:
                self._seen[one] = size, now
            if one not in self._gone:
                self._gone[one] = _is_gone(self._bucket.read(f"{FOLDER}/{one}"))
            if self._gone[one] or now - self._seen[one][1] > VOID:
                self._bucket.delete([f"{FOLDER}/{one}"])
            else:
                valid.append(one)
        return valid

    def _renew(self, own: str, said: bytes, stop: threading.Event) -> None:
        beats = 0
        while not stop.wait(RENEWED):
            beats += 1
            with suppress(UserError):
                self._bucket.write(f"{FOLDER}/{own}", said + b" " * (1 + beats % 1000))
            if stop.is_set():  # it was given up meanwhile
                with suppress(UserError):
                    self._bucket.delete([f"{FOLDER}/{own}"])


def _self() -> dict[str, Any]:
    return {"machine": _machine(), "process": os.getpid(), "began": psutil.Process().create_time()}


def _machine() -> list[str]:
    """What tells this machine, in its present run, and this container from others."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    with suppress(OSError):
        return [socket.gethostname(), boot.read_text(encoding="ascii").strip(), str(space.readlink())]
    return [socket.gethostname()]


def _is_gone(said: bytes | None) -> bool:
    """Whether a lease is that of a process of this machine which is no more, or no longer there itself."""
    if said is None:
        return True
    try:
        holder = json.loads(said)
        if holder["machine"] != _machine():
            return False
        return bool(abs(psutil.Process(int(holder["process"])).create_time() - float(holder["began"])) > 1.0)
    except psutil.NoSuchProcess:
        return True
    except (ValueError, KeyError, TypeError):
        return False
