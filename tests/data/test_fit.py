"""How pictures with unequal sides become squares, against Pillow by hand; it is in the key, the table and the notes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps

from transferscope.data import build, open_listing, open_squares
from transferscope.data.pictures.decode import INTERPOLATIONS, covered, square
from transferscope.data.pictures.survey import survey
from transferscope.errors import UserError
from transferscope.study import Study

SIDES = [(100, 60), (60, 100), (64, 64), (333, 127), (31, 200), (3, 300), (300, 1)]
HOW: dict[str, Any] = {"interpolation": "bilinear", "val": 0.2, "test": 0.2, "split_seed": 0, "cores": 1}


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """No pixel is black, so that padding shows."""
    values = np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("size", [32, 33, 224])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("sides", SIDES)
def test_each_is_what_pillow_does(sides: tuple[int, int], interpolation: str, size: int) -> None:
    image, filtered = noise(*sides), INTERPOLATIONS[interpolation]
    width, height = sides
    assert (square(image, size, interpolation, fit="stretch") == image.resize((size, size), filtered)).all()
    if min(round(size * side / max(sides)) for side in sides):  # else Pillow pads with nothing in it
        assert (square(image, size, interpolation, fit="pad") == ImageOps.pad(image, (size, size), filtered)).all()
    short = min(sides)
    box = ((width - short) / 2, (height - short) / 2, (width + short) / 2, (height + short) / 2)
    assert (square(image, size, interpolation, fit="crop") == image.resize((size, size), filtered, box=box)).all()
    assert (square(image, size, interpolation) == square(image, size, interpolation, fit="crop")).all()


def test_a_square_picture_is_the_same_in_all() -> None:
    for crop in (1.0, 0.875):
        plain = square(noise(50, 50), 32, "bicubic", crop)
        assert all((square(noise(50, 50), 32, "bicubic", crop, fit) == plain).all() for fit in ("pad", "stretch"))


@pytest.mark.parametrize("crop", [1.0, 0.875, 0.5])
@pytest.mark.parametrize("sides", SIDES)
def test_padding_is_black_around_the_picture_and_keeps_its_ratio(sides: tuple[int, int], crop: float) -> None:
    size = 96
    pixels = square(noise(*sides), size, "nearest", crop, "pad")
    rows, columns = covered(sides, size, crop, "pad")
    inside = np.zeros((size, size), dtype=bool)
    inside[rows, columns] = True
    assert (pixels[~inside] == 0).all() and (pixels[inside] > 0).all()
    high, wide = rows.stop - rows.start, columns.stop - columns.start
    whole = max(sides) * crop
    for length, side in ((wide, sides[0]), (high, sides[1])):
        assert abs(length - min(side / whole, 1.0) * size) <= 0.5 or length == 1
    assert max(high, wide) == size
    for part in (rows, columns):
        assert abs(part.start - (size - part.stop)) <= 1, "centred"


def test_the_share_that_evaluation_sees_is_of_every_side() -> None:
    image = noise(160, 80)
    box = (20, 10, 140, 70)
    stretched = image.resize((32, 32), Image.Resampling.BILINEAR, box=box)
    assert (square(image, 32, "bilinear", 0.75, "stretch") == stretched).all()
    padded = square(image, 32, "bilinear", 0.75, "pad")  # 120 of 160 px wide, all 80 px high
    assert (padded[6:27] == image.resize((32, 21), Image.Resampling.BILINEAR, box=(20, 0, 140, 80))).all()
    assert (padded[:6] == 0).all() and (padded[27:] == 0).all()


def test_an_unknown_fit_is_named() -> None:
    with pytest.raises(UserError, match=r"Unknown fit 'pdd'; did you mean 'pad'"):
        square(noise(4, 4), 4, "nearest", fit="pdd")


def folder(root: Path, sides: tuple[int, int], blank: int = 0) -> str:
    for label in "ab":
        (root / label).mkdir(parents=True)
        for place in range(8):
            image = Image.new("RGB", sides, "grey") if place < blank else noise(*sides, seed=place)
            image.save(root / label / f"{place}.png")
    return f"folder:{root}"


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_the_table_holds_them_mapped_or_streamed(fit: str, tmp_path: Path) -> None:
    listing = open_listing(folder(tmp_path / "set", (60, 30)))
    for streamed in (False, True):
        there = tmp_path / str(streamed)
        build(listing, there, train_size=24, eval_size=16, crop=0.875, fit=fit, streamed=streamed, **HOW)
        table = open_squares(there)
        for row, name in enumerate(table.names):
            image = Image.open(tmp_path / "set" / name)
            at = np.array([row])
            assert (table.gather(at, "train")[0] == square(image, 24, "bilinear", fit=fit)).all()
            assert (table.gather(at, "eval")[0] == square(image, 16, "bilinear", 0.875, fit)).all()
        said = json.loads((there / "table.json").read_text())["geometry"]
        assert said.get("fit", "crop") == fit and ("fit" in said) is (fit != "crop")


def test_blank_pictures_are_blank_on_black_too(tmp_path: Path) -> None:
    listing = open_listing(folder(tmp_path / "few", (60, 30), blank=2))
    notes = {}
    for fit in ("crop", "pad", "stretch"):
        build(listing, tmp_path / fit, train_size=24, eval_size=24, crop=1.0, fit=fit, **HOW)
        notes[fit] = [note for note in open_squares(tmp_path / fit).notes if "nearly one colour" in note]
    assert len(notes["crop"]) == 1 and notes["crop"] == notes["pad"] == notes["stretch"]


def test_what_a_crop_leaves_out_is_said(tmp_path: Path) -> None:
    wide = open_listing(folder(tmp_path / "wide", (60, 40)))
    (note,) = survey(wide).notes
    assert note == (
        "The longer side is 1.50 times the shorter in the median of 16 pictures looked at, of which the centre square "
        "leaves out 33%: 'recipe.fit: pad' keeps all on black, 'stretch' resizes each side by itself."
    )
    assert survey(wide, "pad").notes == survey(wide, "stretch").notes == ()
    assert survey(open_listing(folder(tmp_path / "nearly", (50, 40)))).notes == ()


def test_it_is_part_of_the_key_unless_it_is_a_crop(tmp_path: Path) -> None:
    ref = folder(tmp_path / "set", (60, 40))
    raw = {"targets": {"one": ref}, "network": "toy.nets:tiny", "arms": ["random"]}
    plain = Study.parse(raw, folder=tmp_path).data("one")
    keys = {}
    for fit in ("crop", "pad", "stretch"):
        step = Study.parse({**raw, "recipe": {"fit": fit}}, folder=tmp_path).data("one")
        keys[fit] = step.key
        assert step.params["fit"] == fit
    assert keys["crop"] == plain.key and len(set(keys.values())) == 3
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**raw, "recipe": {"fit": "pda"}}))
    with pytest.raises(UserError, match=r"study.yaml: recipe.fit: input should be 'crop', 'pad' or 'stretch'"):
        Study.load(study)


@pytest.mark.parametrize(("key", "value"), [("fit", "pad"), ("crop", 0.9), ("table_size", 99)])
def test_a_pretraining_decodes_as_its_study_does(key: str, value: Any, tmp_path: Path) -> None:
    ref = folder(tmp_path / "set", (60, 40))
    raw = {"targets": {"one": ref}, "network": "toy.nets:tiny", "pretrained": {"source": ref, "recipe": {key: value}}}
    with pytest.raises(UserError, match=rf"pretrained.recipe.{key}: all images are decoded alike; set recipe.{key}\."):
        Study.parse(raw, folder=tmp_path)


def test_check_says_what_the_study_would_crop(tmp_path: Path) -> None:
    raw = {"targets": {"one": folder(tmp_path / "set", (60, 40))}, "network": "toy.nets:tiny", "arms": ["random"]}
    for fit, said in (("crop", 1), ("pad", 0)):
        study = Study.parse({**raw, "recipe": {"fit": fit}}, folder=tmp_path)
        notes = study.kind.look(study.listing(study.targets["one"]), study.data("one").params)
        assert sum("leaves out 33%" in note for note in notes) == said
