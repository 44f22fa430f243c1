"""Sources of texts: folders of .txt files, tables with a column of texts, BBC News; what of them cannot be read."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from transferscope import data
from transferscope.data.texts import decoded
from transferscope.errors import UserError


def write(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


TWO = {"good/1.txt": "fine", "good/2.txt": "très bien", "bad/1.txt": "awful"}


def test_a_folder_of_texts(tmp_path: Path) -> None:
    found = data.open_listing(f"text:{write(tmp_path, TWO)}")
    assert found.holds == "texts" and found.classes == ("bad", "good") and found.labels.tolist() == [0, 1, 1]
    assert [found.load(place) for place in range(3)] == ["awful", "fine", "très bien"]
    first = data.source_fingerprint(f"text:{tmp_path}")
    (tmp_path / "bad/1.txt").write_text("awful!")
    assert data.source_fingerprint(f"text:{tmp_path}") != first


def test_folders_of_splits_and_what_lies_beside(tmp_path: Path) -> None:
    places = itertools.product(("train", "test"), ("neg", "pos"), (1, 2))
    files = {f"{split}/{name}/{number}.txt": f"{split} {number}" for split, name, number in places}
    write(tmp_path, {**files, "train/unsup/1.txt": "nobody knows", "train/neg/notes.docx": "x", "stray.txt": "x"})
    found = data.open_listing(f"text:{tmp_path}")
    assert found.classes == ("neg", "pos") and set(found.splits or ()) == {"train", "test"}
    said = " ".join(found.notes)
    assert "'train/unsup' (1 text, by its name no class)" in said and "1 .docx" in said and "picture" not in said


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.txt": "x"}, "has no class folders; put the .txt files of each class into a subfolder"),
        ({"a/1.txt": "x"}, "has a single class ('a'); at least two classes"),
        ({"a/1.txt": "x", "b/1.pdf": "x"}, "None of the 1 file in .* is read .* convert them to plain text"),
        ({"train/a/1.txt": "x", "test/a/1.txt": "x", "test/b/1.txt": "x"}, "Class 'b' .* has no text for training"),
    ],
)
def test_folders_that_are_none(files: dict[str, bytes | str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence.replace("('a')", r"\('a'\)")):
        data.open_listing(f"text:{write(tmp_path, files)}")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
        ("café".encode("utf-16"), "café"),
    ],
)
def test_encodings_that_say_what_they_are(content: bytes, text: str) -> None:
    assert decoded(content) == text


def test_encodings_that_do_not(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it is no UTF-8 text: save it as UTF-8"):
        decoded(b"caf\xe9")
    assert decoded(b"caf\xe9", "cp1252") == "café"
    for content, reason in ((b" \n", "it is empty"), (b"a\0b", "null bytes")):
        with pytest.raises(ValueError, match=reason):
            decoded(content)


TABLE = 'text,label,split,id\n"one, two",a,train,7\nthree,b,train,8\nfour,a,test,9\n'


def test_a_table_with_a_column_of_texts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    found = data.open_listing(f"csv:{tmp_path / 't.csv'}")
    assert found.holds == "texts" and found.classes == ("a", "b") and found.labels.tolist() == [0, 1, 0]
    assert found.load(0) == "one, two" and found.splits == ("train", "train", "test")
    assert list(found.names) == sorted(found.names)


def test_a_column_of_texts_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE.replace("text,", "body,", 1))
    ref = f'csv:{tmp_path / "t.csv"}?{{"columns":{{"text":"body"}}}}'
    found = data.open_listing(ref)
    assert found.load(1) == "three" and found.holds == "texts"
    assert data.source_fingerprint(ref) == data.source_fingerprint(ref)
    for columns, sentence in {
        '?{"columns":{"text":"bodi"}}': r"columns.text: .* has no column 'bodi'; did you mean 'body'",
        '?{"columns":{"text":"body","path":"id"}}': "images by their path, or texts; name one of the two",
        "": "is it a table of texts, whose column columns.text names",
    }.items():
        with pytest.raises(UserError, match=sentence):
            data.open_listing(f"csv:{tmp_path / 't.csv'}{columns}")


def test_a_table_of_images_with_captions_stays_one_of_images(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("where,text,label\na.png,a dark square,x\nb.png,another one,y\n")
    assert data.open_listing(f"csv:{tmp_path / 't.csv'}").holds == "images"
    (tmp_path / "lost.csv").write_text("path,text,label\nc.png,a dark square,x\nd.png,another one,y\n")
    with pytest.raises(UserError, match="names 2 image"):
        data.open_listing(f"csv:{tmp_path / 'lost.csv'}")


def test_bbc_news_is_whole_and_equal_articles_are_one_group() -> None:
    try:
        data.check_ref("bbcnews")
    except UserError as error:
        pytest.skip(str(error))
    found = data.open_listing("bbcnews")
    assert len(found.names) == 2225 and len(found.classes) == 5 and np.bincount(found.labels).min() > 380
    texts = [found.load(place) for place in range(len(found.names))]
    assert found.groups is not None and len(set(texts)) == len(set(found.groups)) == 2127
    assert any("£" in text for text in texts) and not any("\ufffd" in text for text in texts)
