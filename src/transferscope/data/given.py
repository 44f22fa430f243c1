"""Splits that people give with their images: the words they use for them, and lists of images beside a table."""

import re
from collections.abc import Sequence
from pathlib import Path

from transferscope.errors import UserError

WORDS = {
    "train": ("train", "training", "trainset", "trainingset", "trn", "tr", "learn", "fit"),
    "val": ("val", "valid", "validate", "validation", "validationset", "valset", "dev", "devel", "development", "tune"),
    "test": ("test", "testing", "testset", "tst", "te", "eval", "evaluation", "holdout", "privatetest"),
}
_SPLIT = {word: split for split, words in WORDS.items() for word in words} | {"publictest": "val"}  # as FER2013 has it
LISTS = {"train_val_list.txt": "train", "train_list.txt": "train", "val_list.txt": "val", "test_list.txt": "test"}


def split_word(text: str) -> str | None:
    """'train', 'val' or 'test' for a word people use for it, whatever its case and ending; else None.

    Digits say no split: `fold_0`, `0` and `train2` are for their owner to explain.
    """
    return _SPLIT.get(re.sub(r"[\s_.\-]", "", text.lower()))


def listed_splits(names: Sequence[str], folder: Path) -> tuple[tuple[str, ...] | None, list[Path]]:
    """The split of each image by the lists of file names beside a table (`test_list.txt`, ...), and the lists read.

    (None, []) where there are no such lists or they name none of the images; '' for an image that no list names.
    UserError where two lists name one image.
    """
    lists = [folder / name for name in LISTS if (folder / name).is_file()]
    held: dict[str, str] = {}
    for file in lists:
        for name in file.read_text(encoding="utf-8-sig", errors="replace").split("\n"):
            own = LISTS[file.name]
            if name.strip() and held.setdefault(name.strip(), own) != own:
                raise UserError(f"'{file}' names '{name.strip()}', which the {held[name.strip()]} list names too.")
    found = tuple(held.get(name) or held.get(name.rpartition("/")[2], "") for name in names)
    return (found, lists) if any(found) else (None, [])
