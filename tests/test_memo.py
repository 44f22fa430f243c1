"""A memo saves time: nothing that happens to its file is an error, and what several add at once is all kept."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transferscope.data.fingerprint import files_fingerprint
from transferscope.memo import Memo
from transferscope.models.memo import remembered
from transferscope.timing import calibrate
from transferscope.timing.step_time import Question


def test_whoever_decides_first_decides_for_both(tmp_path: Path) -> None:
    memo = Memo(tmp_path / "memo" / "speed.json", indent=1)
    assert memo.first("a", 1) == memo.first("a", 2) == 1
    assert memo.first("b", 2) == 2
    memo.put({"b": "later", "c": [3]})
    assert memo.read() == {"a": 1, "b": "later", "c": [3]}
    assert json.loads((tmp_path / "memo" / "speed.json").read_text()) == memo.read()


def test_what_many_add_at_once_is_kept(tmp_path: Path) -> None:
    def add(number: int) -> None:
        remembered(tmp_path, [str(number)], lambda: number, list)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert sorted(entry["answer"] for entry in Memo(tmp_path / "weights.json").read().values()) == list(range(40))
    assert {file.name for file in tmp_path.iterdir()} <= {"weights.json", "weights.json.lock"}, "no scratch is left"


@pytest.mark.parametrize("spoilt", ["", "{ not json", "[1]", "5", "null", '"x"', "\xff"])
def test_a_spoilt_memo_is_no_error(tmp_path: Path, spoilt: str) -> None:
    for name in ("weights.json", "speed.json", "precision.json", "file-digests.json"):
        (tmp_path / name).write_bytes(spoilt.encode("latin-1"))
    question = Question("timm:resnet18", 32, 4)
    assert calibrate.remembered(question, tmp_path) is None
    assert calibrate.remembered_precision(question, tmp_path) is None
    assert remembered(tmp_path, ["x"], lambda: "said", list) == "said"
    assert len(files_fingerprint({"a": tmp_path / "speed.json"}, tmp_path)) == 32
    assert Memo(tmp_path / "speed.json").first("a", 1) == 1


@pytest.mark.parametrize("place", ["a-file/memo.json", "a-folder"])
def test_what_cannot_be_written_is_forgotten(tmp_path: Path, place: str) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "a-folder" / "inside").mkdir(parents=True)
    memo = Memo(tmp_path / place)
    assert memo.first("a", 1) == 1 and memo.read() == {}
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_without_a_file_nothing_is_remembered() -> None:
    assert Memo(None).first("a", 1) == 1
    assert Memo(None).read() == {}


def test_stores_of_earlier_versions_are_understood(tmp_path: Path) -> None:
    """The texts as they were written then, by four different hands."""
    (tmp_path / "file-digests.json").write_text('{"/a":[1,2,"digest"]}')
    (tmp_path / "weights.json").write_text(json.dumps({'["x", "1"]': {"answer": "é", "files": {}}}))
    (tmp_path / "sharing.json").write_text(json.dumps({"key": [{"count": 1}]}, indent=1, ensure_ascii=False) + "\n")
    for name, key in (("file-digests.json", "/a"), ("weights.json", '["x", "1"]'), ("sharing.json", "key")):
        memo = Memo(tmp_path / name)
        before = memo.read()[key]
        memo.put({"more": 1})
        assert memo.read() == {key: before, "more": 1}
