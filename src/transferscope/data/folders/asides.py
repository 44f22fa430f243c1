"""What is said of a folder of pictures: how it was understood, what was left out, what was not read."""

from collections import Counter

from transferscope.data.folders.layout import Layout, unread
from transferscope.data.folders.tree import Folder
from transferscope.data.listing import SPLITS
from transferscope.data.phrases import SHOWN, counted, kinds, listed

LARGE = 0.05  # of the files of a class, of a kind that is not read: said of the class itself


def asides(tree: Folder, layout: Layout) -> tuple[str, ...]:
    """Sentences, most telling first; none for one folder a class, splits named train, val and test, nothing else."""
    said = [*_unread_classes(layout), *_splits(layout), *_strays(layout), *_left_out(layout)]
    if layout.top.path:
        said.append(f"The {'split' if layout.splits else 'class'} folders lie in '{layout.top.path}'.")
    if tree.rest:
        said.append(f"Files that are not pictures of a kind that is read: {kinds(tree.rest)}.")
    if odd := list(tree.below("odd")):
        said.append(f"Pipes, sockets or devices under names of pictures, left out: {listed(odd)}.")
    return tuple(said)


def _unread_classes(layout: Layout) -> list[str]:
    """'120 of 360 files of class 'melanoma' are not read (120 .heic): convert them.'"""
    read, lost = Counter[str](), dict[str, Counter[str]]()
    for place in layout.places:
        read[place.label] += place.folder.total
        lost.setdefault(place.label, Counter()).update(unread(place.folder))
    found = [
        f"{counts.total():,} of {read[label] + counts.total():,} files of class '{label}' are not read "
        f"({kinds(counts)}): convert them to PNG or JPEG."
        for label, counts in lost.items()
        if counts.total() > LARGE * (read[label] + counts.total())
    ]
    rest = len(found) - SHOWN
    return [*found[:SHOWN], *([f"So it is with {counted(rest, 'further class folder')}."] if rest > 0 else [])]


def _splits(layout: Layout) -> list[str]:
    """How split folders were read, which splits are drawn, which classes a split lacks."""
    given = {place.split for place in layout.places} - {""}
    if not given:
        return []
    said = []
    drawn = [word for word in SPLITS if word not in given]
    odd = [f"'{folder.name}' as {word}" for folder, word in layout.splits if folder.name != word]
    if odd or drawn:
        parts = ([f"folders are taken as splits: {', '.join(odd)}"] if odd else []) + (
            [f"{' and '.join(drawn)} will be drawn from train"] if drawn else []
        )
        sentence = "; ".join(parts)
        said.append(f"{sentence[0].upper()}{sentence[1:]}.")
    labels = {place.label for place in layout.places}
    for word in SPLITS:
        lacking = sorted(labels - {place.label for place in layout.places if place.split == word})
        if word in given and lacking:
            said.append(f"The {word} folder has no picture of {listed(lacking)}.")
    return said


def _strays(layout: Layout) -> list[str]:
    """Pictures that lie outside the class folders, by folder."""
    found = {folder.path or ".": len(folder.pictures) for folder in layout.opened if folder.pictures}
    found |= {folder.path: folder.total for folder in layout.aside}
    if not found:
        return []
    places = ", ".join(f"{count:,} in '{path}'" for path, count in list(found.items())[:SHOWN])
    more = f" and {len(found) - SHOWN} more folders" if len(found) > SHOWN else ""
    total = counted(sum(found.values()), "picture")
    return [f"{total} outside the class folders, so without a label, left out: {places}{more}."]


def _left_out(layout: Layout) -> list[str]:
    """Folders that are no classes, and why."""
    found = []
    used = {place.folder.path for place in layout.places} | {folder.path for folder in layout.opened}
    for opened in layout.opened:
        for folder in opened.folders:
            if folder.path in used or folder in layout.aside:
                continue
            held = f"{counted(folder.total, 'picture')}, by its name no class"
            found.append(f"'{folder.path}' ({held if folder.total else 'no picture'})")
        found += [f"'{f'{opened.path}/{name}'.lstrip('/')}' (hidden)" for name in opened.hidden]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return [f"Folders left out: {', '.join(found[:SHOWN])}{more}."] if found else []
