"""No name and no link leads out of the folder that is shown."""

import os
from pathlib import Path

import pytest

from transferscope.serving import safe_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "a.svg").write_text("secret")
    root = tmp_path / "root"
    (root / "figures").mkdir(parents=True)
    (root / "figures" / "a.svg").write_text("0123456789")
    (root / "figures" / "link.svg").symlink_to(tmp_path / "secret.txt")
    (root / "inside.svg").symlink_to(root / "figures" / "a.svg")
    (root / "linked").symlink_to(tmp_path / "away")
    os.mkfifo(root / "pipe")
    return root


def test_a_file_and_its_end(root: Path) -> None:
    whole = safe_files.read(root, ("figures", "a.svg"))
    assert whole is not None and (whole.content, whole.size) == (b"0123456789", 10)
    end = safe_files.read(root, ("figures", "a.svg"), last=4)
    assert end is not None and (end.content, end.size) == (b"6789", 10)
    assert safe_files.changed(root, ("figures", "a.svg")) == ((root / "figures" / "a.svg").stat().st_mtime_ns, 10)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        ("..", "secret.txt"),
        ("figures", "..", "..", "secret.txt"),
        ("../secret.txt",),
        ("figures/../../secret.txt",),
        ("figures", "link.svg"),
        ("inside.svg",),  # links are not followed at all, wherever they lead
        ("linked", "a.svg"),
        ("pipe",),
        ("figures",),
        ("nothing",),
        ("",),
        (".", "figures", "a.svg"),
        ("a\0b",),
        ("\udcff",),
        ("x" * 5000,),
        ("figures", "a.svg", "deeper"),
    ],
)
def test_everything_else_is_not_there(root: Path, parts: tuple[str, ...]) -> None:
    assert safe_files.read(root, parts) is None
    assert safe_files.changed(root, parts) is None


def test_the_folder_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "by-link").symlink_to(root)
    assert safe_files.read(tmp_path / "by-link", ("figures", "a.svg")) is not None
    assert safe_files.read(tmp_path / "absent", ("figures", "a.svg")) is None


def test_a_file_too_large_to_hand_out_still_has_an_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_files, "MOST", 5)
    assert safe_files.read(root, ("figures", "a.svg")) is None
    end = safe_files.read(root, ("figures", "a.svg"), last=7)
    assert end is not None and end.content == b"3456789"
