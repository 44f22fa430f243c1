"""The difference of two estimates that share neither seeds nor images, from the intervals of both."""

import math

from transferscope.measures.intervals import Interval, levelled


@levelled
def unpaired_difference(first: Interval, second: Interval, level: float = 0.95) -> Interval:
    """`second` less `first`, two independent estimates in one unit, with its interval; `n` is the smaller count.

    The variances are recovered from the intervals of both at the same level (Zou and Donner 2008, "MOVER"): with
    estimates a, b and ends la, ua, lb, ub the difference b - a reaches from b - a - sqrt((b - lb)^2 + (ua - a)^2) to
    b - a + sqrt((ub - b)^2 + (a - la)^2). So it serves for intervals of every kind, bounded and lopsided ones too. Of
    two t intervals it is never narrower than Welch's (1947). What both share (seeds, images, whole runs), it does not
    use: where the two go up and down together it is too wide.
    No interval where one of them has none.
    """
    a, b = first.at(level), second.at(level)
    mean, n = second.mean - first.mean, min(first.n, second.n)
    if a.low is None or a.high is None or b.low is None or b.high is None:
        why = next(one.note for one in (a, b) if one.low is None or one.high is None)
        return Interval(mean, None, None, n, why or "one of the two has no interval")
    low = mean - math.hypot(b.mean - b.low, a.high - a.mean)
    high = mean + math.hypot(b.high - b.mean, a.mean - a.low)
    return Interval(mean, low, high, n)
