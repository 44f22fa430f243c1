"""domainnet:ROOT/DOMAIN, a domain of DomainNet as published: real, clipart, quickdraw, sketch, painting or infograph.

ROOT holds the unpacked folder of the domain and its two lists, `real_train.txt` and `real_test.txt`, whose lines are a
path and the number of a class (Peng et al. 2019). With `domainnet:ROOT/real#50000` each list gives so many images, as
the code of Neyshabur, Sedghi and Zhang 2020 draws them (`numpy.random.RandomState(2020).choice` without replacement,
anew for each list); a list with no more is taken whole. All domains have the same 345 classes in the same order.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferscope.data import published
from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.paths import from_folder
from transferscope.data.pictures.decode import ImageFiles
from transferscope.errors import UserError, did_you_mean

DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
SEED = 2020
WRITE = "domainnet:ROOT/real"
SPLITS = ("train", "test")
DIGITS = 6  # of the number of a class


@dataclass(frozen=True)
class Domain:
    """Where a domain lies, and how many images of each list are asked for."""

    root: Path
    name: str
    size: int | None

    def list_file(self, split: str) -> Path:
        return self.root / f"{self.name}_{split}.txt"


absolute = from_folder


def check(rest: str) -> None:
    """A UserError unless the domain is one of the six, and its folder and both lists are there."""
    _domain(rest)


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of both lists, of every image that is asked for, and of how many there are of each list."""
    domain = _domain(rest)
    names = [name for split in SPLITS for name, _ in _chosen(domain, split)[0]]
    images = [domain.root / name for name in names]
    published.present(images, names, f"the lists of '{domain.name}'")
    files = {f"image {name}": image for name, image in zip(names, images, strict=True)}
    lists = {domain.list_file(split).name: domain.list_file(split) for split in SPLITS}
    return files_fingerprint({**files, **lists}, memo, extra=(domain.name, str(domain.size)))


def listing(rest: str) -> Listing:
    """The images of both lists, named by their paths; classes in the order of their numbers."""
    domain = _domain(rest)
    chosen = {split: _chosen(domain, split) for split in SPLITS}
    classes = _classes(domain, {split: every for split, (_, every) in chosen.items()})
    rows = sorted((name, label, split) for split in SPLITS for name, label in chosen[split][0])
    names = tuple(name for name, *_ in rows)
    published.once(names, f"{domain.name}_train.txt and {domain.name}_test.txt")
    files = tuple(domain.root / name for name in names)
    published.present(files, names, f"the lists of '{domain.name}'")
    notes = [
        f"{len(few):,} of the {len(every):,} {split} images, as numpy's RandomState({SEED}) draws them."
        for split, (few, every) in chosen.items()
        if len(few) < len(every)
    ]
    return Listing(
        names=names,
        classes=classes,
        labels=np.array([label for _, label, _ in rows], dtype=np.int64),
        load=ImageFiles(tuple(map(str, files))),
        splits=tuple(split for *_, split in rows),
        notes=tuple(notes),
        licence="the terms of DomainNet (Peng et al. 2019)",
    )


def _domain(rest: str) -> Domain:
    where, mark, size = rest.partition("#")
    path = Path(where)
    if not where or path.name not in DOMAINS:
        raise UserError(f"'domainnet:{rest}' names no domain of DomainNet; {did_you_mean(path.name, DOMAINS)}")
    root, count = published.place("domainnet", f"{path.parent}{mark}{size}", WRITE)
    domain = Domain(root, path.name, count)
    if not (root / domain.name).is_dir():
        raise UserError(
            f"'domainnet:{rest}': there is no folder '{root / domain.name}'; unpack {domain.name}.zip "
            f"there, or run 'transferscope fetch domainnet {root} --domain {domain.name}'."
        )
    for split in SPLITS:
        if not (file := domain.list_file(split)).is_file():
            raise UserError(f"'domainnet:{rest}': the list '{file}' is not there; it is published beside the archive.")
    return domain


def _chosen(domain: Domain, split: str) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """(path, class number) of what is asked for of a list, and of all of it, both in the order in which it is drawn."""
    every = _rows(domain.list_file(split), domain.name)
    size = len(every) if domain.size is None else domain.size
    return [every[row] for row in published.drawn(len(every), size, SEED).tolist()], every


def _rows(file: Path, domain: str) -> list[tuple[str, int]]:
    found = []
    for number, line in enumerate(published.text(file).splitlines(), 1):
        path, _, label = line.strip().rpartition(" ")
        parts = path.split("/")
        if not path and not label:
            continue
        if (
            not (label.isascii() and label.isdigit() and len(label) <= DIGITS)
            or len(parts) != 3
            or parts[0] != domain
            or ".." in parts
        ):
            raise UserError(f"{file}:{number}: '{line.strip()}' is not '{domain}/CLASS/IMAGE NUMBER'; mend the line.")
        found.append((path, int(label)))
    if not found:
        raise UserError(f"The list '{file}' is empty; it is published beside the archive.")
    return found


def _classes(domain: Domain, lists: dict[str, list[tuple[str, int]]]) -> tuple[str, ...]:
    """The name of each number. UserError where one has two names, a name two numbers, or numbers are left out."""
    named: dict[int, str] = {}
    numbered: dict[str, int] = {}
    for split, rows in lists.items():
        file = domain.list_file(split)
        for path, label in rows:
            name = path.split("/")[1]
            if named.setdefault(label, name) != name:
                raise UserError(f"{file}: class {label} is '{named[label]}' and '{name}'; mend the list.")
            if (first := numbered.setdefault(name, label)) != label:
                raise UserError(
                    f"{file}: '{path}' has the number {label}, but '{name}' is class {first}; mend the list."
                )
    absent = next((label for label in range(len(named)) if label not in named), None)
    if absent is not None:
        raise UserError(
            f"The lists of '{domain.name}' go up to class {max(named)}, but have no image of {absent}; "
            "a number is out of range, or lines are lost."
        )
    return tuple(named[label] for label in range(len(named)))
