"""webdataset: shards of the library itself and of plain tar, read where samples lie."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shard
from PIL import Image

from transferscope import data
from transferscope.data.pictures.decode import to_rgb
from transferscope.errors import UserError


def picture(level: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((12, 10, 3), level, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def rows(count: int, first: int = 0, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{n:04d}", {"png": picture(n), "cls": n % 2, **more}) for n in range(first, first + count)]


def test_shards_that_the_library_wrote(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    for word in ("train", "val", "test"):
        with webdataset.ShardWriter(str(tmp_path / f"{word}-%03d.tar"), maxcount=4, verbose=0) as writer:
            for n in range(6):
                pixels = np.full((8, 8, 3), 20 * n, np.uint8)
                writer.write({"__key__": f"a/{n}", "png": pixels, "cls": n % 3, "json": {"patient": f"p{n // 2}"}})
    found = data.open_listing('webdataset:%s?{"columns": {"group": "json.patient"}}' % tmp_path)  # noqa: UP031
    assert found.classes == ("0", "1", "2") and len(found.names) == 18
    assert found.names[0] == "test-000/a/0" and found.splits is not None and found.groups is not None
    assert [found.splits.count(word) for word in ("train", "val", "test")] == [6, 6, 6]
    assert found.labels[:6].tolist() == [0, 1, 2, 0, 1, 2] and found.groups[:4] == ("p0", "p0", "p1", "p1")
    assert [np.asarray(to_rgb(found.load(i)))[0, 0, 0] for i in range(6)] == [0, 20, 40, 60, 80, 100]
    theirs = [sample["cls"] for sample in webdataset.WebDataset(str(tmp_path / "test-000.tar"), shardshuffle=False)]
    assert theirs == [b"0", b"1", b"2", b"0"]


def test_numbers_of_classes_are_named_and_a_pattern_is_a_set(tmp_path: Path) -> None:
    shard.write(tmp_path / "a-00.tar", rows(4))
    shard.write(tmp_path / "a-01.tar", rows(4, 4))
    (tmp_path / "classnames.txt").write_text("cat\ndog\n")
    found = data.open_listing(f"webdataset:{tmp_path}/a-{{00..01}}.tar")
    assert found.classes == ("cat", "dog") and len(found.names) == 8 and found.splits is None
    assert data.open_listing(f"webdataset:{tmp_path}").labels.tolist() == found.labels.tolist()
    before = data.source_fingerprint(f"webdataset:{tmp_path}")
    (tmp_path / "classnames.txt").write_text("dog\ncat\n")
    assert data.source_fingerprint(f"webdataset:{tmp_path}") != before


def test_texts_and_fields_of_json(tmp_path: Path) -> None:
    told = [
        (f"{n}", {"txt": f"text {n}", "json": {"label": "ab"[n % 2], "part": "test" if n > 4 else ""}})
        for n in range(6)
    ]
    shard.write(tmp_path / "all.tar", told)
    found = data.open_listing('webdataset:%s?{"columns": {"split": "json.part"}}' % (tmp_path / "all.tar"))
    assert found.holds == "texts" and found.classes == ("a", "b") and found.load(3) == "text 3"
    assert found.splits == ("", "", "", "", "", "test")


def test_what_has_no_label_or_picture_is_left_out_and_counted(tmp_path: Path) -> None:
    odd = [("x1", {"cls": 1}), ("x2", {"png": picture(1)}), ("x3", {"png": picture(1), "cls": -1})]
    shard.write(tmp_path / "all.tar", [*rows(4), *odd])
    found = data.open_listing(f"webdataset:{tmp_path}")
    assert len(found.names) == 4
    assert "1 samples have no file .png" in " ".join(found.notes) and "2 samples have no label" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("parts", "columns", "says"),
    [
        ({"bin": b"1", "cls": 0}, "", "neither pictures nor texts"),
        ({"png": b"", "jpg": b"", "cls": 0}, "", "several pictures a sample"),
        ({"png": b"", "json": {"kind": "a"}}, "", "name the class with columns.label"),
        ({"png": b"", "cls": 0}, '{"label": "json.kind"}', "no sample of"),
        ({"png": b"", "cls": 0}, '{"path": "jpg"}', "columns.path: no sample"),
        ({"png": b"", "json": b"{"}, "", "'a.json' cannot be read"),
        ({"png": b"", "cls": 0, "CLS": 1}, "", "twice"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(
    tmp_path: Path, parts: dict[str, Any], columns: str, says: str
) -> None:
    shard.write(tmp_path / "all.tar", [("a", parts)])
    with pytest.raises(UserError, match=says) as caught:
        data.open_listing(f"webdataset:{tmp_path}" + (f'?{{"columns": {columns}}}' if columns else ""))
    assert "\n" not in str(caught.value)


def test_what_is_no_shard_is_one_sentence(tmp_path: Path) -> None:
    shard.write(tmp_path / "packed" / "a.tar", rows(2), "w:gz")
    shard.write(tmp_path / "cut" / "a.tar", rows(9))
    whole = (tmp_path / "cut" / "a.tar").read_bytes()
    (tmp_path / "cut" / "a.tar").write_bytes(whole[: len(whole) // 2 + 100])
    (tmp_path / "none").mkdir()
    shard.write(tmp_path / "apart" / "a.tar", [*rows(3), *[("0000", {"txt": "again"})]])
    said = {"packed": "is packed with gzip", "cut": "fetch it again", "none": "holds no .tar", "apart": "in two places"}
    for folder, says in said.items():
        with pytest.raises(UserError, match=says):
            data.open_listing(f"webdataset:{tmp_path / folder}")
    with pytest.raises(UserError, match="3 of 3"):
        data.check_ref(f"webdataset:{tmp_path}/a-{{0..2}}.tar")
    with pytest.raises(UserError, match="rising"):
        data.check_ref(f"webdataset:{tmp_path}/a-{{2..0}}.tar")
