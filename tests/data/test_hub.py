"""Data sets of Hugging Face: saved folders, Parquet folders and the hub's cache, as the real library writes them."""

import pickle
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from smoke import images

from transferscope import data
from transferscope.errors import UserError
from transferscope.registry import joined

datasets = pytest.importorskip("datasets")
SIDE = 12


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library's caches below the test's folder, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path / "hub"


def shade(value: int) -> Image.Image:
    return Image.fromarray(np.full((SIDE, SIDE, 3), value, dtype=np.uint8))


def pictures(n: int, start: int = 0, **more: Any) -> Any:
    """`n` even pictures whose shade is their number, of two classes in turn that are not in order."""
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["zebra", "ant"])}
    rows = {"image": [shade(start + i) for i in range(n)], "label": [i % 2 for i in range(n)]}
    extra = {name: datasets.Value("string") for name in more}
    return datasets.Dataset.from_dict({**rows, **more}, features=datasets.Features({**kinds, **extra}))


def splits() -> Any:
    return datasets.DatasetDict(train=pictures(8), validation=pictures(4, 50), test=pictures(4, 100))


def saved(made: Any, folder: Path) -> str:
    made.save_to_disk(folder)
    return f"hf:{folder}"


def parquet(made: Any, folder: Path) -> str:
    (folder / "data").mkdir(parents=True)
    for name, part in made.items():
        part.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return f"hf:{folder}"


def checked(ref: str) -> data.Listing:
    """The listing of `splits()`, its pictures looked at in another process's way."""
    data.check_ref(ref)
    found = data.open_listing(ref)
    assert found.classes == ("zebra", "ant") and len(found.names) == 16
    assert found.names[0] == "test/00000000" and found.names[-1] == "validation/00000003"
    assert [found.splits[i] for i in (0, 4, 15)] == ["test", "train", "val"]  # type: ignore[index]
    assert found.labels.tolist() == [i % 2 for i in range(4)] + [i % 2 for i in range(8)] + [i % 2 for i in range(4)]
    load = pickle.loads(pickle.dumps(found.load))
    assert [int(np.asarray(load(i))[0, 0, 0]) for i in (0, 4, 11, 15)] == [100, 0, 7, 53]
    return found


def test_a_saved_folder(tmp_path: Path) -> None:
    ref = saved(splits(), tmp_path / "saved")
    checked(ref)
    first = data.source_fingerprint(ref, tmp_path / "memo")
    assert first == data.source_fingerprint(ref)
    saved(datasets.DatasetDict({**splits(), "train": pictures(8, 1)}), tmp_path / "other")
    assert data.source_fingerprint(f"hf:{tmp_path / 'other'}") != first


def test_a_folder_that_was_saved_anew_is_opened_anew(tmp_path: Path) -> None:
    ref = saved(pictures(6), tmp_path / "saved")
    assert len(data.open_listing(ref).names) == 6
    saved(pictures(8, 20), tmp_path / "saved")
    again = data.open_listing(ref)
    assert len(again.names) == 8 and int(np.asarray(again.load(0))[0, 0, 0]) == 20
    assert again.splits is None, "of one part alone splits are drawn"


def test_a_parquet_folder(tmp_path: Path) -> None:
    checked(parquet(splits(), tmp_path / "shapes"))


def test_the_cache_of_the_hub(tmp_path: Path, own_cache: Path) -> None:
    with pytest.raises(
        UserError, match=r"'lab/shapes' is not in the cache .*hf download lab/shapes --repo-type dataset"
    ):
        data.check_ref("hf:lab/shapes")
    cached = own_cache / "datasets--lab--shapes"
    parquet(splits(), cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    checked("hf:lab/shapes")
    assert data.absolute("hf:lab/shapes", tmp_path) == "hf:lab/shapes"
    (tmp_path / "mine").mkdir()
    assert data.absolute("hf:mine#other", tmp_path) == f"hf:{tmp_path}/mine#other"


def test_texts_and_their_labels(tmp_path: Path) -> None:
    rows = {"sentence": ["good", "bad", "fine", "poor", "so so"], "label": ["up", "down", "up", "down", None]}
    found = data.open_listing(saved(datasets.Dataset.from_dict(rows), tmp_path / "saved"))
    assert found.holds == "texts" and found.classes == ("down", "up") and found.labels.tolist() == [1, 0, 1, 0]
    assert [found.load(i) for i in range(4)] == rows["sentence"][:4]
    assert "1 examples have no label and were left out." in found.notes
    with pytest.raises(ValueError, match="empty"):
        data.open_listing(saved(datasets.Dataset.from_dict({"text": [" ", "b"], "y": [0, 1]}), tmp_path / "t")).load(0)


def test_columns_say_what_types_do_not(tmp_path: Path) -> None:
    rows = {
        "a": ["x", "y", "x", "y"],
        "b": ["1", "2", "3", "4"],
        "kind": ["p", "q", "p", "q"],
        "who": ["A", "A", "B", "B"],
    }
    rows["part"] = ["train", "train", "test", "dev"]
    ref = saved(datasets.Dataset.from_dict(rows), tmp_path / "saved")
    with pytest.raises(UserError, match=r"no column 'label' .*name the one with columns.label"):
        data.open_listing(ref)
    with pytest.raises(UserError, match=r"several columns of texts \('a', 'b'.*columns.text"):
        data.open_listing(joined(ref, {"columns": {"label": ["kind"]}}))
    columns = {"label": ["kind"], "text": "b", "group": "who", "split": "part"}
    asked = joined(ref, {"columns": columns})
    found = data.open_listing(asked)
    assert found.groups == ("A", "A", "B", "B") and found.splits == ("train", "train", "test", "val")
    assert found.load(2) == "3" and data.source_fingerprint(asked) != data.source_fingerprint(ref)
    with pytest.raises(UserError, match=r"columns.group: .* has no column 'whom'; did you mean 'who'"):
        data.open_listing(joined(ref, {"columns": {**columns, "group": "whom"}}))


def test_several_labels_an_example(tmp_path: Path) -> None:
    kinds = {"text": datasets.Value("string"), "labels": [datasets.ClassLabel(names=["r", "g", "unused"])]}
    rows = {"text": list("abc"), "labels": [[0, 1], [], [1]]}
    found = data.open_listing(
        saved(datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)), tmp_path / "s")
    )
    assert found.classes == ("r", "g") and found.labels.tolist() == [[1, 1], [0, 0], [0, 1]]
    rows = {"text": list("abc"), "r": [1, 0, 1], "g": [0, 1, 1]}
    ref = saved(datasets.Dataset.from_dict(rows), tmp_path / "columns")
    found = data.open_listing(joined(ref, {"columns": {"label": ["r", "g"]}}))
    assert found.classes == ("r", "g") and found.labels.tolist() == [[1, 0], [0, 1], [1, 1]]


def test_splits_without_a_meaning_are_left_out_and_said(tmp_path: Path) -> None:
    made = datasets.DatasetDict({**splits(), "unsupervised": pictures(4)})
    found = data.open_listing(saved(made, tmp_path / "saved"))
    assert len(found.names) == 16 and any("'unsupervised'" in note for note in found.notes)
    with pytest.raises(UserError, match="all read val"):
        data.open_listing(saved(datasets.DatasetDict({**splits(), "dev": pictures(4)}), tmp_path / "twice"))


@pytest.mark.parametrize("content", ["empty", "broken"])
def test_what_cannot_be_opened_is_one_sentence(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if content == "broken":
        (folder / "train.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(UserError, match="cannot be opened by the library datasets") as caught:
        data.open_listing(f"hf:{folder}")
    assert "\n" not in str(caught.value)


def test_a_study_of_one_is_ready(tmp_path: Path) -> None:
    import transferscope as ts

    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["disc", "square"])})
    rows = {"image": [images.picture(i % 2, i) for i in range(32)], "label": [i % 2 for i in range(32)]}
    drawn = datasets.Dataset.from_dict(rows, features=kinds)
    parts = datasets.DatasetDict(train=drawn.select(range(24)), test=drawn.select(range(24, 32)))
    saved(parts, tmp_path / "saved")
    study = ts.Study(
        folder=tmp_path,
        targets={"shades": "hf:saved"},
        network="smoke.nets:tiny",
        arms=["random"],
        image_size=32,
        recipe={"batch_size": 8, "epochs": 1, "lr": 0.01, "precision": "float32"},
        resources={"device": "cpu"},
    )
    checks = study.check()
    assert checks.ready, checks
    assert "32 images, 2 classes" in repr(checks) and "8 test" in repr(checks)
