"""Which image is trained on, validated on and tested on: stratified, seeded, groups kept whole."""

from collections.abc import Sequence

import numpy as np

from transferscope.answers import strata
from transferscope.data.listing import SPLITS, class_counts
from transferscope.errors import UserError
from transferscope.random_streams import stream


def assign_splits(
    labels: np.ndarray,
    groups: Sequence[str] | None,
    given: Sequence[str] | None,
    val: float,
    test: float,
    seed: int,
    classes: Sequence[str] | None = None,
) -> np.ndarray:
    """'train', 'val' or 'test' per image, (n,) of '<U5'.

    `labels` (n,) or (n, k) and `groups`, `given` (n,) as in `Listing`. `val` and `test` are the shares (0 to 1) of the
    images that are free to go anywhere: all without `given`; with it those given 'train' or ''. A split that `given`
    fills is left as it is, so images given only train and test get their val from train. An image given '' follows
    its group where the group is given. The rest is drawn by the stream ("split", ...) of `seed`:

    - one label, no groups: exact shares of every class, rounded, at least one image where the class has enough
      (train first, then test, then val); numbers are divided by tenths of their rank as if these were classes;
    - several labels or groups: iterative stratification (Sechidis et al. 2011, Algorithm 1), groups as units, larger
      groups first.

    Raises UserError when a group straddles given splits, a class has no image in train, or a split comes out empty.
    The result depends on the order of the rows: pass them in the order of their sorted names.
    """
    if not (val >= 0 and test >= 0 and val + test < 1):
        raise UserError(f"The shares val={val} and test={test} must not be negative and must leave images to train on.")
    n = len(labels)
    numbers = labels.dtype.kind == "f"
    labels = strata(labels) if numbers else labels
    known = classes is not None and not numbers
    names = tuple(classes or ()) if known else tuple(str(c) for c in range(_classes(labels)))
    out = _given(groups, given, n)
    free = np.flatnonzero((out == "") | (out == "train"))
    shares = (0.0 if (out == "test").any() else test, 0.0 if (out == "val").any() else val)
    own = None if groups is None else [groups[row] for row in free.tolist()]
    if labels.ndim == 1 and (own is None or _all_single(own)):
        out[free] = _by_class(labels[free], shares, seed)
    else:
        out[free] = _by_unit(_indicators(labels[free], len(names)), own, shares, seed)
    _require(out, None if numbers else labels, names, {"val": val, "test": test})
    return out


def _classes(labels: np.ndarray) -> int:
    return labels.shape[1] if labels.ndim == 2 else int(labels.max(initial=-1)) + 1


def _given(groups: Sequence[str] | None, given: Sequence[str] | None, n: int) -> np.ndarray:
    """The given splits, those of groups spread over the group's undecided images."""
    if given is None:
        return np.full(n, "", dtype="<U5")
    if groups is None:
        return np.array(given, dtype="<U5")
    held: dict[str, str] = {}
    for group, word in zip(groups, given, strict=True):
        if group and word and held.setdefault(group, word) != word:
            raise UserError(f"Group '{group}' lies in both '{held[group]}' and '{word}'; give a group one split only.")
    pairs = zip(groups, given, strict=True)
    return np.array([word or held.get(group, "") for group, word in pairs], dtype="<U5")


def _all_single(groups: Sequence[str]) -> bool:
    named = [group for group in groups if group]
    return len(named) == len(set(named))


def _by_class(labels: np.ndarray, shares: tuple[float, float], seed: int) -> np.ndarray:
    out = np.full(len(labels), "train", dtype="<U5")
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[stream(seed, "split", int(label)).permutation(len(rows))]
        n_test, n_val = _quota(len(rows), *shares)
        out[rows[:n_test]] = "test"
        out[rows[n_test : n_test + n_val]] = "val"
    return out


def _quota(n: int, test: float, val: float) -> tuple[int, int]:
    """Images of a class of `n` for test and val: at least one each where n allows, and one left to train."""
    want_test, want_val = (max(1, round(n * share)) if share else 0 for share in (test, val))
    n_test = min(want_test, n - 2 if want_val and n > 2 else n - 1)
    return n_test, min(want_val, n - 1 - n_test)


def _indicators(labels: np.ndarray, classes: int) -> np.ndarray:
    """(n, k) of 0 and 1, float64."""
    return (labels > 0).astype(np.float64) if labels.ndim == 2 else np.eye(classes)[labels]


def _by_unit(marks: np.ndarray, groups: Sequence[str] | None, shares: tuple[float, float], seed: int) -> np.ndarray:
    unit = _units(groups, len(marks))
    units = int(unit.max(initial=-1)) + 1
    counts = np.zeros((units, marks.shape[1]))
    np.add.at(counts, unit, marks)
    sizes = np.bincount(unit, minlength=units).astype(np.float64)
    test, val = shares
    portion = np.array([1 - val - test, val, test])
    order = stream(seed, "split", "units").permutation(units)
    order = order[np.argsort(-sizes[order], kind="stable")]
    place = _place(counts, sizes, portion, order)
    _mend(place, counts, sizes, portion)
    words: np.ndarray = np.array(SPLITS, dtype="<U5")[place][unit]
    return words


def _units(groups: Sequence[str] | None, n: int) -> np.ndarray:
    """Unit number of every image: equal for equal groups, its own for '' and without groups."""
    if groups is None:
        return np.arange(n)
    numbers: dict[str | int, int] = {}
    keys = (group or index for index, group in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _place(counts: np.ndarray, sizes: np.ndarray, portion: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Split number of every unit: rarest label first, each unit to the split that lacks most of that label."""
    want = portion[:, None] * counts.sum(axis=0)
    room = portion * sizes.sum()
    open_splits = np.flatnonzero(portion > 0)
    place = np.full(len(sizes), -1, dtype=np.int64)
    while (free := place < 0).any():
        left = counts[free].sum(axis=0)
        rarest = int(np.argmin(np.where(left > 0, left, np.inf))) if left.any() else None
        todo = free & (counts[:, rarest] > 0) if rarest is not None else free
        for unit in order[todo[order]]:
            lack = room if rarest is None else want[:, rarest]
            best = max(open_splits, key=lambda split: (lack[split], room[split]))
            place[unit] = best
            want[best] -= counts[unit]
            room[best] -= sizes[unit]
    return place


def _mend(place: np.ndarray, counts: np.ndarray, sizes: np.ndarray, portion: np.ndarray) -> None:
    """Bring every label into train, then a unit into every empty split, each time moving the smallest that can go."""
    by_size = np.argsort(sizes, kind="stable")
    for label in np.flatnonzero(counts.sum(axis=0) > 0):
        if not counts[place == 0, label].any():
            place[next(unit for unit in by_size if counts[unit, label] > 0)] = 0
    for split in (2, 1):
        if portion[split] > 0 and not (place == split).any():
            train = counts[place == 0].sum(axis=0)
            spare = [u for u in by_size if place[u] == 0 and not ((counts[u] > 0) & (train <= counts[u])).any()]
            if spare:
                place[spare[0]] = split


def _require(out: np.ndarray, labels: np.ndarray | None, names: Sequence[str], shares: dict[str, float]) -> None:
    counts = np.ones(1) if labels is None else class_counts(labels[out == "train"], len(names))
    missing = np.flatnonzero(counts == 0)
    if len(missing):
        raise UserError(f"Class '{names[missing[0]]}' has no image in the train split; add images or remove the class.")
    for word, share in shares.items():
        if share > 0 and not (out == word).any():
            raise UserError(f"Too few images or groups to fill the {word} split; add images, or give the splits.")


def sample(labels: np.ndarray, rows: np.ndarray, count: int, *, seed: int, least: int = 0) -> np.ndarray:
    """About `count` of `rows` (m,), in increasing order, that stand for all of them; all when there are no more.

    `labels` (n,) or (n, k) are those of the whole table. One label: the shares of the classes, rounded; several: drawn
    without strata. Then every class, and with several labels both answers to each, are filled up to `least` images, or
    to all that there are. A pure function of its arguments.
    """
    if count >= len(rows):
        return rows
    own, groups = labels[rows], strata(labels[rows])
    rank = np.empty(len(rows))
    for stratum in np.unique(groups):
        draw = stream(seed, "sample", int(stratum))
        members = draw.permutation(np.flatnonzero(groups == stratum))
        rank[members] = (np.arange(len(members)) + draw.random()) / len(members)  # chance rounds up or down
    order = np.argsort(rank, kind="stable")
    chosen = [order[:count]]
    if least:
        answers = own[order] if own.ndim == 2 else own[order, None]
        chosen += [
            order[np.flatnonzero(column == answer)[:least]] for column in answers.T for answer in np.unique(column)
        ]
    return np.sort(rows[np.unique(np.concatenate(chosen))])


def nested_fraction(labels: np.ndarray, rows: np.ndarray, fraction: float, *, seed: int) -> np.ndarray:
    """A stratified share of `rows` (m,), in increasing order: nested (a smaller share lies in every larger one).

    `labels` (n,) or (n, k) are those of the whole table. Every class, and every tenth of numbers, keeps at least one
    row; with several labels rows are drawn without strata. A pure function of its arguments, so that all arms of a seed
    see the same subset.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"A fraction of the training images must lie in (0, 1], not {fraction}.")
    groups = strata(labels[rows])
    kept = []
    for stratum in np.unique(groups):
        members = rows[groups == stratum]
        order = stream(seed, "fraction", int(stratum)).permutation(members)
        kept.append(order[: max(1, round(fraction * len(members)))])
    return np.sort(np.concatenate(kept))
