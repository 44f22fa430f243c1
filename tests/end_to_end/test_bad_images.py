"""Images that are odd, damaged, hostile, too few or missing: what the command line and the page say of them."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from smoke import images

STUDY = """\
targets: {shapes: "REF"}
network: smoke.nets:tiny
arms: [random]
image_size: 32
analyses: [images]
resources: {executor: inline}
"""


@pytest.fixture
def look(tmp_path: Path, call):
    """`look("folder:images")` runs a study that only decodes; the images lie in `tmp_path/images`."""

    def run(ref: str = "folder:images", verb: str = "run", executor: str = "inline"):
        text = STUDY.replace("REF", ref).replace("inline", executor)
        (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
        return call(verb, cwd=tmp_path)

    return run


def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_every_kind_of_image_works_in_one_folder(tmp_path: Path, look) -> None:
    """CMYK, 16-bit, palette, transparent, greyscale, 1-bit, turned by EXIF, animated."""
    images.write(tmp_path / "images", each=10)
    photo, there = images.picture(0, 99), tmp_path / "images" / "disc"
    grey = np.asarray(photo.convert("L"))
    photo.convert("CMYK").save(there / "cmyk.jpg")
    Image.fromarray(grey.astype(np.uint16) * 257).save(there / "deep.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(there / "deep.tif")
    photo.convert("P").save(there / "palette.png")
    photo.convert("P").save(there / "hole.png", transparency=3)
    photo.convert("L").save(there / "grey.png")
    photo.convert("LA").save(there / "grey-alpha.png")
    photo.convert("RGBA").save(there / "alpha.png")
    photo.convert("1").save(there / "bits.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(there / "turned.jpg", exif=exif)
    photo.save(there / "moving.gif", save_all=True, append_images=[photo.rotate(90)])
    photo.save(there / "UPPER.JPEG")
    photo.save(there / "web.webp")
    (there / "notes.txt").write_text("not an image, and not meant as one")
    (there / ".hidden.png").write_bytes(b"")
    said = look()
    assert said.code == 0, said.out + said.err
    assert "skipped" not in said.out
    lines = (tmp_path / "tables" / "images.csv").read_text().splitlines()[1:]
    assert sum(int(line.rsplit(",", 1)[1]) for line in lines) == 30 + 13


def bomb() -> bytes:
    """A PNG of a few dozen bytes whose header claims 50,000 x 50,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "zero bytes": lambda whole: b"",
    "truncated": lambda whole: whole[: len(whole) // 2],
    "text": lambda whole: b"hello",
    "bomb": lambda whole: bomb(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_one_unreadable_image_is_skipped_and_reported(tmp_path: Path, look, kind: str) -> None:
    images.write(tmp_path / "images", each=34)
    victim = tmp_path / "images" / "square" / "010.jpg"
    victim.write_bytes(DAMAGE[kind](victim.read_bytes()))
    said = look()
    assert said.code == 0, said.out + said.err
    for told in (said.out, page(tmp_path), (tmp_path / "results.json").read_text(encoding="utf-8")):
        assert "square/010.jpg" in told and "skipped" in told


def test_more_than_one_in_a_hundred_is_refused(tmp_path: Path, look) -> None:
    images.write(tmp_path / "images", each=34)
    for name, damage in zip(("000.jpg", "002.jpg"), ("zero bytes", "truncated"), strict=True):
        victim = tmp_path / "images" / "disc" / name
        victim.write_bytes(DAMAGE[damage](victim.read_bytes()))
    for verb in ("check", "run"):
        said = look(verb=verb)
        assert said.code == 3
        told = said.out + said.err
        assert "2 of 102 images" in told and "more than 1%" in told and "mend or remove them" in told
        assert "disc/000.jpg" in told and "disc/002.jpg" in told
        assert "Traceback" not in said.err + said.out
    assert not (tmp_path / "store" / "ingest").exists(), "a look at some is enough"


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (
            lambda root: (images.write(root, 6), (root / "void").mkdir(), (root / "void" / "1.heic").touch()),
            2,
            "None of the 1 file in ",
        ),
        (lambda root: images.write(root, 6, ("disc",)), 3, "has a single class ('disc')"),
        (lambda root: root.mkdir(), 2, "has no class folders"),
        (lambda root: images.write(root, 1), 3, "split"),
        (
            lambda root: (images.write(root / "train", 6), images.write(root / "test", 6, ("cat", "dog"))),
            3,
            "'cat' has no image in",
        ),
    ],
    ids=["class of another kind", "one class", "no class", "too few", "untrained class"],
)
def test_folders_that_cannot_be_split_or_learned(tmp_path: Path, look, make, code: int, words: str) -> None:
    make(tmp_path / "images")
    for verb in ("check", "run"):
        said = look(verb=verb)
        assert said.code == code and words in said.out + said.err, said.out + said.err
    assert not (tmp_path / "store" / "ingest").exists()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (
            lambda rows: [r.replace(",train", ",test") if ",stripes," in r else r for r in rows],
            3,
            "Class 'stripes' has no image in the train split",
        ),
        (lambda rows: [*rows, "images/nosuch.png,disc,train"], 2, "images/nosuch.png"),
        (lambda rows: [*rows, rows[-1].replace("," + rows[-1].split(",")[1], ",spots")], 2, "again with other cells"),
        (lambda rows: [*rows[:-1], rows[-1].replace("test", "trian")], 2, "did you mean 'train'?"),
        (lambda rows: [row.partition(",")[2] for row in rows], 2, "has no column 'path'"),
        (lambda rows: [rows[0], rows[1].replace(",disc,", ",,"), *rows[2:]], 2, "empty label"),
    ],
    ids=["label missing from train", "absent image", "twice", "unknown split", "no path column", "no label"],
)
def test_tables_that_do_not_add_up(tmp_path: Path, look, change, code: int, words: str) -> None:
    images.write(tmp_path / "images", each=6)
    rows = ["path,label,split"]
    for name in images.CLASSES:
        for place, file in enumerate(sorted((tmp_path / "images" / name).iterdir())):
            rows.append(f"images/{name}/{file.name},{name},{'train' if place < 4 else 'test'}")
    (tmp_path / "labels.csv").write_text("\n".join(change(rows)))
    said = look("csv:labels.csv")
    assert said.code == code and words in said.out + said.err, said.out + said.err


def test_hostile_names_are_only_text_on_the_page(tmp_path: Path, look, call) -> None:
    evil, markup = "<img src=x onerror=alert(1)>", "[bold]&lt;b&gt;'\""
    images.write(tmp_path / "images", each=40, classes=(evil, markup, "stripes"))
    broken = tmp_path / "images" / "stripes" / "<script>alert(2)<!--.png"
    broken.write_bytes(b"no image")
    said = look()
    assert said.code == 0, said.out + said.err
    assert broken.name in said.out, "on a terminal the name is printed as it is"
    html = page(tmp_path)
    assert evil not in html and "<script>alert(2)" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html and "&lt;script&gt;alert(2)&lt;!--.png" in html
    assert "&amp;lt;b&amp;gt;" in html


def test_a_target_name_with_markup(tmp_path: Path, call) -> None:
    images.write(tmp_path / "images", each=6)
    text = STUDY.replace("shapes", "'<i>/../[red]x'").replace("REF", "folder:images")
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    said = call("run", cwd=tmp_path)
    assert said.code == 0, said.out + said.err
    assert "<i>/../" not in page(tmp_path) and "&lt;i&gt;/../[red]x" in page(tmp_path)
    written = {file.parent.relative_to(tmp_path).as_posix() for file in (tmp_path / "figures").iterdir()}
    assert written == {"figures"}


def test_names_that_are_not_utf8_go_all_the_way(tmp_path: Path, look, call) -> None:
    images.write(tmp_path / "images", each=8)
    root = os.fsencode(tmp_path / "images")
    os.rename(root + b"/disc", root + b"/caf\xe9\n\x1b[31m")  # noqa: PTH104
    os.rename(root + b"/square/000.jpg", root + b"/square/r\xf6ntgen.jpg")  # noqa: PTH104
    for verb in ("check", "run"):
        said = look(verb=verb, executor="local")
        assert said.code == 0, said.out + said.err
    assert r"caf\xe9\n\x1b[31m" in page(tmp_path)
    assert r"caf\xe9\n\x1b[31m" in call("results", "--analysis", "images", "--format", "csv", cwd=tmp_path).out
    assert rb"square/r\\xf6ntgen.jpg" in next((tmp_path / "store" / "ingest").glob("*/table.json")).read_bytes()


def test_what_was_left_out_is_said_by_init_check_and_the_page(tmp_path: Path, look, call) -> None:
    for part in ("Training", "Testing"):
        images.write(tmp_path / "images" / part, each=6)
    photo = images.picture(0, 99)
    photo.save(tmp_path / "images" / "Training" / "flat.png")
    (tmp_path / "images" / "unlabeled").mkdir()
    photo.save(tmp_path / "images" / "unlabeled" / "1.png")
    for place in range(3):
        (tmp_path / "images" / "Training" / "disc" / f"{place}.heic").touch()
    words = (
        "'Testing' as test, 'Training' as train; val will be drawn from train",
        "1 picture outside the class folders, so without a label, left out: 1 in 'Training'",
        "'unlabeled' (1 picture, by its name no class)",
        "3 of 15 files of class 'disc' are not read (3 .heic)",
    )
    for said in (call("init", "images", cwd=tmp_path), look(verb="check"), look()):
        assert said.code == 0 and all(word in said.out for word in words), said.out + said.err
    html = page(tmp_path).replace("&#39;", "'")
    assert all(word in html for word in words)


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (
            lambda grey: Image.fromarray(grey.astype(np.uint16) * 16),
            0,
            "of the 16-bit range) of the 16-bit pictures are spread to 0..255",
        ),
        (lambda grey: Image.fromarray(grey // 200), 3, "18 of 18 pictures of 'folder:"),
    ],
    ids=["12 bits in 16", "nearly black"],
)
def test_dark_pictures_are_scaled_or_refused_never_trained(tmp_path: Path, look, make, code: int, words: str) -> None:
    images.write(tmp_path / "images", each=6)
    for file in list((tmp_path / "images").rglob("*.*")):
        grey = np.asarray(Image.open(file).convert("L"))
        file.unlink()
        make(grey).save(file.with_suffix(".png"))
    said = look(verb="check")
    assert said.code == code and words in said.out, said.out + said.err
