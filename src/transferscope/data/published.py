"""What the readers of published data sets share: a folder with a suffix, and the parts that a published study drew."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from transferscope.errors import UserError


def place(scheme: str, rest: str, example: str) -> tuple[Path, int | None]:
    """The folder of `ROOT` or `ROOT#50000`, and the number after the mark; `example` is what to write.

    UserError where the folder is not there, or what follows the mark is no number above 0.
    """
    where, mark, said = rest.partition("#")
    if not where:
        raise UserError(f"The reference '{scheme}:{rest}' names no folder; write {example}.")
    if mark and not (said.isascii() and said.isdigit() and int(said)):
        raise UserError(f"'{scheme}:{rest}': '#{said}' is no number of images; write {example}#50000, or leave it out.")
    root = Path(where).expanduser().absolute()
    if not root.is_dir():
        kind = "is no folder" if root.exists() else "does not exist"
        raise UserError(f"The folder '{root}' of '{scheme}:{rest}' {kind}; write {example}.")
    return root, int(said) if mark else None


def drawn(count: int, size: int, seed: int) -> np.ndarray:
    """Which `size` of `count` rows a published study drew, in its order: `RandomState(seed).choice` without
    replacement, int64 (size,); all rows in their own order where there are no more."""
    if size >= count:
        return np.arange(count)
    return np.random.RandomState(seed).choice(count, size=size, replace=False)


def permuted(count: int, seed: int) -> np.ndarray:
    """All `count` rows in the order of `RandomState(seed).permutation`, int64 (count,)."""
    return np.random.RandomState(seed).permutation(count)


def text(file: Path) -> str:
    """What a published list or table says, less the mark of UTF-8 that some editors put before it. UserError where it
    is no such text."""
    try:
        found = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        found = "\0"
    if "\0" in found:
        raise UserError(f"'{file}' is no text in UTF-8; take the file as it was published.")
    return found


def present(files: Sequence[Path], names: Sequence[str], where: str) -> None:
    """UserError that counts the `files` which are not there and gives the first of their `names`; each folder is listed
    once, for single looks at 170,000 files would take minutes on a network disk."""
    held: dict[Path, set[str]] = {}
    lost = []
    for file, name in zip(files, names, strict=True):
        folder = file.parent
        if folder not in held:
            held[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        if file.name not in held[folder]:
            lost.append(name)
    if lost:
        first = f"'{lost[0]}' is listed in {where} and is not there"
        if len(lost) > 1:
            first = f"{len(lost):,} of {len(files):,} images listed in {where} are not there, the first '{lost[0]}'"
        raise UserError(f"{first}; unpack the archive whole, or take those lines out.")


def once(names: Iterable[str], where: str) -> None:
    """UserError where a name stands twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"'{name}' is listed twice in {where}; take one of the lines out.")
        seen.add(name)
