"""Fingerprints follow names and contents, nothing else; the memo spares reading, never a change."""

import json
import os
import shutil
from pathlib import Path

import pytest

from transferscope.data import fingerprint
from transferscope.data.fingerprint import files_fingerprint, text_fingerprint


def files(root: Path, count: int = 5) -> dict[str, Path]:
    root.mkdir(exist_ok=True)
    found = {f"{i}.bin": root / f"{i}.bin" for i in range(count)}
    for i, path in enumerate(found.values()):
        path.write_bytes(f"{i:04d}".encode() * 25)
        os.utime(path, (1_000_000, 1_000_000))
    return found


def test_golden() -> None:
    # From `printf '\x01\0\0\0\0\0\0\0a\x02\0\0\0\0\0\0\0bc' | b2sum -l 128`: each text after its length. A change
    # makes every user decode again.
    assert text_fingerprint(["a", "bc"]) == "f14abc19c330e936bb9c8506d69bac9b"


def test_boundaries_count() -> None:
    assert text_fingerprint(["ab", "c"]) != text_fingerprint(["a", "bc"])


def test_content_and_names_count_but_not_the_place(tmp_path: Path) -> None:
    one, other = files(tmp_path / "one"), files(tmp_path / "other")
    first = files_fingerprint(one)
    assert first == files_fingerprint(other) == files_fingerprint(dict(reversed(one.items())))
    renamed = {f"x{name}": path for name, path in other.items()}
    assert files_fingerprint(renamed) != first
    other["3.bin"].write_bytes(b"changed")
    assert files_fingerprint(other) != first
    assert files_fingerprint(one, extra=["x"]) != first


def test_memo_spares_reading_and_sees_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, memo = files(tmp_path / "one"), tmp_path / "memo"
    read: list[str] = []
    original = fingerprint.file_digest
    monkeypatch.setattr(fingerprint, "file_digest", lambda path: read.append(path) or original(path))
    first = files_fingerprint(found, memo)
    assert len(read) == 5
    assert files_fingerprint(found, memo) == first and len(read) == 5
    found["1.bin"].write_bytes(b"other bytes")
    assert files_fingerprint(found, memo) != first and len(read) == 6


def test_fresh_files_are_not_remembered(tmp_path: Path) -> None:
    # A file changed twice within one tick of the clock keeps its size and date: only settled files are trusted.
    file, memo = tmp_path / "a", tmp_path / "memo"
    file.write_bytes(b"one")
    status = file.stat()
    first = files_fingerprint({"a": file}, memo)
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert files_fingerprint({"a": file}, memo) != first


def test_damaged_memo_is_ignored(tmp_path: Path) -> None:
    found, memo = files(tmp_path / "one"), tmp_path / "memo"
    first = files_fingerprint(found, memo)
    (memo / fingerprint.MEMO_FILE).write_text("{ not json")
    assert files_fingerprint(found, memo) == first


def test_a_copy_that_keeps_size_and_time_is_read(tmp_path: Path) -> None:
    found, memo = files(tmp_path / "one"), tmp_path / "memo"
    first, file = files_fingerprint(found, memo), found["1.bin"]
    other = tmp_path / "other"
    other.write_bytes(bytes(b ^ 1 for b in file.read_bytes()))
    shutil.copystat(file, other)
    other.replace(file)  # as rsync -t does
    assert files_fingerprint(found, memo) != first


def test_a_memo_of_another_shape_is_ignored(tmp_path: Path) -> None:
    found, memo = files(tmp_path / "one"), tmp_path / "memo"
    first = files_fingerprint(found, memo)
    for entry in (5, {}, [], [1, 2], None):
        (memo / fingerprint.MEMO_FILE).write_text(json.dumps({str(path): entry for path in found.values()}))
        assert files_fingerprint(found, memo) == first
