"""Student's t distribution from the standard library alone, to about 1e-10 relative."""

import math
from functools import lru_cache


@lru_cache(maxsize=4096)  # a page asks for few, many times
def t_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p for `df` > 0 degrees of freedom and 0 < p < 1; by bisection of `t_tail`."""
    if not 0 < p < 1 or df <= 0:
        raise ValueError(f"a t quantile needs 0 < p < 1 and df > 0, not p = {p}, df = {df}.")
    if p < 0.5:
        return -t_quantile(1 - p, df)
    tail, low, high = 1 - p, 0.0, 1.0
    while t_tail(high, df) > tail:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_tail(middle, df) > tail else (low, middle)
    return (low + high) / 2


def t_tail(t: float, df: float) -> float:
    """P(T > t) for t >= 0: half the regularised incomplete beta at df / (df + t^2) (Abramowitz & Stegun 26.7.1)."""
    square = t * t
    return 0.5 * _incomplete_beta(df / 2, 0.5, df / (df + square), square / (df + square))


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """I_x(a, b), with y = 1 - x given apart so that no digit is lost near x = 1."""
    if x <= 0 or y <= 0:
        return 0.0 if x <= 0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _beta_fraction(a, b, x) / a
    return 1 - math.exp(log_front) * _beta_fraction(b, a, y) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta (DLMF 8.17.22), evaluated by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
