"""chexpert:ROOT, the training films of CheXpert with five findings, as published (`train.csv`; Irvin et al. 2019).

ROOT holds `train.csv` and the folder `train`. The five labels are cardiomegaly, edema, consolidation, atelectasis and
pleural effusion; an empty cell counts as 0, an uncertain one (-1) as 1 for edema and atelectasis, as 0 for the rest.
Patients stay on one side of a split. With `chexpert:ROOT#50000` the split is that of Neyshabur, Sedghi and Zhang 2020:
of all lines in the order of `numpy.random.RandomState(1234)` the first so many train and the next so many test, their
patients notwithstanding, and training films with cardiomegaly or consolidation are there twice.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferscope.data import published
from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.paths import from_folder
from transferscope.data.pictures.decode import ImageFiles
from transferscope.errors import UserError

SEED = 1234
# (column of train.csv, what an uncertain cell counts as, whether training films with it are there twice)
FINDINGS = (
    ("Cardiomegaly", 0, True),
    ("Edema", 1, False),
    ("Consolidation", 0, True),
    ("Atelectasis", 1, False),
    ("Pleural Effusion", 0, False),
)
SECOND = " (again)"  # after the name of a film that is there twice
WRITE = "chexpert:ROOT"


@dataclass(frozen=True)
class Film:
    """A line of the table: the path below ROOT, the labels (5,), the patient, the split ('' for none)."""

    path: str
    labels: tuple[int, ...]
    patient: str
    split: str = ""
    name: str = ""


absolute = from_folder


def check(rest: str) -> None:
    """A UserError unless the folder and its train.csv are there, with the columns of the five findings."""
    _columns(_table(rest)[0])


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of the table, of every film that is asked for, and of how they are divided."""
    file, size = _table(rest)
    films = _films(file, size)
    images = [file.parent / film.path for film in films]
    published.present(images, [film.path for film in films], f"'{file}'")
    files = {f"image {film.name}": image for film, image in zip(films, images, strict=True)}
    return files_fingerprint({**files, file.name: file}, memo, extra=(str(size),))


def listing(rest: str) -> Listing:
    """The films, named by their path below ROOT; classes are the five findings, in the order of the paper."""
    file, size = _table(rest)
    films = sorted(_films(file, size), key=lambda film: film.name)
    names = tuple(film.name for film in films)
    published.once(names, str(file))
    files = tuple(file.parent / film.path for film in films)
    published.present(files, [film.path for film in films], f"'{file}'")
    return Listing(
        names=names,
        classes=tuple(name for name, *_ in FINDINGS),
        labels=np.array([film.labels for film in films], dtype=np.uint8),
        load=ImageFiles(tuple(map(str, files))),
        splits=None if size is None else tuple(film.split for film in films),
        # A test film is a group of its own: in the published split patients lie on both sides.
        groups=tuple("" if film.split == "test" else film.patient for film in films),
        notes=_notes(films) if size is not None else (),
        licence="Stanford University Dataset Research Use Agreement, CheXpert (Irvin et al. 2019)",
    )


def _notes(films: list[Film]) -> tuple[str, ...]:
    trained, tested = ({film.patient for film in films if film.split == split} for split in ("train", "test"))
    twice = sum(film.name.endswith(SECOND) for film in films)
    both = len(trained & tested)
    return (
        f"Divided as published (RandomState({SEED})): {both:,} of the {len(tested):,} patients of the test films have "
        "training films too, so that test scores lean upward.",
        f"{twice:,} training films with cardiomegaly or consolidation are there twice, as published.",
    )


def _table(rest: str) -> tuple[Path, int | None]:
    root, size = published.place("chexpert", rest, WRITE)
    if not (file := root / "train.csv").is_file():
        raise UserError(f"'chexpert:{rest}': there is no '{file}'; give the folder that holds train.csv and train.")
    return file, size


def _columns(file: Path) -> dict[str, int]:
    """The place of every column. UserError where one that is needed is not there, or there twice."""
    head = next(csv.reader(published.text(file).splitlines()), [])
    for name in ("Path", *(name for name, *_ in FINDINGS)):
        if (many := head.count(name)) != 1:
            said = "there are several columns" if many else "there is no column"
            raise UserError(f"{file}: {said} '{name}'; give the train.csv that CheXpert publishes.")
    return {name: place for place, name in enumerate(head)}


def _films(file: Path, size: int | None) -> list[Film]:
    columns = _columns(file)
    reader = csv.reader(published.text(file).splitlines())
    rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))][1:]
    films = [_film(file, number, row, columns) for number, row in rows]
    if not films:
        raise UserError(f"{file}: no film stands below the columns; give the train.csv that CheXpert publishes.")
    if size is None:
        return films
    if len(films) < 2 * size:
        raise UserError(
            f"{file}: {len(films):,} films are fewer than {size:,} to train and {size:,} to test on; write a smaller "
            f"number than '#{size}', or none."
        )
    order = published.permuted(len(films), SEED).tolist()
    found = []
    for place, row in enumerate(order[: 2 * size]):
        film = films[row]
        split = "train" if place < size else "test"
        names = [film.name]
        if split == "train" and any(film.labels[k] for k, (*_, twice) in enumerate(FINDINGS) if twice):
            names.append(film.name + SECOND)
        found += [Film(film.path, film.labels, film.patient, split, name) for name in names]
    return found


def _film(file: Path, number: int, row: list[str], columns: dict[str, int]) -> Film:
    if len(row) != len(columns):
        raise UserError(f"{file}:{number}: {len(row)} cells stand below {len(columns)} columns; mend the line.")
    path = row[columns["Path"]]
    _, _, below = path.partition("/")  # the first folder is that of the archive
    parts = below.split("/")
    if len(parts) < 3 or ".." in parts or parts[0] != "train":
        raise UserError(f"{file}:{number}: the path '{path}' is not 'CheXpert.../train/PATIENT/.../IMAGE'; mend it.")
    return Film(
        below,
        tuple(_answer(file, number, row[columns[name]], name, unsure) for name, unsure, _ in FINDINGS),
        parts[1],
        name=below,
    )


def _answer(file: Path, number: int, cell: str, column: str, unsure: int) -> int:
    known = {"": 0, "0": 0, "1": 1, "-1": unsure}
    said = cell.strip().removesuffix(".0")
    if said not in known:
        raise UserError(f"{file}:{number}: '{cell}' in the column '{column}' is none of 1, 0, -1 and empty; mend it.")
    return known[said]
