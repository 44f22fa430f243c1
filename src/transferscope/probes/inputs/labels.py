"""Labels as other people's loaders give them: read by one rule for every probe, or refused in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferscope import answers
from transferscope.errors import UserError

INDICES = "give class indices from 0 up"


@dataclass(frozen=True)
class Labels:
    """`values`: class indices (n,), 0 and 1 (n, k) where a sample has several labels, or floats (n, k), numbers to
    predict; `notes`: what was decided."""

    values: NDArray[Any]
    notes: tuple[str, ...] = ()


def together(parts: Sequence[NDArray[Any] | None], what: str = "batches", word: str = "labels") -> NDArray[Any] | None:
    """The labels (or ids) of all batches as one array; None where no batch brought any.

    Raises UserError where only some of them did, and where their shapes differ.
    """
    have = [part for part in parts if part is not None]
    if not have:
        return None
    if len(have) < len(parts):
        raise UserError(f"{what}: {len(parts) - len(have)} of {len(parts)} batches have no {word}; give all some.")
    if len({part.shape[1:] for part in have}) > 1:
        shapes = " and ".join(sorted({str(part.shape) for part in have})[:2])
        raise UserError(f"{what}: {word} come in batches of different shapes, {shapes}; give all in one.")
    return np.concatenate(have)


def read_labels(
    given: NDArray[Any],
    outputs: int | None = None,
    what: str = "batches",
    multilabel: bool | None = None,
    metric: str | None = None,
) -> Labels:
    """The labels of a whole pass for a network of so many `outputs` (None: whatever it has).

    Whole numbers of any type and (n, 1) are class indices. (n, k) of 0 and 1 are several labels a sample, unless every
    one of the n rows has exactly one 1 and k > 2: then they are one-hot classes, which is noted. For k = 2 the two
    readings give different numbers and nothing tells them apart: refused. `multilabel` (True, False) decides instead.
    With a `metric` of numbers they are numbers (n, k), and with `multilabel` and any metric -1 is a label that is not
    known. Raises UserError for words, probabilities, NaN, unlabelled samples (below 0), and labels beyond the outputs.
    """
    if metric is not None and "numbers" in answers.metric(metric).of:
        return Labels(_numbers(given, outputs, what))
    y = _whole_numbers(given, what)
    if y.ndim == 2 and y.shape[1] == 1 and outputs != 1 and not multilabel:
        y = y[:, 0]
    if y.ndim == 1:
        if multilabel:
            raise UserError(
                f"{what}: several labels a sample must be 0 and 1 of shape (samples, labels), not {y.shape}."
            )
        return Labels(_classes(y, outputs, what))
    n, k = y.shape
    if outputs is not None and k != outputs:
        raise UserError(
            f"{what}: {k} labels a sample, but the network has {outputs} outputs; {INDICES}, or one label "
            "for each output."
        )
    if y.min() < (answers.MISSING if multilabel and metric is not None else 0) or y.max() > 1:
        raise UserError(
            f"{what}: labels of shape {y.shape} must be 0 or 1, but run from {y.min()} to {y.max()}; leave "
            "out samples with unknown labels."
        )
    single = bool((y.sum(1) == 1).all())
    if multilabel is False and not single:
        raise UserError(f"{what}: labels of shape {y.shape} are no classes: not every row has exactly one 1.")
    if multilabel or (k == 1 and multilabel is None) or not single:
        return Labels(y)
    if k == 2 and multilabel is None:
        raise UserError(
            f"{what}: labels of shape {y.shape} with one 1 in every row are two classes or two labels a "
            "sample; give class indices, labels.argmax(1), or multilabel=True."
        )
    note = f"Each of the {n} rows of labels has exactly one 1 among {k}, so they were read as one-hot classes."
    return Labels(y.argmax(1), () if multilabel is False else (note,))


def _numbers(given: NDArray[Any], outputs: int | None, what: str) -> NDArray[np.float64]:
    y = np.asarray(given)
    if y.dtype.kind not in "iuf" or y.ndim != 2 or (outputs is not None and y.shape[1] != outputs):
        raise UserError(
            f"{what}: numbers to predict must be of shape (samples, outputs), not {y.dtype} of {y.shape}, for a "
            f"network with {outputs} outputs."
        )
    if lost := int((~np.isfinite(y)).sum()):
        raise UserError(f"{what}: {lost} of {y.size} numbers are NaN or infinite; leave those samples out.")
    return y.astype(np.float64)


def _whole_numbers(given: NDArray[Any], what: str) -> NDArray[np.int64]:
    y = np.asarray(given)
    if y.dtype.kind not in "iufb":
        word = str(y.ravel()[0])[:40] if y.size else ""
        raise UserError(f"{what}: labels are no numbers ('{word}'); {INDICES}.")
    if y.ndim not in (1, 2) or not y.size:
        raise UserError(
            f"{what}: labels of shape {y.shape} are neither classes (samples,) nor 0 and 1 (samples, labels)."
        )
    if y.dtype.kind == "f":
        if lost := int((~np.isfinite(y)).sum()):
            raise UserError(f"{what}: {lost} of {y.size} labels are NaN or infinite; leave those samples out.")
        if bool((y != np.round(y)).any()):
            example = float(y[y != np.round(y)][0])
            raise UserError(
                f"{what}: labels are no whole numbers ({example:g}), and neither probabilities (soft "
                f"labels, mixup) nor regression targets are right or wrong; {INDICES}."
            )
    return y.astype(np.int64)


def _classes(y: NDArray[np.int64], outputs: int | None, what: str) -> NDArray[np.int64]:
    low, high = int(y.min()), int(y.max())
    if low < 0:
        raise UserError(
            f"{what}: class indices start at 0, but {int((y < 0).sum())} of {len(y)} labels are below it, "
            f"down to {low}; leave such samples out."
        )
    most = None if outputs is None else max(outputs, 2)  # one output tells two classes apart
    if most is not None and high >= most:
        shift = ": subtract 1" if low >= 1 and high == most else ", or give a network with an output for every class"
        raise UserError(
            f"{what}: the labels run from {low} to {high}, but the network tells {most} classes apart, 0 "
            f"to {most - 1}{shift}."
        )
    return y


def kinds(parts: Sequence[NDArray[Any] | None]) -> NDArray[np.int64] | None:
    """A number per sample that tells its class, whatever form the labels have: rows of one value, words, one-hot rows.

    None where a batch has none, where a sample has several labels, and for numbers that are not whole.
    """
    if not parts or any(part is None or part.ndim > 2 for part in parts):
        return None
    if len({part.shape[1:] for part in parts if part is not None}) > 1:
        return None
    y = np.concatenate([part for part in parts if part is not None])
    if y.ndim == 2 and y.shape[1] > 1:
        if y.dtype.kind not in "iufb" or not bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()):
            return None
        y = y.argmax(1)
    if y.dtype.kind == "f" and bool((y != np.round(y)).any()):
        return None
    return np.asarray(np.unique(y.ravel(), return_inverse=True)[1], dtype=np.int64)
