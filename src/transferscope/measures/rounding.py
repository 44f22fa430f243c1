"""Numbers rounded to what their interval bears: no digit that another set of seeds would change."""

import math


def places(effect: float, low: float | None, high: float | None) -> int:
    """Decimals (negative, for values of a thousand or more: zeros before the point) that a value bears.

    With an interval, half of it keeps one digit, two where that digit would be 1; without one, the value two.
    """
    known = [abs(value) for value in (effect, low, high) if value is not None and math.isfinite(value)]
    least = 0 if max(known, default=0.0) < 1000 else -9
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        size = abs(effect)
        return 0 if not size or not math.isfinite(size) else max(least, 1 - math.floor(math.log10(size)))
    half = (high - low) / 2
    found = 2 if half <= 0 else max(least, -math.floor(math.log10(half / 2)))
    near = any(end and not round(end, found) for end in (low, high))  # else "-6 to 0" hides on which side of 0 it ends
    return found + near


def text(value: float, decimals: int) -> str:
    """A value to so many decimals, at most 3, with a true minus sign and without "-0"; "–" where it is not finite."""
    if not math.isfinite(value):
        return "–"
    shown = max(0, min(3, decimals))
    return f"{round(value, min(decimals, 3)):z,.{shown}f}".replace("-", "−")


def of_one(unit: str) -> str:
    """A unit of hundredths as that of a single one: "point of AUC", "hundredth of R²"."""
    return unit.replace("points", "point", 1).replace("hundredths", "hundredth", 1)


def score(value: float, low: float | None = None, high: float | None = None, *, share: bool = True) -> str:
    """A score with the interval behind it, of a `share` in percent: "82% (80 to 84)", else "0.82 (0.80 to 0.84)"."""
    if share:
        return percent(value, low, high)
    decimals = max(2, min(3, places(value, low, high)))
    said = text(value, decimals)
    return said if low is None or high is None else f"{said} ({text(low, decimals)} to {text(high, decimals)})"


def percent(share: float, low: float | None = None, high: float | None = None) -> str:
    """A share in percent with the interval behind it: "82% (80 to 84)"."""
    ends = None if low is None or high is None else (100 * low, 100 * high)
    decimals = max(0, min(1, places(100 * share, *(ends or (None, None))))) if ends else 0
    said = f"{text(100 * share, decimals)}%"
    return f"{said} ({text(ends[0], decimals)} to {text(ends[1], decimals)})" if ends else said
