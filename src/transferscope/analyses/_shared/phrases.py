"""Phrases that findings of several analyses share: names of metrics and units, of networks, and lists."""

from collections.abc import Sequence

from transferscope import answers
from transferscope.measures import rounding

CHOSEN = "scored best on the validation images"
CHOSEN_ON_TEST = "scored best on the test images themselves (recipe.best_on: test)"


def weights(checkpoint: str) -> str:
    """Which weights of the trained networks were compared, as a sentence."""
    said = {
        "best": f"weights of the epoch that {CHOSEN}",
        "ema": "moving average of the weights (running statistics averaged too)",
    }
    return f"Trained networks have the {said.get(checkpoint, 'weights of the last epoch')}."


def word(metric: str) -> str:
    """The metric in a sentence."""
    return answers.metric(metric).word


def unit(metric: str) -> str:
    """What a hundredth of the metric is called."""
    return answers.metric(metric).unit


def hundredths(metric: str) -> str:
    """The same in one word, where it is clear of what."""
    return "points" if percent(metric) else "hundredths"


def percent(metric: str) -> bool:
    """Whether the metric is told in percent."""
    return answers.metric(metric).share


def score(value: float, metric: str) -> str:
    """A value of the metric in a sentence: "61.3%" of a share, "0.613" of others."""
    return f"{value:z.1%}" if percent(metric) else f"{value:z.3f}"


def amount(points: float, unit: str) -> str:
    """A number of points with their unit: "1 point", "0.5 points of AUC"."""
    return f"{points:g} {rounding.of_one(unit) if points == 1 else unit}"


def point(name: str) -> str:
    """A point for a legend, where start and end of an arm need colours of their own: "P (start)", "P-T"."""
    return name if name.endswith("-T") else f"{name} (start)"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
