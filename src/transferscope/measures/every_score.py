"""Every score of a network's outputs, by its name in a table: over all answers, and by class, label or number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferscope import answers
from transferscope.measures import calibration, imbalance, judged, metrics, regression
from transferscope.measures.intervals import wilson

Array = NDArray[Any]
Row = dict[str, float | None]
ECE, BRIER, RMSE, MAE = "calibration error", "Brier score", "RMSE", "mean error"
GRADES = "mean error in grades"


def overall(outputs: Array, labels: Array, kind: answers.Kind) -> Row:
    """Every score over all answers that suits the kind; None where one is undefined.

    The metrics of `answers.METRICS`; of classes, grades and labels the calibration error (in [0, 1]) and Brier's score
    (of labels the mean squared distance of each probability, at most 1); of grades the mean distance of the most likely
    grade; of one number RMSE and mean absolute error, in its units. `outputs` and `labels` are (n, k) or (n,).
    """
    classes = outputs.shape[1]
    names = [name for name, how in answers.METRICS.items() if kind in how.of and not how.error]
    if kind in ("class", "grade") and classes != 2:
        names = [name for name in names if name not in answers.OF_TWO]
    found: Row = {answers.metric(name).word: judged.score(outputs, labels, name) for name in names}
    if kind == "numbers":
        one = classes == 1
        return found | ({RMSE: float(regression.rmse(outputs, labels)[0]), MAE: _mae(outputs, labels)} if one else {})
    if kind == "grade":
        found[GRADES] = float(np.abs(outputs.argmax(1) - labels).mean())
    chances = calibration.probabilities(outputs, kind == "labels")
    if kind == "labels":
        known = answers.known(labels)
        p, y = chances[known], labels[known] == 1
        right = (p > 0.5) == y
        return found | {
            ECE: calibration.calibration_error(np.maximum(p, 1 - p), right),
            BRIER: calibration.brier(p[:, None], y[:, None]),
        }
    right = outputs.argmax(1) == labels
    return found | {
        ECE: calibration.calibration_error(chances.max(1), right),
        BRIER: calibration.brier(chances, np.eye(classes)[labels]),
    }


def by_answer(
    outputs: Sequence[Array], labels: Array, names: Sequence[str], kind: answers.Kind
) -> list[dict[str, Any]]:
    """One row a class (its examples, recall with Wilson's interval, precision and F1), label (how many are known and
    carry it, AUC, average precision) or number (R², rank correlation, RMSE, mean error), means over networks.

    `outputs` are (n, k) of several networks on the same examples. The interval of a recall is that of the mean number
    right, over examples of the class.
    """
    if kind == "numbers":
        return [
            _mean([_number(out[:, [j]], labels[:, [j]]) for out in outputs], number=name) for j, name in _each(names)
        ]
    if kind == "labels":
        return [_mean([_label(out[:, j], labels[:, j]) for out in outputs], label=name) for j, name in _each(names)]
    found = []
    for j, name in _each(names):
        rows = [_class(out.argmax(1) == j, labels == j) for out in outputs]
        row = _mean(rows, **{"grade" if kind == "grade" else "class": name})
        ends = wilson(row["recall"] * row["examples"], row["examples"]) if row["examples"] else None
        found.append({**row, "low": ends.low if ends else None, "high": ends.high if ends else None})
    return found


def _each(names: Sequence[str]) -> list[tuple[int, str]]:
    return list(enumerate(names))


def _class(said: Array, truth: Array) -> Row:
    hits, own, named = float((said & truth).sum()), int(truth.sum()), int(said.sum())
    return {
        "examples": own,
        "recall": hits / own if own else None,
        "precision": hits / named if named else None,
        "F1": 2 * hits / (own + named) if own + named else None,
    }


def _label(scores: Array, truth: Array) -> Row:
    known = truth >= 0
    s, y = scores[known], truth[known]
    return {
        "known": int(known.sum()),
        "carry it": int((y == 1).sum()),
        "AUC": metrics.auc(s, y),
        "average precision": imbalance.average_precision(s, y),
    }


def _number(outputs: Array, truth: Array) -> Row:
    return overall(outputs, truth, "numbers")


def _mae(outputs: Array, truth: Array) -> float:
    return float(regression.mae(outputs, truth)[0])


def _mean(rows: Sequence[Row], **first: str) -> dict[str, Any]:
    """Means over networks of what is defined for all of them; counts stay whole."""
    found: dict[str, Any] = dict(first)
    for name in rows[0]:
        values = [row[name] for row in rows]
        known = [value for value in values if value is not None]
        mean = float(np.mean(known)) if len(known) == len(values) else None
        found[name] = int(mean) if isinstance(values[0], int) and mean is not None else mean
    return found
