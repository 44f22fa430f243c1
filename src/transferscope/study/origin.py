"""Origin: the pretrained weights of a study, as a list of checkpoints in the order of their training."""

import glob
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transferscope.engine.step import Outside, Step
from transferscope.errors import UserError
from transferscope.tasks import restore
from transferscope.tasks.schedule import Schedule, saved_epochs


@dataclass(frozen=True)
class Checkpoint:
    """One set of pretrained weights: given from outside, or what a pretraining step saved `at` an epoch.

    `track` names the series it belongs to ("true" or "random" labels; "given"); `epoch` counts its pretraining, None
    where that is not known.
    """

    track: str
    name: str
    epoch: int | None
    weights: Outside | Step
    at: str | None = None


Look = Callable[[str], Outside]  # a reference to weights -> the weights with their fingerprint


def given_series(patterns: tuple[str, ...], folder: Path, outside: Look) -> tuple[Checkpoint, ...]:
    """The checkpoints of a series in the order of training. UserError without files, or with two of one number."""
    paths = series(patterns, folder)
    return tuple(_one(path, name, outside) for path, name in zip(paths, _names(paths), strict=True))


def trained(labels: str, run: Step, schedule: Schedule) -> list[Checkpoint]:
    """What the pretraining `run` on true or random `labels` saves, in order."""
    epochs = saved_epochs(str(run.params["keep"]), schedule, run.params["save_every"])
    names = [*map(restore.saved, epochs[:-1]), restore.FILES["end"]]
    return [Checkpoint(labels, name, epoch, run, name) for name, epoch in zip(names, epochs, strict=True)]


def series(patterns: tuple[str, ...], folder: Path) -> list[Path]:
    """The files of a series in natural order (epoch_9 before epoch_10); a listed path need not exist."""
    found: list[Path] = []
    for pattern in patterns:
        whole = str(folder.absolute() / Path(pattern).expanduser())
        if glob.has_magic(pattern):
            files, mark, part = whole.rpartition("#")  # a part of every file, see `models.pretrained.file`
            if not mark or "/" in part:  # of a folder's name
                files, mark, part = whole, "", ""
            matched = [Path(name + mark + part) for name in glob.glob(files)]  # noqa: PTH207 (an absolute pattern)
            if not matched:
                raise UserError(f"pretrained.series: no file matches '{pattern}' (looked in {Path(whole).parent}).")
            found += matched
        else:
            found.append(Path(whole))
    distinct = list(dict.fromkeys(found))
    named = [(name, path) for path, name in zip(distinct, _names(distinct), strict=True)]
    named.sort(key=lambda one: (_number(one[0]) is None, _number(one[0]) or 0, _natural(one[0])))
    ordered = [path for _, path in named]
    numbers = [_number(name) for name, _ in named]
    for before, after, path in zip(numbers, numbers[1:], ordered[1:], strict=False):
        if before is not None and before == after:
            raise UserError(
                f"pretrained.series: two checkpoints are numbered {after} ('{path.name}' is one); the last number in a "
                "file's name is taken as its epoch, so every file needs its own."
            )
    return ordered


def _names(paths: Sequence[Path]) -> list[str]:
    """What tells checkpoints apart: their files' names, else the folders they lie in, else both."""
    if len({path.name for path in paths}) == len(paths):
        return [path.name for path in paths]
    shared = os.path.commonpath([path.parent for path in paths])
    places = [path.relative_to(shared) for path in paths]
    return [str(place.parent if len({path.name for path in paths}) == 1 else place) for place in places]


def _one(path: Path, name: str, outside: Look) -> Checkpoint:
    try:
        weights = outside(f"file:{path}")
    except UserError:  # missing or damaged: the steps that need it will say so, the others go on
        weights = Outside(f"file:{path}", f"unreadable {path}")
    return Checkpoint("given", name, _number(name), weights)


def _number(name: str) -> int | None:
    """The last number in a name, a suffix such as ".h5" and a part of the file (#teacher) left out."""
    name = name.partition("#")[0]
    suffix = Path(name).suffix
    found = re.findall(r"\d+", name if suffix[1:].isdigit() else name.removesuffix(suffix))
    return int(found[-1]) if found else None


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
