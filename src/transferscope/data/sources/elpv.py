"""elpv:binary or elpv:levels, 2,624 electroluminescence images of solar cells, functional or defective.

Experts gave every cell a defect probability (Deitsch et al. 2019, Table 1): 0 functional, 1/3 functional but unsure,
2/3 defective but unsure, 1 defective. `binary` calls a cell defective from 0.5 up, i.e. it takes the experts' verdict
and drops their doubt; `levels` keeps the four values as classes. The package does not say which cells share a module,
so cells of one module may lie on both sides of a split.
"""

from pathlib import Path

import numpy as np

from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.packages import package_folder
from transferscope.data.pictures.decode import ImageFiles
from transferscope.errors import UserError, did_you_mean

EXAMPLE = "elpv:binary"
CLASSES = {
    "binary": ("functional", "defective"),
    "levels": ("defect 0", "defect 1/3", "defect 2/3", "defect 1"),
}


def check(rest: str) -> None:
    """A UserError unless the package is installed and the task is one of `CLASSES`."""
    _data(rest)


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of the label table and every image, and of which classes are asked for."""
    data = _data(rest)
    files = {name: data / name for name, _ in _rows(data)}
    return files_fingerprint({**files, "labels.csv": data / "labels.csv"}, memo, extra=CLASSES[rest])


def listing(rest: str) -> Listing:
    """The cells, named by their file; class order is increasing defect probability."""
    data = _data(rest)
    rows = sorted(_rows(data))
    probability = np.array([value for _, value in rows])
    labels = probability >= 0.5 if rest == "binary" else np.rint(probability * 3)
    return Listing(
        names=tuple(name for name, _ in rows),
        classes=CLASSES[rest],
        labels=labels.astype(np.int64),
        load=ImageFiles(tuple(str(data / name) for name, _ in rows)),
        licence="CC BY-NC-SA 4.0, ELPV dataset (Buerhop-Lutz et al. 2018, Deitsch et al. 2019 and 2021)",
    )


def _data(rest: str) -> Path:
    if rest not in CLASSES:
        raise UserError(f"Unknown variant '{rest}' in 'elpv:{rest}'; {did_you_mean(rest, tuple(CLASSES))}")
    return package_folder("elpv_dataset", "elpv") / "data"


def _rows(data: Path) -> list[tuple[str, float]]:
    """(image path below the data folder, defect probability) of every line of the label table."""
    lines = (data / "labels.csv").read_text(encoding="utf-8").splitlines()
    return [(path, float(probability)) for path, probability, _ in (line.split() for line in lines if line.strip())]
