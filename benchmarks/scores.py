"""LogME and H-score of one feature matrix, one thread: ours through one decomposition beside the straightforward ways.

Run `python benchmarks/scores.py` (about 15 minutes; `--samples 500 --features 100 --classes 10 --repeats 2` for a
look). *Per class* LogME forms the Gram matrix and its eigenvectors anew for every class and iterates the published
fixed point with them; that is timed on the first `--own` classes and multiplied, as every class costs the same.
*Shared* is the same loop with one decomposition for all classes, as later versions of the published code have it. The
direct H-score forms both covariances and a pseudo-inverse. Printed are medians over paired repeats of processor
seconds, the ratios, and the largest difference of any value. The bar: 5 times faster than the straightforward pair at
5,000 x 1,280 and 100 classes, equal to 1e-6.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from machine import say
from transferscope.measures.factored import factored, one_hot
from transferscope.measures.h_score import h_score
from transferscope.measures.logme import evidences

BAR, EQUAL = 5.0, 1e-6


def sample(n: int, d: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positive features of unequal scale, as after a ReLU, some of which tell the classes apart."""
    draw = np.random.default_rng(seed)
    y = np.concatenate((np.arange(k), draw.integers(0, k, n - k)))
    f = draw.normal(size=(n, d)) @ (draw.normal(size=(d, d)) / d**0.5 * np.exp(-3 * np.arange(d) / d))
    return np.maximum(f + draw.normal(size=(k, d))[y] * (draw.random(d) < 0.3), 0.0), y


def eigen(f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(f.T @ f)
    return np.maximum(values, 0.0), vectors


def fixed_point(f: np.ndarray, y: np.ndarray, values: np.ndarray, vectors: np.ndarray) -> float:
    """The published iteration over the two precisions, continued until it stands still."""
    n, d = f.shape
    a = b = 1.0
    along = vectors.T @ (f.T @ y)
    for _ in range(1_000):
        before = a / b
        used = (values / (values + before)).sum()
        mean = vectors @ (along * b / (a + b * values))
        error = ((y - f @ mean) ** 2).sum()
        a, b = used / (mean @ mean), (n - used) / error
        if abs(a / b - before) < 1e-9 * before:
            break
    whole = d * np.log(a) + n * np.log(b) - np.log(a + b * values).sum() - b * error - a * (mean @ mean)
    return float((whole / n - np.log(2 * np.pi)) / 2)


def per_class(f: np.ndarray, y: np.ndarray, classes: range) -> np.ndarray:
    return np.array([fixed_point(f, (y == c).astype(float), *eigen(f)) for c in classes])


def shared(f: np.ndarray, y: np.ndarray, classes: range) -> np.ndarray:
    values, vectors = eigen(f)
    return np.array([fixed_point(f, (y == c).astype(float), values, vectors) for c in classes])


def direct_h(f: np.ndarray, y: np.ndarray) -> float:
    means = np.zeros_like(f)
    for c in np.unique(y):
        means[y == c] = f[y == c].mean(0)
    inverse = np.linalg.pinv(np.cov(f, rowvar=False), rcond=1e-15, hermitian=True)
    return float(np.trace(inverse @ np.cov(means, rowvar=False)))


def ours(f: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    space = factored(f)
    return evidences(space, one_hot(y)), h_score(space, y)


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    began = time.process_time()
    found = call(*arguments)
    return time.process_time() - began, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--features", type=int, default=1_280)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--own", type=int, default=4, help="classes whose own matrices are formed")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    say("float64")
    every, own = range(given.classes), range(min(given.own, given.classes))
    seconds: dict[str, list[float]] = {}
    gaps: dict[str, float] = {"LogME of every class": 0.0, "H-score": 0.0, "LogME, own matrices": 0.0}
    for repeat in range(given.repeats):
        f, y = sample(given.samples, given.features, given.classes, repeat)
        spent, (fast, fast_h) = timed(ours, f, y)
        apart, few = timed(per_class, f, y, own)
        together, all_of = timed(shared, f, y, every)
        direct, slow_h = timed(direct_h, f, y)
        apart *= given.classes / len(own)
        for name, value in (
            ("ours, both scores", spent),
            ("LogME per class, own matrices", apart),
            ("LogME per class, shared matrices", together),
            ("H-score, direct", direct),
            ("ratio: straightforward pair / ours", (apart + direct) / spent),
            ("ratio: shared LogME + direct H-score / ours", (together + direct) / spent),
        ):
            seconds.setdefault(name, []).append(value)
        for name, gap in (
            ("LogME of every class", np.abs(fast - all_of).max()),
            ("LogME, own matrices", np.abs(fast[list(own)] - few).max()),
            ("H-score", abs(fast_h - slow_h)),
        ):
            gaps[name] = max(gaps[name], float(gap))
    print(f"{given.samples} x {given.features}, {given.classes} classes, {given.repeats} repeats, one thread")
    for name, values in seconds.items():
        unit = "x" if name.startswith("ratio") else " s"
        print(f"  {name:45s} {statistics.median(values):8.2f}{unit} ({min(values):.2f} to {max(values):.2f})")
    for name, gap in gaps.items():
        print(f"  largest difference, {name:25s} {gap:.1e} (bar {EQUAL:.0e}: {'met' if gap <= EQUAL else 'MISSED'})")
    ratio = statistics.median(seconds["ratio: straightforward pair / ours"])
    print(f"  bar {BAR:g}x: {'met' if ratio >= BAR else 'MISSED'} ({ratio:.1f}x)")


if __name__ == "__main__":
    main()
