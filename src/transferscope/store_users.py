"""Users: which studies a store is kept for, and what each of them asked for when it last ran."""

import os
import socket
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transferscope.engine.plan import Plan
from transferscope.engine.step import KEEPS, Keep
from transferscope.engine.store import Store
from transferscope.memo import Memo


def register(file: Path, steps: Plan, store: Store, keep: Keep) -> None:
    """Note in its store what a study asks for, and how much of it is to stay; the note of its last run is replaced."""
    names = [f"{step.task}-{step.key}" for step in steps.steps]
    when = datetime.now(UTC).isoformat(timespec="seconds")
    where = os.path.relpath(file.resolve(), store.root.resolve())  # of a copied or mounted store as well
    if store.remote is not None:
        where = f"{socket.gethostname()}:{file.resolve()}"
    _memo(store).put({where: {"steps": names, "ran": when, "keep": keep}})


def registered(store: Store, but: Collection[Path] = ()) -> dict[Path, dict[str, Any]]:
    """What is noted of every study whose file is still there: its `steps` ("task-key"), when it `ran`, and how
    much it would `keep`.

    Studies of other machines, which share a bucket, are there as far as this one knows: "HOST:FILE".
    """
    left = {file.resolve() for file in but}
    noted = {name: said for name, said in _memo(store).read().items() if isinstance(said, dict)}
    found = {_file(store, name): said for name, said in noted.items()}
    return {
        file: {
            "steps": [str(one) for one in said.get("steps") or ()],
            "ran": str(said.get("ran", "")),
            "keep": said["keep"] if said.get("keep") in KEEPS else "all",
        }
        for file, said in sorted(found.items())
        if file not in left and (file.exists() or _is_of_another(store, file))
    }


def _file(store: Store, name: str) -> Path:
    if store.remote is None:
        return (store.root.resolve() / name).resolve()
    return Path(name.removeprefix(f"{socket.gethostname()}:"))


def _is_of_another(store: Store, file: Path) -> bool:
    return store.remote is not None and not file.is_absolute()


def _memo(store: Store) -> Memo:
    return store.memo("studies.json")
