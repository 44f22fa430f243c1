"""Which answers of a changed network are right: all of them computed, or most told from a pass that was near."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from transferscope.errors import UserError
from transferscope.probes.blocks.running_statistics import Anew
from transferscope.probes.passes.entry_points import Variant
from transferscope.probes.passes.prefix import Prefix

FIRST = 16  # samples whose outputs show how far the near ones are off
SURE = 5.0
Array = NDArray[np.float64]
State = Mapping[str, Tensor]


@dataclass(frozen=True)
class NoisyCell:
    """A network with the weights of a cell under one draw of noise; `guess`: outputs near its own, where known, and
    without a `variant` its very own."""

    variant: Variant | None
    guess: np.ndarray | None = None


class Answers:
    """Right and wrong answers of a network's variants, beside those of the network itself.

    `size` answers in all (samples, or samples x labels), `wrong` of which are wrong for the network itself, whose
    outputs for `lost` samples are not finite (and wrong). By batch: `before`, which of its answers are wrong, `known`,
    how many answers a sample has, and `parts`, where it lies among all samples. With `anew` running statistics are
    estimated for each variant; `guesses` says that this is done on the very batches, which tells most of the answers
    (see `guessed`).
    """

    def __init__(self, prefix: Prefix, anew: Anew | None = None, guesses: bool = False) -> None:
        self.prefix, self._anew, self._guesses = prefix, anew, guesses
        ends = np.cumsum([len(batch.x) for batch in prefix.batches]).tolist()
        self.parts = [slice(end - len(batch.x), end) for end, batch in zip(ends, prefix.batches, strict=True)]
        logits = [prefix.logits(batches=[i]) for i in range(len(self.parts))]
        labels = prefix.labels(logits[0].shape[1])
        if labels is None:
            raise UserError("batches: criticality needs the labels of all samples; give tuples (x, labels).")
        if labels.values.dtype.kind == "f":
            raise UserError("batches: criticality counts wrong answers, and numbers to predict are not right or wrong.")
        self.notes = labels.notes
        self._labels = [labels.values[part] for part in self.parts]
        self.lost = sum(int((~np.isfinite(part)).any(1).sum()) for part in logits)
        self.before = [_wrong(part, own) for part, own in zip(logits, self._labels, strict=True)]
        self.known = [np.reshape(own >= 0, (len(own), -1)).sum(1) for own in self._labels]  # answers of every sample
        self.size = sum(int(of.sum()) for of in self.known)
        self.wrong = int(sum(part.sum() for part in self.before))

    @property
    def at_once(self) -> bool:
        """Whether all answers under a draw come of the pass that estimates its statistics."""
        return self._guesses and self._anew is not None and self._anew.exact

    def cell(self, block: str | None, state: State) -> NoisyCell:
        """`state` made ready to run."""
        if self._anew is None:
            return NoisyCell(self.prefix.variant(block, state))
        if self.at_once:
            return NoisyCell(None, self._anew.outputs(block, state))
        variant, outputs = self._anew.estimated(block, state)
        return NoisyCell(variant, outputs if self._guesses else None)

    def of(self, cell: NoisyCell, number: int, enough: float = np.inf) -> NDArray[np.bool_]:
        """Which answers on a batch are wrong, (n,) or (n, k).

        Where more than `enough` are surely wrong, those that are in doubt are not settled.
        """
        variant = cell.variant
        near = None if cell.guess is None else cell.guess[self.parts[number]]
        if variant is None:
            assert near is not None
            logits = near
        elif near is None:
            logits = self.prefix.run(variant, [number])
        else:
            logits = guessed(near, self._labels[number], lambda rows: self.prefix.rows(variant, number, rows), enough)
        return _wrong(logits, self._labels[number])


def guessed(
    near: np.ndarray,
    labels: np.ndarray,
    exactly: Callable[[NDArray[np.int64]], np.ndarray],
    enough: float = np.inf,
) -> NDArray[np.float32]:
    """Outputs (n, k) that are right or wrong as the exact ones are, given some that are `near` these.

    Those in doubt are computed `exactly` (rows -> outputs), the closest decisions first, until the next one is `SURE`
    times as clear as any computed output was off; or until more than `enough` are surely wrong.
    """
    found = np.array(near, dtype=np.float32)
    if not bool(np.isfinite(found).all()):
        return exactly(np.arange(len(found)))
    clearness = _clearness(found, labels)
    order = np.argsort(clearness, kind="stable")
    done, stop, off = 0, FIRST, 0.0
    while done < min(stop, len(order)):
        rows = np.sort(order[done:stop])
        found[rows] = exactly(rows)
        off = float(np.maximum(off, np.abs(found[rows] - near[rows]).max()))
        done = stop
        stop = int(np.searchsorted(clearness[order], SURE * off)) if np.isfinite(off) else len(order)
        if int(_wrong(found, labels)[[*order[:done], *order[max(stop, done) :]]].sum()) > enough:
            break
    return found


def _clearness(logits: np.ndarray, labels: np.ndarray) -> Array:
    """How far the outputs of each sample (n,) are from being right where they are wrong, or the other way round."""
    if labels.ndim == 2:
        return np.asarray(np.abs(logits).min(1), dtype=np.float64)
    if logits.shape[1] == 1:
        return np.asarray(np.abs(logits[:, 0]), dtype=np.float64)
    rows, labels = np.arange(len(logits)), labels.astype(np.int64)
    others = np.array(logits, dtype=np.float64)
    others[rows, labels] = -np.inf
    return np.asarray(np.abs(logits[rows, labels] - others.max(1)), dtype=np.float64)


def _wrong(logits: np.ndarray, labels: np.ndarray) -> NDArray[np.bool_]:
    """Which answers are wrong, (n,) or (n, k); NaN is never right."""
    if labels.ndim == 2:
        return np.asarray(np.where(np.isnan(logits), True, (logits > 0) != (labels > 0.5)) & (labels >= 0))
    lost = np.isnan(logits).any(1)
    answer = (
        (logits[:, 0] > 0).astype(np.int64) if logits.shape[1] == 1 else np.where(lost[:, None], 0, logits).argmax(1)
    )
    return np.asarray((answer != labels) | lost)
