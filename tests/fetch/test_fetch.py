"""`transferscope fetch`: files come once and whole, go on where they stopped, and every fault is one sentence."""

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import shelf
from filelock import FileLock
from PIL import Image
from shelf import Shelf

from transferscope import data, fetch
from transferscope.errors import UserError
from transferscope.fetch import _unpack, domainnet

ZIP, LISTS = "groundtruth/clipart.zip", ("domainnet/txt/clipart_train.txt", "domainnet/txt/clipart_test.txt")
Fetch = Callable[[], bool]


def picture(shade: int) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 0, 0)).save(held, "png")
    return held.getvalue()


PICTURES = {f"clipart/{name}/clipart_{i}.png": picture(40 * i) for name in ("ant", "bee") for i in range(4)}


def archive(members: dict[str, bytes], mode: int = 0, method: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as opened:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, method
            opened.writestr(info, content)
    return held.getvalue()


@pytest.fixture
def served(monkeypatch) -> Iterator[Shelf]:
    """A mirror of a small domain `clipart`."""
    monkeypatch.setitem(domainnet.IMAGES, "clipart", len(PICTURES))
    with shelf.serving() as found:
        found.files[ZIP] = archive(PICTURES)
        for number, name in enumerate(LISTS):
            lines = [f"{path} {int('bee' in path)}" for path in PICTURES if int(path[-5]) % 2 == number]
            found.files[name] = ("\n".join(lines) + "\n").encode()
        yield found


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "domainnet"


@pytest.fixture
def get(served: Shelf, root: Path, told: list[str]) -> Fetch:
    return partial(fetch.fetch, "domainnet", root, ["clipart"], served.url, False, told.append)


def refused(get: Fetch) -> str:
    with pytest.raises(UserError) as error:
        get()
    said = str(error.value)
    assert said.startswith("fetch: ") and said.endswith(".") and "\n" not in said
    return said


def test_it_lies_as_its_source_expects_it_and_is_fetched_once(served: Shelf, root: Path, get: Fetch) -> None:
    assert get()
    names = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}
    assert names == PICTURES
    assert {path.name for path in root.iterdir()} == {
        "clipart",
        "clipart_train.txt",
        "clipart_test.txt",
        "fetched.json",
    }
    found = data.open_listing(f"domainnet:{root}/clipart")
    assert len(found.names) == 8 and found.classes == ("ant", "bee")
    kept = json.loads((root / "fetched.json").read_text())
    assert kept["clipart.zip"]["sha256"] == hashlib.sha256(served.files[ZIP]).hexdigest()
    assert kept["clipart.zip"]["bytes"] == len(served.files[ZIP]) and kept["clipart.zip"]["files"] == 8
    asked = len(served.asked)
    assert not get() and len(served.asked) == asked == 3


def test_the_command_line(served: Shelf, root: Path, call) -> None:
    how = ("fetch", "domainnet", root, "--domain", "clipart", "--mirror", served.url, "--keep-archives")
    assert "All of it is in" in call(*how).out and (root / "clipart.zip").exists()
    assert "Nothing to fetch." in call(*how).out
    wrong = call("fetch", "domainet", root)
    assert wrong.code == 2 and "did you mean 'domainnet'?" in wrong.err
    assert "did you mean 'clipart'?" in call("fetch", "domainnet", root, "--domain", "clipar").err
    assert "begins with http" in call("fetch", "domainnet", root, "--mirror", "file:///etc").err


def test_what_was_published_is_listed() -> None:
    """As on the page of the data set; the counts are those of its table, and of the lists that papers use."""
    listed = {one.address for part in domainnet.PARTS for one in domainnet.files(part)}
    assert len(listed) == 18 and {ZIP, "groundtruth/painting.zip", "real.zip", *LISTS} < listed
    assert domainnet.IMAGES["real"] == 120_906 + 52_041 and sum(domainnet.IMAGES.values()) == 586_575


@pytest.mark.parametrize("tag", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("chunked", [False, True])
def test_it_goes_on_where_the_connection_ended(served: Shelf, root: Path, get: Fetch, tag: str, chunked: bool) -> None:
    served.tag, served.chunked = tag, chunked
    served.cut[ZIP] = 300
    why = refused(get)
    assert "are kept; run it again" in why or "what came is kept" in why
    assert (root / "clipart.zip.part").stat().st_size == 300 and not (root / "clipart").exists()
    refused(get)
    del served.cut[ZIP]
    assert get() and len(list(root.rglob("*.png"))) == 8
    assert [span for path, span in served.asked if path == ZIP] == ["", "bytes=300-", "bytes=600-"]
    assert [path for path, _ in served.asked].count(LISTS[0]) == 1
    kept = json.loads((root / "fetched.json").read_text())["clipart.zip"]
    assert kept["sha256"] == hashlib.sha256(served.files[ZIP]).hexdigest() and not list(root.glob("*.part*"))


@pytest.mark.parametrize("fault", ["the server does not send parts", "it has changed", "nothing tells"])
def test_it_begins_again_where_it_cannot_go_on(served: Shelf, get: Fetch, told: list[str], fault: str) -> None:
    served.tag = "" if fault == "nothing tells" else "ETag"
    served.cut[ZIP] = 300
    refused(get)
    del served.cut[ZIP]
    if fault == "it has changed":
        served.files[ZIP] = archive(PICTURES, method=zipfile.ZIP_DEFLATED)
    served.whole = fault == "the server does not send parts"
    assert get()
    assert any(fault in line for line in told) is (fault != "nothing tells")


def test_all_of_it_came_before_it_was_stopped(served: Shelf, root: Path, get: Fetch) -> None:
    served.cut[ZIP] = len(served.files[ZIP]) - 1
    refused(get)
    with (root / "clipart.zip.part").open("ab") as part:
        part.write(served.files[ZIP][-1:])
    assert get() and served.asked[-1] == (ZIP, f"bytes={len(served.files[ZIP])}-")


def test_ctrl_c_and_again(served: Shelf, root: Path, get: Fetch, monkeypatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(zipfile.ZipFile, "extract", stopped)
        with pytest.raises(KeyboardInterrupt):
            get()
    assert not (root / "clipart").exists()
    asked = len(served.asked)
    assert get() and len(served.asked) == asked, "the archive was there"
    assert not list(root.glob(".*"))


@pytest.mark.parametrize(("code", "sentence"), [(404, "is not there (404); see http://ai.bu.edu"), (503, "(503")])
def test_what_the_server_refuses(served: Shelf, get: Fetch, code: int, sentence: str) -> None:
    served.status[ZIP] = code
    assert sentence in refused(get)


def test_no_network_and_no_room(served: Shelf, root: Path, get: Fetch, monkeypatch) -> None:
    nowhere = partial(fetch.fetch, "domainnet", root, [], "http://127.0.0.1:1", False, print)
    assert "look at the network" in refused(nowhere)
    from transferscope.fetch import _download

    class Full:
        free = 10

    monkeypatch.setattr(_download.shutil, "disk_usage", lambda _: Full)
    assert "make room" in refused(get)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.undo()
    monkeypatch.setitem(domainnet.IMAGES, "clipart", len(PICTURES))
    monkeypatch.setattr(_download, "_written", full)
    assert "is full; make room" in refused(get)


def test_what_is_there_is_held_against_what_came(served: Shelf, root: Path, get: Fetch) -> None:
    get()
    picture = root / next(iter(PICTURES))
    content = picture.read_bytes()
    picture.unlink()
    assert "has 7 files" in refused(get) and "delete the folder" in refused(get)
    picture.write_bytes(content)
    (root / "clipart_test.txt").write_text("other")
    assert "is not what came" in refused(get)
    (root / "clipart_test.txt").unlink()
    served.files[LISTS[1]] += b"\n"
    assert "is another file than came before" in refused(get) and not (root / "clipart_test.txt").exists()


def test_what_somebody_else_put_there_is_left_alone(served: Shelf, root: Path, get: Fetch) -> None:
    (root / "clipart").mkdir(parents=True)
    assert "was not fetched by this" in refused(get) and not served.asked


def test_two_at_once_are_one_too_many(served: Shelf, root: Path, get: Fetch) -> None:
    root.mkdir()
    with FileLock(root / ".fetch.lock"):
        assert "another fetch is at work" in refused(get)
    assert get() and not list(root.glob(".*"))


def test_lists_that_lack_lines_are_refused_before_the_archive_is_fetched(served: Shelf, get: Fetch) -> None:
    served.files[LISTS[0]] = served.files[LISTS[0]].split(b"\n")[0]
    for _ in range(2):
        assert "have 5 lines and not the published 8" in refused(get)
    assert ZIP not in {path for path, _ in served.asked}


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../evil.png", 0),
        ("clipart/../../evil.png", 0),
        ("/evil.png", 0),
        ("other/evil.png", 0),
        ("clipart\\..\\evil.png", 0),
        ("clipart/link.png", stat.S_IFLNK | 0o777),
        ("clipart/pipe.png", stat.S_IFIFO | 0o666),
        ("clipart//a.png", 0),
        ("clipart/./a.png", 0),
        ("clipart", 0),
        ("", 0),
    ],
)
def test_nothing_is_unpacked_elsewhere(served: Shelf, root: Path, get: Fetch, name: str, mode: int) -> None:
    served.files[ZIP] = archive({"clipart/a.png": b"a", name: b"b"}, mode)
    assert "not unpacked" in refused(get)
    assert not (root / "clipart").exists() and not list(root.parent.rglob("evil*"))


def test_bombs_and_damage(served: Shelf, root: Path, get: Fetch, monkeypatch) -> None:
    monkeypatch.setattr(_unpack, "SPARE", 1000)
    served.files[ZIP] = archive({"clipart/zeros.png": bytes(10_000_000)}, method=zipfile.ZIP_DEFLATED)
    assert "no archive of pictures does" in refused(get)
    (root / "clipart.zip").unlink()
    (root / "fetched.json").unlink()
    for file in root.glob("*.txt"):
        file.unlink()
    broken = bytearray(archive(PICTURES))
    broken[60] ^= 1
    served.files[ZIP] = bytes(broken)
    assert "was damaged" in refused(get) and not (root / "clipart").exists() and not list(root.glob(".c*"))
    served.files[ZIP] = archive(PICTURES)
    assert get(), "nothing of the damaged archive is a measure of the next"


@pytest.mark.parametrize("name", [ZIP, LISTS[0]])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>Please log in</html>", "gave a web page of 41 bytes; see"),
        (b"", ""),
        (b"PK\3\4 cut", ""),
    ],
)
def test_what_is_not_what_was_asked_for_leaves_nothing(
    served: Shelf, root: Path, get: Fetch, name: str, content: bytes, what: str
) -> None:
    """A page in the place of a file, and files cut short, are refused, and the file itself is taken afterwards."""
    right, served.files[name] = served.files[name], content
    for _ in range(2):
        said = refused(get)
        assert what in said and "--mirror" in said
    lost = Path(name).name
    kept = root / "fetched.json"
    assert lost not in (json.loads(kept.read_text()) if kept.exists() else {})
    assert not list(root.glob(f"{lost}*"))
    served.files[name] = right
    assert get() and len(list(root.rglob("*.png"))) == 8


def test_lists_of_something_else(served: Shelf, root: Path, get: Fetch) -> None:
    """As many lines as published, of another domain."""
    served.files[LISTS[0]] = served.files[LISTS[0]].replace(b"clipart/", b"sketch/")
    assert "the line 'sketch/" in refused(get) and not list(root.glob("*.txt"))
