"""Tables kept as JPEGs: the pixels that Pillow gives, same bytes whatever the cores, proved when they are opened."""

import io
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from sklearn.datasets import load_sample_images
from smoke import study

from transferscope.data import Squares, build, open_listing, open_squares
from transferscope.data.batches import Batches, Normalisation, eval_batches
from transferscope.data.pictures import render
from transferscope.data.pictures.compressed import JpegFile
from transferscope.errors import UserError
from transferscope.study import Study
from transferscope.tasks.inputs import images as ingest

SETTINGS = {
    "train_size": 48,
    "eval_size": 32,
    "interpolation": "bilinear",
    "crop": 0.875,
    "val": 0.2,
    "test": 0.2,
    "split_seed": 0,
    "cores": 1,
    "jpeg": 95,
}


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Sixty pieces of two photographs, in two classes."""
    for kind, photograph in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (tmp_path / "photographs" / kind).mkdir(parents=True)
        for i in range(30):
            piece = Image.fromarray(photograph[10 * i : 10 * i + 120, 15 * i : 15 * i + 160])
            piece.save(tmp_path / "photographs" / kind / f"{i:02d}.png")
    return tmp_path / "photographs"


def built(folder: Path, images: Path, **changes: object) -> Squares:
    build(open_listing(f"folder:{images}"), folder, **{**SETTINGS, **changes})  # type: ignore[arg-type]
    return open_squares(folder)


def through_pillow(square: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(square).save(file, "JPEG", quality=95, subsampling=0)
    return np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))


def test_squares_are_jpegs_of_those_of_a_table_of_pixels(photographs: Path, tmp_path: Path) -> None:
    pixels, kept = built(tmp_path / "a", photographs, jpeg=None), built(tmp_path / "b", photographs)
    assert kept.pixels("train") is None and not kept.streamed and kept.names == pixels.names
    rows = np.array([41, 0, 59, 41, 7])
    for which in ("train", "eval"):
        wanted = np.stack([through_pillow(square) for square in pixels.gather(rows, which)])  # type: ignore[arg-type]
        assert (kept.gather(rows, which) == wanted).all()  # type: ignore[arg-type]
        apart = np.abs(wanted.astype(int) - pixels.gather(rows, which))  # type: ignore[arg-type]
        assert 0 < apart.mean() < 4
    small, large = ((tmp_path / name / "train.safetensors").stat().st_size for name in "ba")
    assert small < large / 2
    how = {name: value for name, value in SETTINGS.items() if name not in ("cores", "val", "test", "split_seed")}
    assert ingest.stored_bytes(how) < ingest.stored_bytes({**how, "jpeg": None})
    file = load_file(tmp_path / "b" / "train.safetensors")
    assert file["ends"][-1] == len(file["jpegs"])
    first = Image.open(io.BytesIO(file["jpegs"][: file["ends"][0]].tobytes()))
    assert first.format == "JPEG" and first.size == (48, 48)


def test_bytes_do_not_depend_on_cores_and_what_cannot_be_read_is_left_out(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "FEW", 1)
    monkeypatch.setattr(render, "CHUNK", 7)
    for i in range(60):
        shutil.copy(photographs / "temple" / "05.png", photographs / "temple" / f"more{i}.png")
    (photographs / "temple" / "04.png").write_bytes(b"no picture")
    one, two = (built(tmp_path / str(cores), photographs, cores=cores) for cores in (1, 2))
    assert len(one) == len(two) == 119 and [name for name, _ in one.skipped] == ["temple/04.png"]
    for file in (tmp_path / "1").iterdir():
        assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes(), file.name
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == [
        "eval.safetensors",
        "labels.safetensors",
        "table.json",
        "train.safetensors",
    ]
    named = Image.open(photographs / one.names[30])
    wanted = through_pillow(render.Geometry(48, 32, "bilinear", 0.875).squares((named.convert("RGB"),))["train"])
    assert (one.gather(np.array([30]))[0] == wanted).all(), "rows after the one left out have moved up"


def test_a_machine_that_decodes_otherwise_is_refused(photographs: Path, tmp_path: Path) -> None:
    built(tmp_path / "t", photographs)
    said = json.loads((tmp_path / "t" / "table.json").read_text())
    assert len(said["probe"]["train"]) == 8
    said["probe"]["train"]["0"] ^= 1
    (tmp_path / "t" / "table.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match=r"decodes to other pixels here than where it was made .*table_jpeg"):
        open_squares(tmp_path / "t").gather(np.arange(3))


def test_a_jpeg_that_was_damaged_is_one_sentence(tmp_path: Path) -> None:
    file = JpegFile(tmp_path / "f.safetensors", 2, 8, 95)
    file.create()
    file.write(0, np.zeros((2, 8, 8, 3), np.uint8))
    whole = file.keep(np.arange(2))
    data = bytearray((tmp_path / "f.safetensors").read_bytes())
    at = len(data) - whole.data_bytes
    data[at : at + 2] = b"XX"
    (tmp_path / "f.safetensors").write_bytes(data)
    with pytest.raises(UserError, match="a JPEG that cannot be decoded"):
        JpegFile(tmp_path / "f.safetensors", 2, 8, 95).gather(np.array([0]))


@pytest.mark.parametrize("mixed", [False, True])
def test_batches_made_ahead_are_those_made_in_turn(mixed: bool, photographs: Path, tmp_path: Path) -> None:
    """Of a table held as pixels, which nobody makes ahead, and of the same squares behind a table that must decode."""
    table = built(tmp_path / "t", photographs)
    everything = {which: table.gather(np.arange(len(table)), which) for which in ("train", "eval")}  # type: ignore[arg-type]

    class Held:
        def gather(self, rows: np.ndarray, which: str) -> np.ndarray:
            return np.asarray(everything[which][rows])

        def pixels(self, which: str) -> np.ndarray:
            return np.asarray(everything[which])

    def mix(x: torch.Tensor, y: torch.Tensor, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return (x[:-1] + x[1:]) / 2, (y[:-1] + y[1:]) / 2

    rows, labels = np.arange(len(table)), np.arange(len(table), dtype=np.float32)
    for start in (0, 3):
        both = [
            list(Batches(of, rows, labels, 32, 7, 0, 1, start_batch=start, mix=mix if mixed else None))  # type: ignore[arg-type]
            for of in (Held(), table)
        ]
        assert len(both[0]) == len(both[1]) > 4
        for (x, y, at), (x_ahead, y_ahead, at_ahead) in zip(*both, strict=True):
            assert torch.equal(x, x_ahead) and torch.equal(y, y_ahead) and (at == at_ahead).all()
    seen = [
        torch.cat([x for x, _, _ in eval_batches(of, rows, 16, labels=labels, normalisation=Normalisation())])  # type: ignore[arg-type]
        for of in (Held(), table)
    ]
    assert torch.equal(*seen)


def test_a_pass_that_is_left_early_leaves_no_thread(photographs: Path, tmp_path: Path) -> None:
    table = built(tmp_path / "t", photographs)
    before = threading.active_count()
    for _ in eval_batches(table, np.arange(60), 8, labels=np.zeros(60)):
        break
    assert threading.active_count() == before


def test_a_study_asks_for_it_by_its_recipe(tmp_path: Path) -> None:
    """Its tables are others then; a recipe that says nothing has the steps it always had."""
    file = study.write(tmp_path / "study")
    plain = Study.load(file).data("shapes")
    said = file.read_text(encoding="utf-8").replace("recipe: {", "recipe: {table_jpeg: 90, ")
    file.write_text(said, encoding="utf-8")
    packed = Study.load(file).data("shapes")
    assert packed.params["jpeg"] == 90 and packed.key != plain.key
    assert plain.key == ingest.ingest.step(**{**plain.params, "jpeg": None}).key
    with pytest.raises(UserError, match="all images are decoded alike"):
        Study.load(file).retrained({"table_jpeg": 95}, "choose.recipe")
    for words, changes in (
        ("a streamed table keeps no squares", {"resources.table": "streamed"}),
        ("other pixels are kept", {"targets": "{shapes: {ref: 'folder:images', depth: 16}}"}),
    ):
        with pytest.raises(UserError, match=f"recipe.table_jpeg: .*{words}"):
            Study.load(file, changes).data("shapes")
