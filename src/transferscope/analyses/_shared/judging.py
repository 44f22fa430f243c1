"""What judges networks between and beside trained ones: the metric that their target says, as a parameter of steps."""

import polars as pl

from transferscope import answers
from transferscope.analyses._shared import phrases
from transferscope.engine.step import Outside, Step
from transferscope.registry import apart

ALWAYS = ("accuracy", "auc", "r2")  # by which they are judged without being asked
NEUTRAL = {"judged": ""}


def judging(*data: Step) -> dict[str, str]:
    """The parameter `judged` of a step on targets: the metric that they say. Nothing where none is said, where it would
    judge anyway, and where several targets say different ones."""
    said = {_metric(one) for one in data}
    metric = said.pop() if len(said) == 1 else ""
    return {"judged": metric} if metric and metric not in ALWAYS else {}


def basis(rows: pl.DataFrame, column: str = "measure") -> str:
    """By what networks are judged here, where their target says it, as a sentence; empty where nobody was asked."""
    names = rows[column].drop_nulls().unique(maintain_order=True).to_list() if column in rows.columns else []
    found = ""
    for name in (one for one in names if one in answers.METRICS and one not in ALWAYS):
        word = phrases.word(name)
        found += f" Networks are judged by {word}, as their target says"
        if answers.metric(name).error:
            found += (
                ", of which lower is better, in the units of the target; where a threshold is stated in points, one is "
                "a hundredth of the numbers' standard deviation in training."
            )
        else:
            found += f"; where a threshold is stated in points, one is a hundredth of {word}."
    return found


def _metric(data: Step) -> str:
    """What the target behind a table says; "" for nothing."""
    refs = (value.ref for value in data.params.values() if isinstance(value, Outside))
    return next((str(said["metric"]) for ref in refs if "metric" in (said := apart(ref)[1])), "")
