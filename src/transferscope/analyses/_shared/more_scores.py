"""Tables of every score of the final networks on all test images: imbalance, calibration, errors in units, by class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from transferscope import answers
from transferscope.analyses._shared import gains, in_range
from transferscope.data.table import Table
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import decode
from transferscope.engine.table import ResultTable
from transferscope.measures import every_score, rounding
from transferscope.measures.intervals import Interval
from transferscope.measures.ranges import bounded
from transferscope.section import View
from transferscope.tasks import inputs, restore

ARMS = ("random", "pretrained")  # whose classes are told
MOST = 40  # classes
WORDS = {how.word: name for name, how in answers.METRICS.items()}
OVERALL = {
    "class": "Balanced accuracy and F1 count every class alike.",
    "grade": "Kappa weighs a mistake by the square of the grades between.",
    "labels": "Means over the labels that have both answers; calibration and Brier's score over all answers.",
    "numbers": "RMSE and mean error (absolute) are in the units of the data; of several numbers see the next table.",
}
CALIBRATED = (
    " Calibration error: how far confidence lies from the share that is right (15 bins); 0 is best, as of Brier."
)
EACH = {
    "class": "Recall: the share of a class that is right, with Wilson's 95% interval over its test images.",
    "grade": "Recall: the share of a grade that is right, with Wilson's 95% interval over its test images.",
    "labels": "Of the test images whose label is known.",
    "numbers": "Errors are in the units of the data.",
}


def views(target: str, table: ResultTable) -> list[View]:
    """Both tables of a target; none where the answers are no longer in the store."""
    outputs: dict[str, list[np.ndarray]] = {}
    data: Table | None = None
    for labels, run in table.artifacts:
        if labels["target"] == target:
            try:
                out, data = restore.outputs(run, "test"), data or _table(run)
            except gains.UNREAD:
                return []
            if np.isfinite(out).all():
                outputs.setdefault(str(labels["arm"]), []).append(out)
    if data is None or not outputs or not len(data.rows["test"]):
        return []
    truth = data.labels[data.rows["test"]]
    if data.kind == "numbers":
        truth = data.in_units(truth)
        outputs = {arm: [data.in_units(out) for out in of] for arm, of in outputs.items()}
    return [
        View(
            f"{target}-scores",
            f"Every score on {target}",
            pl.DataFrame([{"arm": arm, **_cells(of, truth, data.kind)} for arm, of in outputs.items()]),
            f"Final networks on all test images, means over seeds (95% intervals). {OVERALL[data.kind]}"
            + (CALIBRATED if data.kind != "numbers" else ""),
        ),
        View(
            f"{target}-by-{_one(data.kind)}",
            f"Every {_one(data.kind)} of {target}",
            _by_answer(outputs, truth, data),
            f"Means over seeds of the final networks. {EACH[data.kind]}" + _left(data),
        ),
    ]


def _table(run: Artifact) -> Table:
    return inputs.open_table(decode(restore.said(run)["data"], run.beside).whole())


def _one(kind: answers.Kind) -> str:
    return answers.counted(1, kind).removeprefix("1 ")


def _left(data: Table) -> str:
    return f" The first {MOST} of {len(data.classes)}." if len(data.classes) > MOST else ""


def _cells(outputs: Sequence[np.ndarray], truth: np.ndarray, kind: answers.Kind) -> dict[str, str]:
    rows = [every_score.overall(out, truth, kind) for out in outputs]
    found = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        known = np.array([value for value in values if value is not None])
        found[name] = _told(_interval(known, name)) if len(known) == len(values) else "–"
    return found


def _interval(values: np.ndarray, name: str) -> Interval:
    if name in WORDS:
        return in_range.interval(values, "final", metric=WORDS[name])
    most = {every_score.ECE: 1.0, every_score.BRIER: 2.0}.get(name, float("inf"))
    return bounded(values, 0.0, most)


def _told(found: Interval) -> str:
    places = max(0, min(3, rounding.places(found.mean, found.low, found.high)))
    said = rounding.text(found.mean, places)
    if found.low is None or found.high is None:
        return said
    return f"{said} ({rounding.text(found.low, places)} to {rounding.text(found.high, places)})"


def _by_answer(outputs: dict[str, list[np.ndarray]], truth: np.ndarray, data: Table) -> pl.DataFrame:
    """One line an answer, with what the arms `ARMS` score side by side."""
    arms = [arm for arm in ARMS if arm in outputs] or list(outputs)[:1]
    rows = [every_score.by_answer(outputs[arm], truth, data.classes[:MOST], data.kind) for arm in arms]
    found: list[dict[str, Any]] = []
    for lines in zip(*rows, strict=True):
        line: dict[str, Any] = {name: lines[0][name] for name in lines[0] if name in COUNTS}
        for arm, row in zip(arms, lines, strict=True):
            for name, value in row.items():
                if name not in (*COUNTS, "low", "high"):
                    line[f"{name}, {arm}"] = _cell(value, row.get("low"), row.get("high"), name)
        found.append(line)
    return pl.DataFrame(found)


COUNTS = ("class", "grade", "label", "number", "examples", "known", "carry it")


def _cell(value: float | None, low: float | None, high: float | None, name: str) -> str:
    if value is None:
        return "–"
    if name == "recall":
        return rounding.percent(value, low, high)
    return rounding.text(value, max(2, min(3, rounding.places(value, None, None))))
