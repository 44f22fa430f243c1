"""Which folders of a tree are classes, which are splits, and what lies beside them; or one question."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transferscope.data.folders.tree import Folder
from transferscope.data.names import GENERAL, UNREAD, beside, fold, split_of, words_of
from transferscope.data.phrases import counted, kinds, listed
from transferscope.errors import UserError

SHARED = 0.5  # of a folder's subfolders that others have too: the same class folders
STRAY = 0.1  # of a folder's pictures that may lie beside its subfolders
ADVICE = "name the splits (train, val, test), or merge the folders, or use a csv with a split or fold column"


@dataclass(frozen=True)
class ClassFolder:
    """A folder whose pictures, nested ones too, are of class `label`; `split` is '' where none is given."""

    folder: Folder
    label: str
    split: str = ""


@dataclass(frozen=True)
class Layout:
    """The class folders, `top` that holds them or the splits, and every folder that was looked into to find them;
    (folder, split) of every split folder, and the folders beside the splits that hold no class folder."""

    places: tuple[ClassFolder, ...]
    top: Folder
    opened: tuple[Folder, ...]
    splits: tuple[tuple[Folder, str], ...] = ()
    aside: tuple[Folder, ...] = ()


def understand(tree: Folder, where: str) -> Layout:
    """The layout of a tree of pictures; `where` is its root, for sentences.

    - A chain of single folders is followed to the first that holds several.
    - Folders named for splits (`split_of`: any case and ending, and one more name in common, as in `seg_train`,
      `seg_test`) are splits when they hold class folders. So are those below each class (`cat/train`, `cat/test`).
    - Folders that hold the same class folders but are not named for splits, and folds, are asked about.
    - Otherwise every folder is a class, pictures nested deeper included.
    - Folders named for things beside pictures (`beside`) and folders without pictures are no classes.

    Raises UserError for a layout that must be asked about, and for a folder in which every picture is of a kind that
    is not read.
    """
    *above, top = _chain(tree)
    opened = [*above, top]
    parts = _parts(top)
    _refuse_unread(parts, where)
    splits = _splits(parts, where)
    if splits:
        named = {folder.path for folder, _ in splits}
        places = []
        for folder, word in splits:
            *_, inner = chain = _chain(folder, within_split=True)
            opened += chain
            classes = _parts(inner)
            _refuse_unread(classes, where)
            _ask_if_shared(classes, where)
            places += [ClassFolder(part, label_of(part), word) for part in classes]
        aside = tuple(part for part in parts if part.path not in named)
        return Layout(tuple(places), top, tuple(opened), splits, aside)
    if _splits_below(parts):
        return Layout(_by_class_then_split(parts), top, (*opened, *parts))
    _ask_if_shared(parts, where)
    return Layout(tuple(ClassFolder(part, label_of(part)) for part in parts), top, tuple(opened))


def unread(folder: Folder) -> dict[str, int]:
    """Files in the folder and below that hold pictures of kinds that are not read, by kind."""
    return {kind: n for kind, n in folder.rest.items() if kind in UNREAD}


def label_of(folder: Folder) -> str:
    """The class a folder names; accents in one form, whatever system made the folder."""
    return unicodedata.normalize("NFC", folder.name)


def _parts(folder: Folder) -> list[Folder]:
    """Folders directly below that can be classes or splits: they hold pictures, be it of kinds that are not read."""
    return [
        f for f in folder.folders if not beside(f.name) and (f.total or 2 * sum(unread(f).values()) > f.rest.total())
    ]


def _chain(folder: Folder, within_split: bool = False) -> list[Folder]:
    """The folder, its single subfolder, and so on as long as that holds folders itself; within a split only while the
    name says no more than `train` or `images`."""
    found = [folder]
    while len(parts := _parts(found[-1])) == 1:
        below = _parts(parts[0])
        plain = split_of(parts[0].name) or all(word in GENERAL for word in words_of(parts[0].name))
        if not (len(below) > 1 or (below and not parts[0].pictures)) or (within_split and not plain):
            break
        found.append(parts[0])
    return found


def _classes(folder: Folder) -> list[Folder]:
    return _parts(_chain(folder, within_split=True)[-1])


def _splits(parts: Sequence[Folder], where: str) -> tuple[tuple[Folder, str], ...]:
    """The folders among `parts` that are splits and hold class folders, with their split; () when there is none."""
    groups: dict[tuple[str, ...], list[tuple[Folder, str]]] = {}
    for part in parts:
        if (said := split_of(part.name)) is not None:
            groups.setdefault(said[1], []).append((part, said[0]))
    for rest, group in sorted(groups.items()):
        words = {word for _, word in group}
        holding = [(part, word) for part, word in group if _classes(part)]
        if len(words) < 2 and (rest or not holding):
            continue
        if not holding:
            raise UserError(
                f"{_named([p for p, _ in group])} of '{where}' hold pictures but no class folders; put the pictures of "
                "each class into a subfolder of their own, or use a csv."
            )
        _ask_of_others([p for p in parts if p not in [g for g, _ in group]], holding, where)
        settled = _settled(holding)
        if "train" not in dict(settled).values():
            raise UserError(
                f"{_named([p for p, _ in holding])} of '{where}' are splits, but no folder is named for training; "
                "name it train."
            )
        return settled
    return ()


def _settled(named: Iterable[tuple[Folder, str]]) -> tuple[tuple[Folder, str], ...]:
    """`eval` made val, or test where there is another val and no test."""
    named = list(named)
    words = {word for _, word in named}
    evaluation = "test" if "val" in words and "test" not in words else "val"
    return tuple((folder, evaluation if word == "eval" else word) for folder, word in named)


def _ask_of_others(others: Sequence[Folder], splits: Sequence[tuple[Folder, str]], where: str) -> None:
    """A question about folders beside the splits, unless they can be left out: flat ones beside two splits or more."""
    few = len({word for _, word in splits}) < 2
    unclear = [part for part in others if few or _classes(part)]
    if unclear:
        raise UserError(
            f"'{where}' holds {_named([p for p, _ in splits])}, named for splits, beside {_named(unclear)}; name every "
            "split (train, val, test), and take what is none out of the folder, or use a csv."
        )


def _splits_below(parts: Sequence[Folder]) -> bool:
    """Does every folder hold nothing but splits, as in cat/train, cat/test, dog/train, dog/test?"""
    below = [split_of(f.name) for part in parts for f in _parts(part)]
    words = {said[0] for said in below if said is not None and not said[1]}
    tidy = all(_parts(part) and not part.pictures for part in parts)
    return len(parts) > 1 and tidy and all(said and not said[1] for said in below) and {"train"} < words


def _by_class_then_split(parts: Sequence[Folder]) -> tuple[ClassFolder, ...]:
    named = [(f, said[0]) for part in parts for f in _parts(part) if (said := split_of(f.name))]
    split = {folder.path: word for folder, word in _settled(named)}
    return tuple(ClassFolder(f, label_of(part), split[f.path]) for part in parts for f in _parts(part))


def _ask_if_shared(parts: Sequence[Folder], where: str) -> None:
    """A question about folders that are folds, or splits of unknown names, rather than classes."""
    if len(parts) < 2:
        return
    inner = [{f.name.casefold() for f in _parts(_chain(part)[-1])} for part in parts]
    others = [set[str]().union(*inner[:place], *inner[place + 1 :]) for place in range(len(parts))]
    nested = all(len(part.pictures) <= STRAY * part.total for part in parts)
    if nested and all(len(own & more) >= max(2, SHARED * len(own)) for own, more in zip(inner, others, strict=True)):
        raise UserError(
            f"Every subfolder of '{where}' ({_named(parts)}) holds the same class folders "
            f"({listed(sorted(inner[0]))}): {ADVICE}, or give one subfolder alone."
        )
    if all(fold(part.name) for part in parts):
        raise UserError(f"{_named(parts)} of '{where}' are named like folds, not classes: {ADVICE}.")


def _refuse_unread(parts: Sequence[Folder], where: str) -> None:
    for part in parts:
        if not part.total:
            raise UserError(
                f"None of the {counted(part.rest.total(), 'file')} in '{where}/{part.path}' is read "
                f"({kinds(part.rest)}): convert them to PNG or JPEG, or take the folder out."
            )


def _named(folders: Iterable[Folder]) -> str:
    return listed([folder.name for folder in folders])
