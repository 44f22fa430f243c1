"""DomainNet, CheXpert, ImageNet and CIFAR as published: what is listed, what a study drew of it, what is refused."""

import hashlib
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import official
import pytest

from transferscope.data import open_listing, published, source_fingerprint
from transferscope.data.pictures.decode import to_rgb
from transferscope.data.sources import cifar10
from transferscope.data.split import assign_splits
from transferscope.errors import UserError


def refused(ref: str, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        open_listing(ref)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "?"))


def test_the_published_draws_are_numpys() -> None:
    """The first rows of the published subsample and order, of lists as long as the real domain's and CheXpert's: numpy
    promises that `RandomState` draws them for ever."""
    assert published.drawn(120_906, 50_000, 2020)[:4].tolist() == [31803, 23292, 29956, 73424]
    assert len(set(published.drawn(120_906, 50_000, 2020).tolist())) == 50_000
    assert published.drawn(7, 7, 2020).tolist() == list(range(7)), "a list with no more is taken as it is"
    assert published.permuted(223_414, 1234)[:4].tolist() == [109867, 32890, 8709, 185003]
    lines = np.array([f"line {number}\n" for number in range(50)])
    assert (np.random.RandomState(1234).permutation(lines) == lines[published.permuted(50, 1234)]).all()


# DomainNet


def test_domainnet_lists_what_its_lists_say(tmp_path: Path) -> None:
    listing = open_listing(f"domainnet:{official.domainnet(tmp_path, 'real')}/real")
    assert listing.classes == official.CLASSES and len(listing.names) == 36
    assert listing.splits is not None and listing.splits.count("test") == 12
    place = listing.names.index("real/airplane/real_001_000009.jpg")
    assert listing.labels[place] == 1 and listing.splits[place] == "test" and not listing.notes


def test_domainnet_is_drawn_from_each_list_by_itself(tmp_path: Path) -> None:
    root = official.domainnet(tmp_path, "clipart")
    listing = open_listing(f"domainnet:{root}/clipart#15")
    lines = (root / "clipart_train.txt").read_text(encoding="utf-8").splitlines()
    wanted = {lines[row].split()[0] for row in np.random.RandomState(2020).choice(24, size=15, replace=False)}
    assert listing.splits is not None
    split = dict(zip(listing.names, listing.splits, strict=True))
    assert {name for name, word in split.items() if word == "train"} == wanted
    assert sum(word == "test" for word in split.values()) == 12, "a list of fewer is taken whole"
    assert listing.notes == ("15 of the 24 train images, as numpy's RandomState(2020) draws them.",)
    assert source_fingerprint(f"domainnet:{root}/clipart#15") != source_fingerprint(f"domainnet:{root}/clipart")


def _line(file: Path, number: int, line: str | None) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[number : number + 1] = [] if line is None else [line]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "real_test.txt").unlink(), ("real_test.txt' is not there",)),
        (lambda root: (root / "real_train.txt").write_text(""), ("real_train.txt' is empty",)),
        (lambda root: (root / "real/airplane/real_001_000002.jpg").unlink(), ("real_001_000002.jpg", "not there")),
        (lambda root: _line(root / "real_train.txt", 0, "real/a/b.jpg"), ("real_train.txt:1", "'real/a/b.jpg'")),
        (lambda root: _line(root / "real_train.txt", 0, "real/../b.jpg 0"), ("real_train.txt:1",)),
        (lambda root: _line(root / "real_train.txt", 3, "real/bat/b.jpg 9"), ("up to class 9", "no image of 3")),
        (lambda root: _line(root / "real_train.txt", 3, "real/bat/b.jpg 1"), ("class 1 is",)),
        (
            lambda root: _line(root / "real_train.txt", 0, "real/airplane/real_001_000001.jpg 1"),
            ("real_001_000001.jpg' is listed twice",),
        ),
        (
            lambda root: (root / "real_test.txt").open("a").write("real/airplane/real_001_000001.jpg 3\n"),
            ("has the number 3, but 'airplane' is class 1",),
        ),
        (lambda root: _line(root / "real_train.txt", 0, f"real/bat/b.jpg {10**11}"), ("real_train.txt:1",)),
        (lambda root: _line(root / "real_train.txt", 0, "real/bat/b.jpg 999999"), ("up to class 999999",)),
        (lambda root: (root / "real_train.txt").write_text("real/a/ä.jpg 0", "latin-1"), ("no text in UTF-8",)),
        (lambda root: (root / "real_train.txt").write_bytes(bytes(99)), ("no text in UTF-8",)),
    ],
)
def test_bad_trees_of_domainnet(tmp_path: Path, spoil: Callable[[Path], object], words: tuple[str, ...]) -> None:
    spoil(official.domainnet(tmp_path, "real"))
    refused(f"domainnet:{tmp_path}/real", *words)


@pytest.mark.parametrize(
    "other",
    [lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff" + text, lambda text: text + "\n \n"],
    ids=["line ends of Windows", "a mark of UTF-8", "blank lines"],
)
def test_lists_and_tables_that_an_editor_saved(tmp_path: Path, other: Callable[[str], str]) -> None:
    """What does not change what a file says changes nothing of what is read."""
    refs = (
        f"domainnet:{official.domainnet(tmp_path / 'net', 'real')}/real#15",
        f"chexpert:{official.chexpert(tmp_path / 'films', 90)}#40",
        f"imagenet:{official.imagenet(tmp_path / 'images')}",
    )
    before = [open_listing(ref) for ref in refs]
    for name in (
        "net/real_train.txt",
        "films/train.csv",
        "images/ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
    ):
        file = tmp_path / name
        file.write_text(other(file.read_text(encoding="utf-8")), encoding="utf-8", newline="")
    for ref, first in zip(refs, before, strict=True):
        again = open_listing(ref)
        assert (again.names, again.splits, again.classes) == (first.names, first.splits, first.classes)
        assert np.array_equal(again.labels, first.labels)


def test_a_lost_image_is_said_alike_by_listing_and_fingerprint(tmp_path: Path) -> None:
    """`check` asks for the fingerprint first."""
    (official.domainnet(tmp_path / "net", "real") / "real/airplane/real_001_000002.jpg").unlink()
    next((official.chexpert(tmp_path / "films") / "train").rglob("*.jpg")).unlink()
    for ref in (f"domainnet:{tmp_path / 'net'}/real", f"chexpert:{tmp_path / 'films'}"):
        refused(ref, "is listed in", "unpack the archive whole")
        with pytest.raises(UserError, match="unpack the archive whole"):
            source_fingerprint(ref)


def test_bad_references(tmp_path: Path) -> None:
    official.domainnet(tmp_path, "real")
    refused("domainnet:", "names no domain")
    refused(f"domainnet:{tmp_path}/reel", "did you mean 'real'?")
    refused(f"domainnet:{tmp_path}/real#all", "'#all'", "#50000")
    refused(f"domainnet:{tmp_path}/sketch", "no folder")
    refused(f"chexpert:{tmp_path}", "train.csv")
    refused(f"imagenet:{tmp_path}", "no folder", "train")
    refused(f"cifar10:{tmp_path}", "cifar-10-batches-py")


# CheXpert


def test_chexpert_reads_five_findings(tmp_path: Path) -> None:
    listing = open_listing(f"chexpert:{official.chexpert(tmp_path)}")
    assert listing.classes == ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
    assert len(listing.names) == 24 and listing.splits is None
    table = {row[0].partition("/")[2]: row for row in official.films(24)}
    for name, labels, group in zip(listing.names, listing.labels.tolist(), listing.groups or (), strict=True):
        cells = [table[name][place] for place in (7, 10, 11, 13, 15)]
        unsure = (0, 1, 0, 1, 0)
        assert labels == [{"1.0": 1, "-1.0": u}.get(cell, 0) for cell, u in zip(cells, unsure, strict=True)]
        assert group == name.split("/")[1]


def test_chexpert_is_divided_as_published(tmp_path: Path) -> None:
    listing = open_listing(f"chexpert:{official.chexpert(tmp_path, 90)}#40")
    rows = official.films(90)
    order = np.random.RandomState(1234).permutation(90)
    wanted = [rows[row][0].partition("/")[2] for row in order[:40]]
    twice = [rows[row][0].partition("/")[2] for row in order[:40] if "1.0" in (rows[row][7], rows[row][11])]
    split = dict(zip(listing.names, listing.splits or (), strict=True))
    assert {name for name, word in split.items() if word == "train"} == {
        *wanted,
        *(f"{name} (again)" for name in twice),
    }
    assert {n for n, w in split.items() if w == "test"} == {rows[row][0].partition("/")[2] for row in order[40:80]}
    assert twice and any("there twice" in note for note in listing.notes)
    first, second = (listing.names.index(name) for name in (twice[0], f"{twice[0]} (again)"))
    assert to_rgb(listing.load(first)).tobytes() == to_rgb(listing.load(second)).tobytes()
    words = assign_splits(listing.labels, listing.groups, listing.splits, 0.3, 0.2, 0)
    assert words[first] == words[second], "both lie on one side of val"
    patient = np.array([name.split("/")[1] for name in listing.names])
    assert not {*patient[words == "val"]} & {*patient[words == "train"]} and (words == "val").any()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text.replace("Edema", "Oedema"), ("no column 'Edema'",)),
        (lambda text: text.replace("Path,", "File,"), ("no column 'Path'",)),
        (lambda text: text.replace("Frontal,AP,1.0,", "Frontal,AP,", 1), ("train.csv:2", "18 cells")),
        (lambda text: text.replace("-1.0", "maybe"), ("train.csv:", "'maybe'")),
        (lambda text: text.replace("/train/patient00003", "/elsewhere/patient00003"), ("train.csv:8", "elsewhere")),
        (lambda text: text.replace("patient00003", "patient00099"), ("2 of 24 images", "patient00099")),
        (lambda text: text + text.splitlines()[1] + "\n", ("listed twice",)),
        (lambda text: text.replace("Lung Lesion", "Edema"), ("several columns 'Edema'",)),
        (lambda text: text.splitlines()[0], ("no film stands below",)),
        (lambda text: text.replace("Female", "\0", 1), ("no text in UTF-8",)),
        (lambda text: text.replace("\n", "\n\n", 1).replace("-1.0", "maybe"), ("train.csv:6", "'maybe'")),
    ],
)
def test_bad_tables_of_chexpert(tmp_path: Path, spoil: Callable[[str], str], words: tuple[str, ...]) -> None:
    file = official.chexpert(tmp_path) / "train.csv"
    file.write_text(spoil(file.read_text(encoding="utf-8")), encoding="utf-8")
    refused(f"chexpert:{tmp_path}", *words)


def test_chexpert_in_another_order_of_columns(tmp_path: Path) -> None:
    """Reversed, and with a column of row numbers before them; -1 and 1 without their zeros."""
    file = official.chexpert(tmp_path) / "train.csv"
    before = open_listing(f"chexpert:{tmp_path}")
    lines = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines()]
    rows = [[str(row - 1) if row else "", *reversed(line)] for row, line in enumerate(lines)]
    file.write_text("\n".join(map(",".join, rows)).replace("1.0,", "1,") + "\n", encoding="utf-8")
    again = open_listing(f"chexpert:{tmp_path}")
    assert again.names == before.names and np.array_equal(again.labels, before.labels)


def test_chexpert_with_too_few_films(tmp_path: Path) -> None:
    refused(f"chexpert:{official.chexpert(tmp_path)}#13", "24 films are fewer than 13")


# ImageNet


@pytest.mark.parametrize("flat", [True, False])
def test_imagenet_has_the_same_classes_in_both_layouts(tmp_path: Path, flat: bool) -> None:
    listing = open_listing(f"imagenet:{official.imagenet(tmp_path, flat)}")
    assert listing.classes == ("n01440764", "n01443537", "n01484850") and len(listing.names) == 18
    splits = listing.splits or ()
    assert splits.count("test") == 9
    if flat:  # number 1 of the devkit is the second class of the alphabet
        assert listing.labels[listing.names.index("val/ILSVRC2012_val_00000001.JPEG")] == 1
    for name, label in zip(listing.names, listing.labels.tolist(), strict=True):
        if name.count("/") == 2:
            assert listing.classes[label] == name.split("/")[1]


@pytest.mark.parametrize(
    ("flat", "spoil", "words"),
    [
        (True, lambda root: (root / "ILSVRC2012_devkit_t12/data/meta.mat").unlink(), ("meta.mat", "devkit")),
        (True, lambda root: (root / "ILSVRC2012_devkit_t12/data/meta.mat").write_bytes(b"no"), ("cannot be read",)),
        (True, lambda root: (root / "val/ILSVRC2012_val_00000002.JPEG").unlink(), ("8 images", "9 labels")),
        (
            True,
            lambda root: _line(root / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", 2, "77"),
            (":3", "'77' is no class"),
        ),
        (
            True,
            lambda root: (root / "val/ILSVRC2012_val_00000002.JPEG").rename(root / "val/ILSVRC2012_val_00000012.JPEG"),
            ("no ILSVRC2012_val_00000002.JPEG",),
        ),
        (True, lambda root: [file.unlink() for file in (root / "val").iterdir()], ("holds no image",)),
        (False, lambda root: [file.unlink() for file in (root / "val").rglob("*.JPEG")], ("holds no image",)),
        (False, lambda root: (root / "val/n01440764").rename(root / "val/n09999999"), ("'n09999999'", "no image in")),
        (False, lambda root: (root / "val/a.JPEG").write_bytes(b""), ("class folders and images beside them",)),
        (False, lambda root: (root / "val").rename(root / "validation"), ("no folder", "val'")),
    ],
)
def test_bad_trees_of_imagenet(
    tmp_path: Path, flat: bool, spoil: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    spoil(official.imagenet(tmp_path, flat))
    refused(f"imagenet:{tmp_path}", *words)


def test_the_devkit_without_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official.imagenet(tmp_path, flat=True)
    monkeypatch.setitem(sys.modules, "scipy", None)
    wanted = "meta.mat', unless val/ has class folders, needs the library scipy"
    refused(f"imagenet:{tmp_path}", wanted, "transferscope[imagenet]")


# CIFAR


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_is_read_whole(tmp_path: Path, classes: int) -> None:
    listing = open_listing(f"cifar{classes}:{official.cifar(tmp_path, classes)}")
    files = 6 if classes == 10 else 2
    assert len(listing.names) == 2 * classes * files and len(listing.classes) == classes
    assert (listing.splits or ()).count("test") == 2 * classes
    place = listing.names.index(f"train/{2 * classes if classes == 10 else 1:05d}")
    expected = official.planes(int(listing.labels[place]), 100 if classes == 10 else 1)
    assert np.array_equal(np.asarray(listing.load(place)).transpose(2, 0, 1).reshape(-1), expected)


def test_cifar_as_python_3_writes_it(tmp_path: Path) -> None:
    official.cifar(tmp_path, 100)
    file = tmp_path / "cifar-100-python" / "train"
    data = np.stack([official.planes(0, number) for number in range(3)])
    file.write_bytes(pickle.dumps({"fine_labels": [4, 5, 6], "data": data}, protocol=2))
    listing = open_listing(f"cifar100:{tmp_path}")
    assert listing.labels[[listing.names.index(f"train/0000{n}") for n in range(3)]].tolist() == [4, 5, 6]


class Evil:
    """What runs a command when an ordinary unpickler reads it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.file,)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    official.cifar(tmp_path, 10)
    file, trace = tmp_path / "cifar-10-batches-py" / "data_batch_3", tmp_path / "trace"
    file.write_bytes(pickle.dumps({"labels": [0], "data": Evil(trace)}, protocol=2))
    refused(f"cifar10:{tmp_path}", "data_batch_3", "it asks for")
    assert not trace.exists()
    pickle.loads(file.read_bytes())
    assert trace.exists(), "what is refused would have run"
    file.write_bytes(pickle.dumps({"labels": [0], "data": np.array([Evil(trace)], dtype=object)}))
    refused(f"cifar10:{tmp_path}", "it asks for")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (b"", ("no file of CIFAR",)),
        (official.python2({"labels": [0, 1]}), ("has no 'data'",)),
        (official.python2({"data": np.zeros((2, 3072), np.uint8)}), ("has no 'labels'",)),
        (official.python2({"labels": [0], "data": np.zeros((2, 3072), np.uint8)}), ("(2, 3072) for 1 labels",)),
        (official.python2({"labels": [0, 10], "data": np.zeros((2, 3072), np.uint8)}), ("label 10", "0 to 9")),
        (official.python2([1]), ("it holds list",)),
    ],
)
def test_bad_files_of_cifar(tmp_path: Path, made: bytes, words: tuple[str, ...]) -> None:
    official.cifar(tmp_path, 10)
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_bytes(made)
    refused(f"cifar10:{tmp_path}", "data_batch_2", *words)


def test_files_of_cifar_that_are_not_as_published_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = official.cifar(tmp_path, 10) / "cifar-10-batches-py"
    assert set(cifar10.KIND.md5) == {file.name for file in folder.iterdir()}
    assert open_listing(f"cifar10:{tmp_path}").notes[0].startswith("7 of 7 files, 'data_batch_1' first, are not those")
    md5 = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    monkeypatch.setattr(cifar10, "KIND", replace(cifar10.KIND, md5=md5))
    assert not open_listing(f"cifar10:{tmp_path}").notes
    file = folder / "data_batch_2"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1  # a pixel
    file.write_bytes(content)
    assert open_listing(f"cifar10:{tmp_path}").notes == (
        "'data_batch_2' is not the file that was published (by its MD5); it is taken as it is.",
    )


def test_a_lost_file_of_cifar(tmp_path: Path) -> None:
    official.cifar(tmp_path, 10)
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    refused(f"cifar10:{tmp_path}", "data_batch_4")
    with pytest.raises(UserError, match="data_batch_4"):
        source_fingerprint(f"cifar10:{tmp_path}")
