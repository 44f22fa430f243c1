"""Splits that people give with their images: the words they use for them, and lists of images beside a table."""

from collections.abc import Sequence
from pathlib import Path

from transferscope.data.names import GENERAL, SPLITS, words_of
from transferscope.errors import UserError

# A cell says less than a folder may mean: short words, too, and `eval` is the test split.
WORDS = SPLITS | {
    **dict.fromkeys(("tr", "learn", "fit"), "train"),
    **dict.fromkeys(("devel", "tune", "publictest"), "val"),  # PublicTest and PrivateTest: as FER2013 has them
    **dict.fromkeys(("te", "eval", "evaluation", "privatetest"), "test"),
}
LISTS = {"train_val_list.txt": "train", "train_list.txt": "train", "val_list.txt": "val", "test_list.txt": "test"}


def split_word(text: str) -> str | None:
    """'train', 'val' or 'test' for a word people use for it, whatever its case and ending; else None.

    Digits say no split: `fold_0`, `0` and `train2` are for their owner to explain.
    """
    return WORDS.get("".join(word for word in words_of(text) if word not in GENERAL))


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
