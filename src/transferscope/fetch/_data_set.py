"""A data set on this disk: fetched once, held against what came before, unpacked, and left alone from then on.

``fetched.json`` in its folder keeps the address, bytes and SHA-256 of every file that came, and how many files of how
many bytes an archive unpacked to.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from transferscope import atomic_files
from transferscope.errors import UserError
from transferscope.fetch._download import Came, download, part_of
from transferscope.fetch._files import Published
from transferscope.fetch._unpack import Damaged, unpack

KEPT = "fetched.json"
Part = tuple[tuple[Published, ...], Callable[[Path], object]]


def have(parts: Sequence[Part], base: str, root: Path, *, keep: bool, page: str, tell: Callable[[str], object]) -> bool:
    """Have the files of all parts below `root`: see `fetch.fetch`."""
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".fetch.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"fetch: another fetch is at work in {root}; wait for it.") from None
    try:
        came = [_have(files, check, base, root, keep=keep, page=page, tell=tell) for files, check in parts]
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
    return any(came)


def _have(
    files: Sequence[Published],
    check: Callable[[Path], object],
    base: str,
    root: Path,
    *,
    keep: bool,
    page: str,
    tell: Callable[[str], object],
) -> bool:
    """Have the files of one part; False where they were there. Lists are looked at before archives are fetched."""
    lacking = [one for one in files if not _is_there(one, root)]
    for one in (one for one in lacking if one.unpacks is None):
        _get(one, base, root, page, tell)
    if lacking:
        try:
            check(root)
        except UserError:  # lists that are not those that were published are no measure of what comes later
            _drop(root, [one.name for one in files if one.unpacks is None])
            raise
    for one in lacking:
        if one.unpacks is not None:
            if not (root / one.name).exists():
                _get(one, base, root, page, tell)
            tell(f"Unpacking {one.name}")
            try:
                came = unpack(root / one.name, root, one.unpacks)
            except Damaged:
                _drop(root, [one.name])
                raise
            count, size = _contents(came)
            _keep(root, one.name, {"files": count, "unpacked_bytes": size})  # first: what is there was unpacked here
            came.rename(root / one.unpacks)
            came.parent.rmdir()
            if not keep:
                (root / one.name).unlink()
    return bool(lacking)


def _get(one: Published, base: str, root: Path, page: str, tell: Callable[[str], object]) -> None:
    tell(f"Fetching {base}{one.address}")
    download(f"{base}{one.address}", root / one.name, page, partial(_hold, one, base, root, page), tell)


def _is_there(one: Published, root: Path) -> bool:
    """Whether a file, or what it unpacks to, is there as it came. UserError for what is there and is something else."""
    said, file, folder = _kept(root).get(one.name, {}), root / one.name, one.unpacks and root / one.unpacks
    for place, kept in ((file, "sha256"), (folder, "files")):
        if place and place.exists() and kept not in said:
            raise UserError(f"fetch: {place} is there, and was not fetched by this; move it away, or use it as it is.")
    if file.exists() and not (folder and folder.exists()) and _sha256(file) != said["sha256"]:
        raise UserError(f"fetch: {file} is not what came (its SHA-256 differs); delete it and run it again.")
    if not folder:
        return file.exists()
    if folder.exists() and _contents(folder) != (said["files"], said["unpacked_bytes"]):
        count, size = _contents(folder)
        raise UserError(
            f"fetch: {folder} has {count:,} files of {size:,} bytes, and {said['files']:,} of "
            f"{said['unpacked_bytes']:,} were unpacked; delete the folder and run it again."
        )
    return folder.exists()


def _hold(one: Published, base: str, root: Path, where: str, came: Came) -> None:
    """Hold what came against what came before under its name, and keep what it is. UserError where they differ, and
    where another kind of file came than was asked for."""
    part = part_of(root / one.name)
    with part.open("rb") as file:
        page = file.read(1000).lstrip().startswith(b"<")
    if page or (one.unpacks is not None and not zipfile.is_zipfile(part)):
        what = "a web page" if page else "no zip archive"
        raise UserError(
            f"fetch: {base}{one.address} gave {what} of {came.bytes:,} bytes; see {where}, or name another place "
            "(--mirror)."
        )
    before = _kept(root).get(one.name, {}).get("sha256", came.sha256)
    if came.sha256 != before:
        raise UserError(
            f"fetch: {base}{one.address} is another file than came before (SHA-256 {came.sha256[:16]}..., it was "
            f"{before[:16]}...); if you trust it, delete the entry '{one.name}' of {root / KEPT} and run it again."
        )
    _keep(root, one.name, {"url": f"{base}{one.address}", "bytes": came.bytes, "sha256": came.sha256})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _contents(folder: Path) -> tuple[int, int]:
    """How many files there are below a folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _kept(root: Path) -> dict[str, dict[str, Any]]:
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads((root / KEPT).read_text(encoding="utf-8"))
        return {str(name): dict(said) for name, said in found.items()}
    return {}


def _keep(root: Path, name: str, said: dict[str, Any]) -> None:
    known = _kept(root)
    atomic_files.write_json(root / KEPT, {**known, name: {**known.get(name, {}), **said}}, indent=1)


def _drop(root: Path, names: Sequence[str]) -> None:
    """Delete files that are not what was published, and what was kept of them."""
    for name in names:
        (root / name).unlink(missing_ok=True)
    atomic_files.write_json(
        root / KEPT, {name: said for name, said in _kept(root).items() if name not in names}, indent=1
    )
