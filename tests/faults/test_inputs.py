"""What lies in a folder of images, or under the name of weights, and is neither: one sentence, or left out and said."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from smoke import images, study

from transferscope.data import open_listing, source_fingerprint
from transferscope.data.sheets.sheet import MOST_COLUMNS
from transferscope.engine.store import Store
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute
from transferscope.errors import UserError
from transferscope.memo import Memo
from transferscope.models.checkpoint import read_state


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return images.write(tmp_path / "images", each=4)


def socket_at(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket may be 100 characters long
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link to a pipe": lambda path: (os.mkfifo(path.parents[2] / "pipe"), path.symlink_to(path.parents[2] / "pipe")),
    "a socket": socket_at,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("what", NO_FILES)
def test_what_is_no_file_is_left_out_and_said(root: Path, what: str) -> None:
    NO_FILES[what](root / "disc" / "odd.png")
    listing = open_listing(f"folder:{root}")
    assert len(listing.names) == 12 and source_fingerprint(f"folder:{root}")
    assert any("'disc/odd.png'" in note and "left out" in note for note in listing.notes)


@pytest.mark.parametrize("to", ["/nowhere/at/all.png", "lost.png"], ids=["dangling", "a loop"])
@pytest.mark.parametrize("name", ["disc/lost.png", "lost.png", "rings"])
def test_a_link_that_leads_nowhere_is_named(root: Path, name: str, to: str) -> None:
    (root / name).symlink_to(to if to.startswith("/") else Path(name).name)
    with pytest.raises(UserError, match=f"1 link leads nowhere in .*'{name}' to .*remove the link"):
        open_listing(f"folder:{root}")


def test_links_to_files_and_folders_are_fine(root: Path) -> None:
    (root / "disc" / "again.png").symlink_to("001.png")
    (root / "rings").symlink_to("square")
    assert len(open_listing(f"folder:{root}").names) == 17


def test_folders_and_empty_files_under_names_of_pictures(root: Path) -> None:
    (root / "disc" / "folder.png").mkdir()
    (root / "disc" / "empty.png").touch()
    listing = open_listing(f"folder:{root}")
    assert "disc/empty.png" in listing.names and len(listing.names) == 13
    with pytest.raises(OSError, match="the file is empty"):
        listing.load(listing.names.index("disc/empty.png"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_named(root: Path) -> None:
    (root / "disc" / "001.png").chmod(0)
    with pytest.raises(UserError, match="Permission denied"):
        source_fingerprint(f"folder:{root}")


def test_names_that_are_no_text_are_escaped_and_stay_apart(root: Path, tmp_path: Path) -> None:
    """A class and a picture in Latin-1: a table of them can be written and told of anywhere."""
    (root / "disc" / "001.png").rename(os.fsdecode(os.fsencode(root / "disc") + b"/caf\xe9.png"))
    (root / "disc").rename(os.fsdecode(os.fsencode(root) + b"/d\xefsc"))
    listing = open_listing(f"folder:{root}")
    assert listing.classes[0] == "d\\xefsc" and "d\\xefsc/caf\\xe9.png" in listing.names
    assert listing.load(listing.names.index("d\\xefsc/caf\\xe9.png")).size[0] > 0
    "".join((*listing.names, *listing.classes)).encode("utf-8")
    for file in root.rglob("*.*"):
        os.utime(file, (1e9, 1e9))  # settled, so that its digest is remembered
    digest = source_fingerprint(f"folder:{root}", tmp_path / "memo")
    assert digest == source_fingerprint(f"folder:{root}", tmp_path / "memo") == source_fingerprint(f"folder:{root}")
    assert any("\udce9" in name for name in Memo(tmp_path / "memo" / "file-digests.json").read())


def test_a_table_of_too_many_columns_is_refused_at_once(tmp_path: Path) -> None:
    (file := tmp_path / "wide.csv").write_text(",".join(f"c{n}" for n in range(100_000)) + "\n" + "0," * 99_999 + "0\n")
    with pytest.raises(UserError, match=f"has 100,000 columns, and {MOST_COLUMNS:,} are the most"):
        open_listing(f"csv:{file}")


def test_a_table_names_a_pipe_as_what_is_not_there(root: Path, tmp_path: Path) -> None:
    os.mkfifo(root / "disc" / "odd.png")
    (file := tmp_path / "t.csv").write_text("path,label\nimages/disc/001.png,a\nimages/disc/odd.png,b\n")
    with pytest.raises(UserError, match=r"1 image\(s\) that do not exist, the first being 'images/disc/odd.png'"):
        open_listing(f"csv:{file}")


def test_an_image_replaced_between_plan_and_run_fails_its_step(tmp_path: Path) -> None:
    from transferscope import battery
    from transferscope.study import Study

    file = study.write(tmp_path / "study")
    loaded = Study.load(file, {"analyses": "[images]"})
    steps, store = battery.plan(loaded)
    store.prepare()
    (ingest,) = (step for step in steps.steps if step.task == "ingest")
    images.picture(2, 77).save(tmp_path / "study" / "images" / "disc" / "001.png")
    outcome = execute(ingest.job, store, Work(store.root))
    assert outcome.status == "failed" and "has changed since the study was planned: run again" in outcome.error
    steps, store = battery.plan(loaded)
    (again,) = (step for step in steps.steps if step.task == "ingest")
    assert again.key != ingest.key and execute(again.job, store, Work(store.root)).status == "done"
    _moved(store, tmp_path)


def _moved(store: Store, tmp_path: Path) -> None:
    """A table holds no path of the machine, and knows its images when the study has moved."""
    from transferscope.tasks.inputs import open_table

    ((task, key),) = store.entries()
    assert str(tmp_path) not in (store.path(task, key) / "table.json").read_text()
    (tmp_path / "study").rename(tmp_path / "elsewhere")
    table = open_table(tmp_path / "elsewhere" / store.root.name / task / key)
    assert table.ref == f"folder:{tmp_path}/elsewhere/images" and open_listing(table.ref).names == table.names


def nested(depth: int, inner: dict) -> dict:
    for _ in range(depth):
        inner = {"model": inner}
    return inner


def itself() -> dict:
    held: dict = {"weight": torch.ones(2)}
    held["model"] = held["more"] = [held]
    held["model"] = held
    return held


def doubled(times: int) -> dict:
    """A few dictionaries, each held twice by the next: 2^times ways to the innermost."""
    held: dict = {"weight": torch.ones(2)}
    for _ in range(times):
        held = {"a": held, "b": held}
    return held


def test_weights_that_hold_themselves_are_read_once(tmp_path: Path) -> None:
    torch.save(itself(), tmp_path / "w.pth")
    assert set(read_state(tmp_path / "w.pth")) == {"weight"}


@pytest.mark.parametrize(
    ("held", "says"),
    [(nested(100, {"weight": torch.ones(2)}), "more than 60 deep"), (doubled(40), "1,000,000 entries")],
)
def test_weights_nested_beyond_reason_are_refused_at_once(tmp_path: Path, held: dict, says: str) -> None:
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(UserError, match=says):
        read_state(tmp_path / "w.pth")
