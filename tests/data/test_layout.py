"""Which folders are classes, which are splits, what is left out and said, what is asked: over many layouts."""

import os
from pathlib import Path

import pytest

from transferscope.data import open_listing, source_fingerprint
from transferscope.data.names import beside, fold, kind_of, split_of
from transferscope.errors import UserError


def files(root: Path, *names: str) -> Path:
    """Empty files below `root`, a name ending in / being a folder; `a/3` stands for a/0.png, a/1.png, a/2.png."""
    root.mkdir(exist_ok=True)
    for name in names:
        if name.endswith("/"):
            (root / name).mkdir(parents=True, exist_ok=True)
            continue
        folder, _, last = name.rpartition("/")
        (root / folder).mkdir(parents=True, exist_ok=True)
        for file in [f"{i}.png" for i in range(int(last))] if last.isdigit() else [last]:
            (root / folder / file).touch()
    return root


def both(*folders: str, classes: tuple[str, ...] = ("a", "b")) -> list[str]:
    """Two pictures of every class in every folder."""
    return [f"{folder}/{name}/2" for folder in folders for name in classes]


SPLITS = [
    (both("train", "val", "test"), {"train", "val", "test"}),
    (both("Training", "Testing"), {"train", "test"}),
    (both("TRAIN", "VALID", "TEST"), {"train", "val", "test"}),
    (both("train", "dev"), {"train", "val"}),
    (both("train", "eval"), {"train", "val"}),
    (both("train", "dev", "eval"), {"train", "val", "test"}),
    (both("train_set", "test-set", "Validation Set"), {"train", "val", "test"}),
    (both("trainset", "testset"), {"train", "test"}),
    (both("train2017", "val2017"), {"train", "val"}),
    (both("train-images", "test-images"), {"train", "test"}),
    (both("TrainData", "TestData"), {"train", "test"}),
    (both("1_train", "2_val", "3_test"), {"train", "val", "test"}),
    (both("seg_train/seg_train", "seg_test/seg_test"), {"train", "test"}),
    (both("train/images", "test/images"), {"train", "test"}),
    (both("archive/Dataset/train", "archive/Dataset/test"), {"train", "test"}),
    ([*both("dataset/images/train", "dataset/images/val"), "dataset/labels/train/x.txt"], {"train", "val"}),
    ([*both("train", "test"), "unlabeled/9"], {"train", "test"}),
    ([*both("train", "test"), "Unlabelled_Images/9", "unsup/2", "train_masks/4"], {"train", "test"}),
    ([*both("train", "test"), "annotations/a.xml", "__MACOSX/._x.png", ".git/", "notes/"], {"train", "test"}),
    ([*both("train", "val"), "test/9"], {"train", "val"}),
    ([*both("train", "val"), "val/9", "train/1", "3"], {"train", "val"}),
    ([*both("seg_train", "seg_test"), "seg_pred/4"], {"train", "test"}),
    ([*both("train"), "test/5"], {"train"}),
    (["a/train/2", "a/test/2", "b/train/2", "b/test/2"], {"train", "test"}),
    (both("train", "training", "test"), {"train", "test"}),
]


@pytest.mark.parametrize(
    ("names", "splits"), SPLITS, ids=[f"{n}-{'-'.join(sorted(s))}" for n, (_, s) in enumerate(SPLITS)]
)
def test_splits_are_understood_whatever_their_spelling(tmp_path: Path, names: list[str], splits: set[str]) -> None:
    listing = open_listing(f"folder:{files(tmp_path / 'set', *names)}")
    assert listing.classes == ("a", "b") and set(listing.splits or ()) == splits
    for name, split, label in zip(listing.names, listing.splits or (), listing.labels, strict=True):
        assert listing.classes[label] in name.split("/")
        said = [found[0] for part in name.split("/") if (found := split_of(part))]
        assert split in ("val", "test") if said[0] == "eval" else split == said[0]


CLASSES = [
    (["a/2", "b/2"], "a b"),
    (["train/2", "bus/2"], "bus train"),  # vehicles
    (["train_station/2", "test_tube/2", "bullet_train/2"], "bullet_train test_tube train_station"),
    (["val/2", "dev_board/2"], "dev_board val"),
    (["wrap/a/2", "wrap/b/2"], "a b"),
    (["x/y/z/a/2", "x/y/z/b/deep/er/2"], "a b"),
    (["train/a/2", "train/b/2"], "a b"),
    (["a/images/2", "b/images/2"], "a b"),
    (["a/2", "a/deep/2", "b/2", "b/deep/2"], "a b"),
    (["cat/persian/2", "cat/siamese/2", "dog/pug/2", "dog/boxer/2"], "cat dog"),
    (["a/2", "b/2", "unlabeled/4", "annotations/2", "masks/a/3", "empty/", ".ipynb_checkpoints/0.png"], "a b"),
    (["a/2", "b/2", "scripts/x.py", "scripts/Makefile", "README"], "a b"),
    (["part1/2", "part2/2"], "part1 part2"),
    (["a/2", "b/2", "7"], "a b"),
]


@pytest.mark.parametrize(("names", "classes"), CLASSES, ids=lambda case: case if isinstance(case, str) else "")
def test_other_folders_are_classes(tmp_path: Path, names: list[str], classes: str) -> None:
    listing = open_listing(f"folder:{files(tmp_path / 'set', *names)}")
    assert " ".join(listing.classes) == classes and listing.splits is None


ASKED = [
    (both("fold_0", "fold_1", "fold_2"), "Every subfolder of .* holds the same class folders"),
    (["fold1/2", "fold2/2"], "named like folds"),
    (both("fold_0/images", "fold_1/images"), "holds the same class folders"),
    (both("siteA", "siteB"), "Every subfolder of .* holds the same class folders \\('a', 'b'\\): name the splits"),
    (both("siteA/images", "siteB/images"), "holds the same class folders"),
    (both("Art", "Clipart", classes=("a", "b", "c")) + both("Real", classes=("a", "b")), "the same class folders"),
    (both("train/fold_0", "train/fold_1", "test/fold_0", "test/fold_1"), "holds the same class"),
    (both("train/siteA", "train/siteB", "test/siteA", "test/siteB"), "holds the same class folders"),
    (both("train", "test", "extra"), "'test', 'train', named for splits, beside 'extra'"),
    (both("train", "other"), "'train', named for splits, beside 'other'"),
    ([*both("train"), "bus/2"], "'train', named for splits, beside 'bus'"),
    (both("val", "test"), "no folder is named for training"),
    (["train/2", "test/2"], "hold pictures but no class folders"),
    (["img_train/2", "img_test/2"], "hold pictures but no class folders"),
    (["masks/2", "no_masks/2"], "single class \\('no_masks'\\); if 'masks' is one too"),
    ([*both("train"), "test/A/2", "test/b/2"], "Class 'A' has no image in .*is it the class 'a'\\?"),
    (["a/2", "b/0.heic", "b/1.heic"], "None of the 2 files in '.*/b' is read \\(2 .heic\\): convert"),
    (["a/2", "b/2", "c/IM0001"], "None of the 1 file in '.*/c' is read \\(1 without an ending\\)"),
    ([*both("train"), "test/a/0.dcm", "test/b/0.dcm"], "None of the 2 files in '.*/test' is read \\(2 .dcm\\)"),
    (["a/0.nii", "b/1.nii"], "is read \\(1 .nii\\)"),
    (["0.dcm", "1.dcm"], "no class folders"),
    (["x/notes.txt"], "No image of a kind that is read was found in .* \\(1 .txt\\)"),
]


@pytest.mark.parametrize(("names", "words"), ASKED, ids=[words[:25] for _, words in ASKED])
def test_what_is_unclear_is_asked_in_one_sentence(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        open_listing(f"folder:{files(tmp_path / 'set', *names)}")
    assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "?"))


SAID = [
    (["a/2", "b/2"], []),
    (both("train", "val", "test"), []),
    (
        both("Training", "Testing"),
        ["Folders are taken as splits: 'Testing' as test, 'Training' as train; val will be drawn from train."],
    ),
    (both("train", "val"), ["Test will be drawn from train."]),
    (
        [*both("train", "val", "test", classes=("a", "b")), "train/c/2", "val/c/1"],
        ["The test folder has no picture of 'c'."],
    ),
    (
        [*both("train", "val", "test"), "val/9", "3"],
        ["12 pictures outside the class folders, so without a label, left out: 3 in '.', 9 in 'val'."],
    ),
    (
        [*both("train", "val"), "test/5"],
        [
            "Test will be drawn from train.",
            "5 pictures outside the class folders, so without a label, left out: 5 in 'test'.",
        ],
    ),
    (
        ["a/2", "b/2", "unlabeled/4", "annotations/1.xml", "e/", ".git/"],
        [
            "Folders left out: 'annotations' (no picture), 'e' (no picture), 'unlabeled' (4 pictures, by its name no "
            "class), '.git' (hidden).",
            "Files that are not pictures of a kind that is read: 1 .xml.",
        ],
    ),
    (["x/a/2", "x/b/2"], ["The class folders lie in 'x'."]),
    (
        ["a/2", "a/5.heic", "b/2", "b/1.txt", "Thumbs.db", "a/.DS_Store", "b/desktop.ini"],
        [
            "1 of 3 files of class 'a' are not read (1 .heic): convert them to PNG or JPEG.",
            "Files that are not pictures of a kind that is read: 1 .heic, 1 .txt.",
        ],
    ),
]


@pytest.mark.parametrize(("names", "said"), SAID)
def test_what_was_left_out_is_said(tmp_path: Path, names: list[str], said: list[str]) -> None:
    assert list(open_listing(f"folder:{files(tmp_path / 'set', *names)}").notes) == said


def test_the_same_pictures_under_other_classes_are_other_data(tmp_path: Path) -> None:
    """`train/` alone is a chain; with a test folder beside it, a split: the fingerprint tells."""
    root = files(tmp_path / "set", *both("train"))
    first = source_fingerprint(f"folder:{root}")
    files(root, "unlabeled/3", "notes.txt")
    assert source_fingerprint(f"folder:{root}") == first
    files(root, "test/5")
    assert source_fingerprint(f"folder:{root}") != first


def test_accents_of_two_systems_are_one_class(tmp_path: Path) -> None:
    root = files(tmp_path / "set", "train/cafe\u0301/2", "train/b/2", "test/caf\u00e9/2", "test/b/2")
    assert open_listing(f"folder:{root}").classes == ("b", "caf\u00e9")


@pytest.mark.skipif(os.name == "nt", reason="bytes that are no UTF-8 exist in POSIX names only")
def test_names_that_are_not_utf8_or_hold_controls_are_made_legible(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path / "set")
    for label in (b"caf\xe9", b"two\nlines\x1b[31m"):
        os.makedirs(root + b"/" + label)  # noqa: PTH103
        for place in range(3):
            with open(root + b"/" + label + b"/r\xf6_%d.png" % place, "wb"):  # noqa: PTH123
                pass
    listing = open_listing(f"folder:{tmp_path / 'set'}")
    assert listing.classes == (r"caf\xe9", r"two\nlines\x1b[31m")
    assert listing.names[0] == r"caf\xe9/r\xf6_0.png" and "".join(listing.names).isascii()
    assert os.fsencode(listing.load.paths[0]).endswith(b"caf\xe9/r\xf6_0.png")  # type: ignore[attr-defined]
    os.makedirs(root + rb"/caf\xe9")  # noqa: PTH103
    files(tmp_path / "set", r"caf\xe9/1")
    with pytest.raises(UserError, match=r"Two names in .* both read 'caf\\xe9'"):
        open_listing(f"folder:{tmp_path / 'set'}")


def test_a_path_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"caf\\xe9' has bytes in its path that are no UTF-8 text"):
        open_listing(f"folder:{tmp_path}/caf\udce9")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", ("train", ())),
        ("TRAINING", ("train", ())),
        ("valid_256", ("val", ())),
        ("testImages", ("test", ())),
        ("asl_alphabet_train", ("train", ("asl", "alphabet"))),
        ("trainval", ("train", ())),
        ("Test Set 2", ("test", ())),
        ("restrain", None),
        ("tests", None),
        ("train_test", None),
        ("latest", None),
        ("prévalidation", None),
    ],
)
def test_words_of_splits(name: str, split: tuple[str, tuple[str, ...]] | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("name", "aside", "folded"),
    [
        ("unlabeled", True, False),
        ("__MACOSX", True, False),
        ("Ground Truth", True, False),
        ("train_labels", True, False),
        ("mask", False, False),
        ("label_free_cells", False, False),
        ("fold_0", False, True),
        ("Fold 3", False, True),
        ("kfold1", False, True),
        ("folder1", False, False),
        ("unfold_1", False, False),
    ],
)
def test_words_of_what_is_no_class(name: str, aside: bool, folded: bool) -> None:
    assert (beside(name), fold(name)) == (aside, folded)


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("a.PNG", ".png"),
        ("a.nii.gz", ".nii.gz"),
        ("IM0001", ""),
        ("README", ".txt"),
        (".DS_Store", "-"),
        ("Thumbs.db", "-"),
        ("a.b c", ""),
        ("1.2.840.113619", ""),
        ("._a.jpg", "-"),
    ],
)
def test_kinds_of_files(file: str, kind: str) -> None:
    assert kind_of(file) == kind
