"""Phrases that findings of several analyses share: names of metrics and units, of networks, and lists."""

from collections.abc import Sequence

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
    return "AUC" if metric == "auc" else metric


def unit(metric: str) -> str:
    """What a hundredth of the metric is called."""
    return "points" if metric == "accuracy" else "points of AUC"


def amount(points: float, unit: str) -> str:
    """A number of points with their unit: "1 point", "0.5 points of AUC"."""
    return f"{points:g} {unit.replace('points', 'point', 1) if points == 1 else unit}"


def point(name: str) -> str:
    """A point for a legend, where start and end of an arm need colours of their own: "P (start)", "P-T"."""
    return name if name.endswith("-T") else f"{name} (start)"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
