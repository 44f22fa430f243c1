"""Answers: what a target asks of a network (a class, several labels, a grade or numbers), and what may judge them.

An array of labels says which: whole numbers (n,) are classes, or grades where these are counted; (n, k) of 0 and 1 are
labels, where -1 is a cell that nobody filled in; floats (n, k) are numbers.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from transferscope.errors import UserError, did_you_mean

Kind = Literal["class", "labels", "grade", "numbers"]
Task = Literal["regression", "ordinal"]
MISSING = -1  # of a label
KINDS: dict[Kind, str] = {"class": "classes", "labels": "labels", "grade": "grades", "numbers": "numbers"}


@dataclass(frozen=True)
class Metric:
    """What judges networks, as a score of which more is better: that of an error is minus the error.

    `word`: its name in a sentence; `unit`: what its differences are told in; `of`: the kinds of answers that it can
    judge; `least`: the lowest that the score can be; `share`: whether it is told in percent; `parts`: whether it is a
    mean over examples, at least to first order; `error`: whether lower is better, in the units of the numbers.
    """

    word: str
    unit: str
    of: tuple[Kind, ...]
    least: float = 0.0
    share: bool = True
    parts: bool = True
    error: bool = False

    @property
    def best(self) -> float:
        """The score than which there is no better one."""
        return 0.0 if self.error else 1.0

    @property
    def times(self) -> float:
        """What a difference of scores is multiplied with to be told in `unit`: 100, of an error 1."""
        return 1.0 if self.error else 100.0

    def told(self, score: float | None) -> float | None:
        """The score as readers know it: an error is told as such, all others are what they are."""
        return -score if self.error and score is not None else score


METRICS = {
    "accuracy": Metric("accuracy", "points", ("class", "grade")),
    "auc": Metric("AUC", "points of AUC", ("class", "labels")),
    "balanced_accuracy": Metric("balanced accuracy", "points of balanced accuracy", ("class", "grade")),
    "macro_f1": Metric("macro F1", "points of F1", ("class", "labels", "grade"), parts=False),
    "average_precision": Metric("average precision", "points of average precision", ("class", "labels"), parts=False),
    "kappa": Metric("quadratic kappa", "hundredths of kappa", ("grade",), least=-1.0, share=False),
    "r2": Metric("R²", "hundredths of R²", ("numbers",), least=-math.inf, share=False),
    "spearman": Metric(
        "rank correlation", "hundredths of rank correlation", ("numbers",), least=-1.0, share=False, parts=False
    ),
    "rmse": Metric("RMSE", "in RMSE", ("numbers",), least=-math.inf, share=False, error=True),
    "mae": Metric(
        "mean absolute error", "in mean absolute error", ("numbers",), least=-math.inf, share=False, error=True
    ),
}
OF_TWO = ("auc", "average_precision")  # of exclusive classes they can judge two


def metric(name: str) -> Metric:
    """What is known of a metric; one by another name, as from a file of results, is a share."""
    return METRICS.get(name) or Metric(name, f"points of {name}", ("class",), parts=False)


def kind(labels: np.ndarray, judged: str = "") -> Kind:
    """What an array of labels holds: see above. Whole numbers are grades where `judged`, the metric, is of grades."""
    if labels.dtype.kind == "f":
        return "numbers"
    if labels.ndim == 2:
        return "labels"
    return "grade" if judged == "kappa" else "class"


def usual(of: Kind, classes: int) -> str:
    """The metric that judges where nobody says another: what the paper would report, kappa of grades, R² of numbers."""
    if of in ("numbers", "grade"):
        return "r2" if of == "numbers" else "kappa"
    return "auc" if of == "labels" or classes == 2 else "accuracy"


def judges(name: str, of: Kind, classes: int, where: str = "metric") -> str:
    """The metric itself. UserError where there is none of that name, or it cannot judge such answers."""
    fitting = [one for one, how in METRICS.items() if of in how.of]
    if of != "labels" and classes != 2:
        fitting = [one for one in fitting if one not in OF_TWO]
    if name not in METRICS:
        raise UserError(f"{where}: there is no metric '{name}'; {did_you_mean(name, fitting)}")
    if name not in fitting:
        what = f"{classes} exclusive classes" if of == "class" else KINDS[of]
        raise UserError(f"{where}: '{name}' cannot judge {what}; write one of {', '.join(fitting)}.")
    return name


def walking(name: str, classes: int, several: bool) -> str:
    """What judges networks between networks and changed ones, where nobody said that the metric `name` of their target
    should: that metric if it is accuracy, AUC or R², else the usual one of its labels."""
    if "numbers" in metric(name).of:
        return "r2"
    if name in ("accuracy", "auc") and not (several and name == "accuracy"):
        return name
    return usual("labels" if several else "class", classes)


def known(labels: np.ndarray) -> np.ndarray:
    """Where labels (n, k) were filled in; everywhere in classes and numbers."""
    return np.asarray(labels >= 0) if labels.dtype.kind != "f" else np.ones(labels.shape, dtype=bool)


def counted(count: int, of: Kind) -> str:
    """So many answers of a kind: "1 number", "9 classes"."""
    return f"{count} {KINDS[of] if count != 1 else 'class' if of == 'class' else KINDS[of].removesuffix('s')}"


def strata(labels: np.ndarray, most: int = 10) -> np.ndarray:
    """A number an example (n,), alike for examples that a division should spread evenly: the class, or for numbers the
    tenth (of few examples less) of their mean rank that it lies in; one for all where there are several labels."""
    if labels.dtype.kind != "f":
        return labels if labels.ndim == 1 else np.zeros(len(labels), dtype=np.int64)
    n = len(labels)
    mean = np.argsort(np.argsort(labels, axis=0, kind="stable"), axis=0, kind="stable").mean(axis=1)
    place = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
    return np.asarray(place * max(1, min(most, n // 10)) // max(n, 1), dtype=np.int64)
