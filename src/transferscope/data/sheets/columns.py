"""What each column of a table is taken for: what was said, else what its name and its cells say."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transferscope.data.sheets import cells, headings
from transferscope.data.sheets.given import split_word
from transferscope.data.sheets.numbers import measures
from transferscope.data.sheets.sheet import UNNAMED, Sheet
from transferscope.data.target import Columns
from transferscope.errors import UserError, did_you_mean

Finds = Callable[[list[str]], bool]  # do these cells name images that exist?

PATIENT = re.compile(r"(?:^|[/\\])((?:patient|subject|subj|sub|pat|case)[-_ ]?\d+)(?=[-_. /\\])", re.IGNORECASE)


@dataclass(frozen=True)
class Roles:
    """The columns taken. `group` may be the path, whose patient folder is meant; `left` says why the others are not."""

    path: str
    labels: tuple[str, ...]
    group: str | None
    split: str | None
    left: dict[str, str]
    folds: bool = False  # was a column of folds left out, which a study must say?

    def columns(self) -> Columns:
        """The same, as a study says it."""
        own = {"group": self.group, "split": self.split}
        said: dict[str, Any] = {role: name for role, name in own.items() if name or (role == "split" and self.folds)}
        return Columns(path=self.path, label=self.labels, **said)

    def meanings(self) -> list[tuple[str, str]]:
        """(column, what it is taken for) in the words of `init`."""
        found = [(self.path, "path"), *((name, "label") for name in self.labels)]
        grouped = "group, by the patient in it" if self.group == self.path else "group: stays on one side of a split"
        found += [(self.group, grouped)] if self.group else []
        found += [(self.split, "split")] if self.split else []
        return found + [(name, f"left out: {why}") for name, why in self.left.items()]


def roles(sheet: Sheet, asked: Columns, finds: Finds, *, asks: bool = True) -> Roles:
    """The columns of `sheet` as `asked` and, where nothing was said, as recognised.

    `asks`: a UserError with a question where names and cells leave a doubt about the labels or the split; otherwise the
    likeliest is taken, and `left` says what else it may be (for `init`, which shows and writes what it took). UserError
    for names that are not there and where no path or label is found.
    """
    said = known(sheet, asked)
    path = asked.path or _path(sheet, said, finds)
    left = {name: why for name in sheet.cells if (why := _index(name, sheet.cells[name]))}
    free = [name for name in sheet.cells if name not in left and name not in (path, *(asked.label or ()))]
    given = asked.split is not None or asked.without("split")
    split, folds = (asked.split, False) if given else _split(sheet, free, asks)
    group = None if asked.without("group") else asked.group or _group(sheet, [n for n in free if n != split], path)
    taken = {path, *(asked.label or ()), group, split}
    left = {name: why for name, why in left.items() if name not in taken}
    free = [name for name in free if name not in (group, split)]
    labels = asked.label or _labels(sheet, free, left, asks)
    counts = Counter(labels)
    twice = [name for name in labels if counts[name] > 1 or name in (path, group, split)]
    if twice:
        raise UserError(f"columns: '{twice[0]}' of '{sheet.file}' is named twice; a column is one thing.")
    for name in free:
        if name not in counts:
            left.setdefault(name, _why(sheet, name, labels, group))
    return Roles(path, tuple(labels), group, split, {name: left[name] for name in sheet.cells if name in left}, folds)


def known(sheet: Sheet, asked: Columns) -> set[str]:
    """The columns that were named. UserError for one that the table does not have."""
    found = set()
    for role in ("path", "text", "label", "group", "split"):
        given = getattr(asked, role)
        for name in given if isinstance(given, tuple) else (given,):
            if name is not None and name not in sheet.cells:
                hint = did_you_mean(name, list(sheet.cells))
                raise UserError(f"columns.{role}: the table '{sheet.file}' has no column '{name}'; {hint}")
            found |= {name} if name is not None else set()
    return found


def patients(paths: Sequence[str]) -> list[str] | None:
    """The patient that each path names (`patient00001/study1/view1.jpg`); None unless all of them do."""
    found = [PATIENT.search(path) for path in paths]
    return [match[1] for match in found if match] if found and all(found) else None


def _path(sheet: Sheet, taken: set[str], finds: Finds) -> str:
    headless = next((cell for cell in sheet.cells if "." in cell and finds([cell])), None)
    if headless is not None:
        raise UserError(f"The first line of '{sheet.file}' is an image, '{headless}'; add a line of names above it.")
    free = [name for name in sheet.cells if name not in taken]
    ranked = sorted(
        (headings.PATHS.index(plain), name) for name in free if (plain := headings.plain(name)) in headings.PATHS
    )
    named = [name for _, name in ranked]
    named = ["path"] if "path" in free else named
    others = [name for name in free if name not in named]
    found = next((name for name in (*named, *others) if finds(sheet.cells[name])), None)
    if found is None and named:
        return named[0]
    if found is None:
        raise UserError(f"The table '{sheet.file}' has no column 'path' (nor 'text'); {did_you_mean('path', free)}")
    return found


def _index(name: str, column: Sequence[str]) -> str | None:
    """Why a column of row numbers, or without a name, is left out."""
    unnamed = name.startswith((UNNAMED, "Unnamed: "))
    counts = all(cell == str(place) for place, cell in enumerate(column)) or all(
        cell == str(place) for place, cell in enumerate(column, 1)
    )
    if counts and column and (unnamed or headings.plain(name) in ("index", "row", "rownumber", "rowid", "nr", "no")):
        return "it numbers the rows"
    return "it has no name" if unnamed else None


def _split(sheet: Sheet, free: list[str], asks: bool) -> tuple[str | None, bool]:
    """The column of splits, and whether there is one of folds instead, which is a question."""
    ranked = sorted(
        (headings.SPLITS.index(plain), name) for name in free if (plain := headings.plain(name)) in headings.SPLITS
    )
    for _, name in ranked:
        found = {cell for cell in sheet.cells[name] if cell}
        if all(split_word(cell) for cell in found) or (name == "split" and any(split_word(cell) for cell in found)):
            return name, False
        if headings.plain(name) in headings.FOLDS and asks:
            raise UserError(
                f"Column '{name}' of '{sheet.file}' holds {listed(sorted(found))}, which are no splits: write train, "
                "val and test into it, or say columns.split: null."
            )
        if headings.plain(name) in headings.FOLDS:
            return None, True
    return None, False


def _group(sheet: Sheet, free: list[str], path: str) -> str | None:
    """The column whose equal cells stay together: the largest unit by its name, else the patient in the path."""
    if "group" in free:
        return "group"
    ranked = [(rank, name) for name in free if (rank := headings.group_rank(name)) is not None]
    fit = [(rank, name) for rank, name in ranked if not cells.is_binary(sheet.cells[name]) and any(sheet.cells[name])]
    if fit:
        return min(fit)[1]
    folders = patients(sheet.cells[path])
    return path if folders is not None and len(set(folders)) < len(folders) else None


def _labels(sheet: Sheet, free: list[str], left: dict[str, str], asks: bool) -> tuple[str, ...]:
    named = [name for name in free if headings.plain(name) in headings.LABELS]
    first = [name for name in named if headings.plain(name) in headings.FIRST_LABELS]
    if "label" in free or len(first) == 1:
        return ("label",) if "label" in free else (first[0],)
    binary = [name for name in free if cells.is_binary(sheet.cells[name])]
    doubtful = [name for name in binary if headings.about(name)]
    unsure = set(doubtful)
    sure = [name for name in binary if name not in unsure]
    if set(named) < set(sure):  # `disease` beside other columns of 0 and 1 is one of them
        named = []
    sure = [name for name in sure if name not in named]
    chosen = _one_of(sheet, named)
    if chosen and len(sure) < 2:
        return (chosen,)
    if named and asks:
        both = [*named, *sure] if len(sure) > 1 else named
        raise UserError(f"Columns {listed(both)} of '{sheet.file}' may each be the label; set columns.label to one.")
    if named:
        likely = min(named, key=lambda name: headings.LABELS.index(headings.plain(name)))
        left.update({name: "may be the label instead" for name in (*named, *sure) if name != likely})
        return (likely,)
    typo = [name for name in free if cells.almost_binary(sheet.cells[name])]
    if typo and sure:
        row, cell = cells.odd(sheet.cells[typo[0]])
        raise UserError(
            f"Line {sheet.lines[row]} of '{sheet.file}' has '{cell}' in column '{typo[0]}'; write 0 or 1, "
            "or name the columns that are labels with columns.label."
        )
    if doubtful and asks:
        beside = f", beside {listed(sure)}" if sure else ""
        raise UserError(f"Is {listed(doubtful)} of '{sheet.file}' a label{beside}? Name the labels with columns.label.")
    left.update(dict.fromkeys(doubtful, "0 and 1, but not of what is seen; add it to label if it is"))
    if not sure and not asks and len(numbers := [n for n in free if _measure(sheet, n)]) == 1:
        return (numbers[0],)
    if not sure:
        raise UserError(
            f"The table '{sheet.file}' has no column 'label' (nor columns of 0 and 1); set columns.label to one of "
            f"{listed(free) or 'its columns'}."
        )
    return tuple(sure)


def _measure(sheet: Sheet, name: str) -> bool:
    """Does a column hold numbers that measure, and are no ids?"""
    found = sorted(set(sheet.cells[name]))
    return not headings.is_id(name) and measures(found, len(sheet.lines))


def _one_of(sheet: Sheet, named: list[str]) -> str | None:
    """The only column of labels; of two that say the same (a number and a name) the one in words."""
    if len(named) < 2:
        return named[0] if named else None
    pairs = [set(zip(sheet.cells[named[0]], sheet.cells[name], strict=True)) for name in named[1:]]
    ways = [len(set(sheet.cells[name])) for name in named]
    if not all(len(pair) == ways[0] == way for pair, way in zip(pairs, ways[1:], strict=True)):
        return None
    return next((name for name in named if not cells.numeric(sheet.cells[name])), named[0])


def _why(sheet: Sheet, name: str, labels: Sequence[str], group: str | None) -> str:
    column = sheet.cells[name]
    distinct = len(set(column))
    if not any(column):
        return "it is empty"
    if headings.of_split(name):
        return "no words for train, val and test"
    if len(labels) == 1 and _one_of(sheet, [labels[0], name]):
        return "it says the same as the label"
    number = cells.numeric(column)
    repeats = headings.is_id(name) or (not number and 10 < distinct <= 0.8 * len(column))
    if repeats and 2 < distinct < len(column) and group is not None:
        return f"it repeats as an id does, but the group is '{group}'"
    if repeats and 2 < distinct < len(column):
        return f"it repeats as an id does: if its {distinct:,} values are patients or the like, set columns.group to it"
    if number:
        return "numbers"
    return "text" if distinct > len(column) / 2 else "not the label"


def listed(found: Sequence[str] | dict[str, list[str]], most: int = 8) -> str:
    """Names in quotes, the first few of many."""
    shown = [f"'{name}'" for name in list(found)[:most]]
    return ", ".join(shown) + (f" and {len(found) - most} more" if len(found) > most else "")
