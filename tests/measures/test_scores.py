"""LogME, H-score, LEEP, NCE, neighbours and the ridge probe against slow float64 code written from their formulas."""

import math

import numpy as np
import pytest

from transferscope.measures.factored import factored, one_hot
from transferscope.measures.h_score import h_score, shrinkage, shrunk_h_score
from transferscope.measures.logme import evidences, logme
from transferscope.measures.ridge import PENALTIES, ridge
from transferscope.measures.scores import leep, nce, neighbour_accuracy, softmax

SHAPES = {"tall": (90, 12, 4), "wide": (30, 50, 3), "two classes": (60, 8, 2)}


def made(kind: str, seed: int = 0, signal: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Features with a large mean, unequal scales and some signal; every class occurs."""
    n, d, k = SHAPES[kind]
    draw = np.random.default_rng([seed, n])
    y = np.concatenate((np.arange(k), draw.integers(0, k, n - k)))
    f = draw.normal(size=(n, d)) + signal * draw.normal(size=(k, d))[y] * (draw.random(d) < 0.5)
    return (f * np.exp(draw.normal(size=d)) + 3 * draw.random(d)), y


def marginal(f: np.ndarray, y: np.ndarray, a: float, b: float) -> float:
    """Log density of y when y = F w + noise, w ~ N(0, 1/a), noise ~ N(0, 1/b): a Gaussian of n dimensions."""
    cover = np.eye(len(y)) / b + f @ f.T / a
    return float(-(len(y) * math.log(2 * math.pi) + np.linalg.slogdet(cover)[1] + y @ np.linalg.solve(cover, y)) / 2)


def unlikely(logs: np.ndarray, f: np.ndarray, y: np.ndarray) -> float:
    return -marginal(f, y, *np.exp(np.clip(logs, -30, 30)))


def fixed_point(f: np.ndarray, y: np.ndarray) -> float:
    """The loop of the publication for one class, with d x d matrices of its own, until it stands still."""
    n, d = f.shape
    a = b = 1.0
    for _ in range(10_000):
        precision = a * np.eye(d) + b * f.T @ f
        mean = b * np.linalg.solve(precision, f.T @ y)
        used = d - a * np.trace(np.linalg.inv(precision))
        before = a / b
        a, b = used / (mean @ mean), (n - used) / ((y - f @ mean) @ (y - f @ mean))
        if abs(a / b - before) < 1e-12 * before:
            break
    precision = a * np.eye(d) + b * f.T @ f
    mean = b * np.linalg.solve(precision, f.T @ y)
    error = (y - f @ mean) @ (y - f @ mean)
    whole = d * math.log(a) + n * math.log(b) - np.linalg.slogdet(precision)[1] - b * error - a * mean @ mean
    return float((whole - n * math.log(2 * math.pi)) / 2 / n)


@pytest.mark.parametrize("kind", ["tall", "two classes"])
def test_logme_is_where_the_published_loop_ends(kind: str) -> None:
    f, y = made(kind)
    slow = [fixed_point(f, (y == c).astype(float)) for c in np.unique(y)]
    assert logme(f, y) == pytest.approx(np.mean(slow), abs=1e-9)


@pytest.mark.parametrize("kind", SHAPES)
def test_logme_is_the_highest_evidence_there_is(kind: str) -> None:
    """Against the density itself, searched over both precisions without any algebra."""
    optimize = pytest.importorskip("scipy.optimize")
    f, y = made(kind, signal=0.4)
    for c in np.unique(y):
        t = (y == c).astype(float)
        how = {"method": "Nelder-Mead", "options": {"xatol": 1e-8, "fatol": 1e-11, "maxiter": 4000}}
        found = [optimize.minimize(unlikely, (u, v), args=(f, t), **how).fun for u in (-3, 4) for v in (0, 3)]
        assert evidences(f, t[:, None])[0] == pytest.approx(-min(found) / len(y), abs=1e-7)


def test_logme_laws() -> None:
    f, y = made("tall")
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
    assert logme(f @ rotation * 1e3, y) == pytest.approx(logme(f, y), abs=1e-9)
    noise = np.random.default_rng(2).normal(size=f.shape)
    assert logme(f, y) > logme(noise, y)
    absent = np.concatenate((y, y)) * 2  # odd classes have no example
    twice = np.concatenate((f, f))
    assert logme(twice, absent) == pytest.approx(logme(twice, absent // 2), abs=1e-12)
    several = np.stack((y == 0, y == 2), axis=1).astype(np.uint8)
    assert logme(f, several) == pytest.approx(evidences(f, several.astype(float)).mean())


def covariance(x: np.ndarray) -> np.ndarray:
    gap = x - x.mean(0)
    return gap.T @ gap / len(x)


def means_of(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([f[y == c].mean(0) for c in y])


@pytest.mark.parametrize("kind", SHAPES)
def test_h_score_is_the_trace_of_its_definition(kind: str) -> None:
    f, y = made(kind)
    slow = np.trace(np.linalg.pinv(covariance(f), hermitian=True) @ covariance(means_of(f, y)))
    assert h_score(f, y) == pytest.approx(slow, abs=1e-8)
    assert 0 <= h_score(f, y) <= SHAPES[kind][2] - 1 + 1e-9
    if kind == "wide":
        assert h_score(f, y) == pytest.approx(2), "more features than examples: no use"


def test_h_score_with_a_constant_and_with_copied_features() -> None:
    f, y = made("tall")
    direct = h_score(f, y)
    assert h_score(np.c_[f, np.ones(len(f))], y) == pytest.approx(direct, abs=1e-9)
    assert h_score(np.c_[f, f[:, :3]], y) == pytest.approx(direct, abs=1e-9)
    assert h_score(f - f.mean(0), y) == pytest.approx(direct, abs=1e-9)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_shrunk_h_score_against_explicit_matrices(kind: str, shift: float) -> None:
    f, y = made(kind)
    f = f + shift
    gap = f - f.mean(0)
    cover, (n, d) = covariance(f), f.shape
    level = np.trace(cover) / d
    noise = np.mean([((np.outer(row, row) - cover) ** 2).sum() for row in gap]) / n
    a = min(1.0, noise / ((cover - level * np.eye(d)) ** 2).sum())
    slow = np.trace(np.linalg.inv((1 - a) * cover + a * level * np.eye(d)) @ covariance(means_of(f, y))) * (1 - a)
    assert shrinkage(factored(f)) == pytest.approx((a, level), rel=1e-6)
    assert shrunk_h_score(f, y) == pytest.approx(slow, abs=1e-6)


def test_shrinkage_is_that_of_scikit_learn() -> None:
    theirs = pytest.importorskip("sklearn.covariance")
    f, _ = made("wide")
    assert shrinkage(factored(f))[0] == pytest.approx(theirs.ledoit_wolf_shrinkage(f), rel=1e-9)


@pytest.mark.parametrize("kind", SHAPES)
def test_ridge_against_explicit_matrices(kind: str) -> None:
    f, y = made(kind)
    n, d = f.shape
    x, t = f - f.mean(0), one_hot(y)
    top = np.linalg.norm(f, 2) ** 2
    errors = {}
    for penalty in PENALTIES * top:
        inverse = np.linalg.inv(x.T @ x + penalty * np.eye(d))
        hat = x @ inverse @ x.T + np.full((n, n), 1 / n)
        left = n - np.trace(hat)
        if left > 1e-5 * n:
            errors[penalty] = n * ((t - hat @ t) ** 2).sum() / left**2 / t.shape[1]
    best = min(errors, key=errors.__getitem__)
    found = ridge(f, y)
    assert found.penalty == pytest.approx(best) and found.error == pytest.approx(errors[best], rel=1e-5)
    fresh = np.random.default_rng(5).normal(size=(7, d))
    weights = np.linalg.solve(x.T @ x + best * np.eye(d), x.T @ (t - t.mean(0)))
    np.testing.assert_allclose(found.predict(fresh), (fresh - f.mean(0)) @ weights + t.mean(0), atol=1e-6)


def test_ridge_takes_several_labels_absent_classes_and_a_penalty() -> None:
    f, y = made("tall")
    assert ridge(f, y, classes=6).predict(f).shape == (90, 6)
    several = np.stack((y == 0, y > 1), axis=1).astype(np.uint8)
    assert ridge(f, several).predict(f).shape == (90, 2)
    assert ridge(f, y, penalties=[2.5]).penalty == 2.5
    moved = ridge(f + 100.0, y, penalties=[2.5]).predict(f + 100.0)
    np.testing.assert_allclose(moved, ridge(f, y, penalties=[2.5]).predict(f), atol=1e-8)


def test_one_decomposition_serves_all() -> None:
    f, y = made("tall")
    space = factored(f)
    for score in (logme, h_score, shrunk_h_score):
        assert score(space, y) == score(f, y)
    np.testing.assert_array_equal(ridge(space, y).weights, ridge(f, y).weights)
    np.testing.assert_allclose(space.mean, f.mean(0), rtol=1e-12)


def source(n: int = 40, z: int = 6) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    return softmax(3 * draw.normal(size=(n, z))), draw.integers(0, 3, n)


def test_leep_and_nce_against_loops() -> None:
    theta, y = source()
    n, z = theta.shape
    hard = theta.argmax(1)
    slow_leep = slow_nce = 0.0
    for i in range(n):
        inner = 0.0
        for s in range(z):
            joint = sum(theta[j, s] for j in range(n) if y[j] == y[i]) / n
            inner += joint / (sum(theta[j, s] for j in range(n)) / n) * theta[i, s]
        slow_leep += math.log(inner) / n
        same = [j for j in range(n) if hard[j] == hard[i]]
        slow_nce += math.log(sum(y[j] == y[i] for j in same) / len(same)) / n
    assert leep(theta, y) == pytest.approx(slow_leep, abs=1e-12) and leep(theta, y) < 0
    assert nce(theta, y) == pytest.approx(slow_nce, abs=1e-12)
    one = np.eye(4)[[0, 1, 2, 3, 1]]
    assert leep(one, np.array([0, 1, 2, 3, 1])) == 0 == nce(one, np.array([0, 1, 2, 3, 1]))


@pytest.mark.parametrize("k", [1, 4, 5])
def test_neighbours_against_loops(k: int) -> None:
    f, y = made("tall")
    n = len(y)
    right = []
    for i in range(n):
        near = sorted(
            (j for j in range(n) if j != i), key=lambda j: -(f[i] @ f[j]) / np.linalg.norm(f[i]) / np.linalg.norm(f[j])
        )[:k]
        votes = [y[j] for j in near]
        tied = {c for c in votes if votes.count(c) == max(votes.count(v) for v in votes)}
        right.append(next(v for v in votes if v in tied) == y[i])
    assert neighbour_accuracy(f, y, k) == pytest.approx(np.mean(right), abs=1e-12)
    assert neighbour_accuracy(f, y, k, queries=20) == pytest.approx(np.mean(right[:20]), abs=1e-12)


def test_what_cannot_be_scored_is_refused() -> None:
    f, y = made("tall")
    broken = f.copy()
    broken[3, 2] = np.nan
    for score in (logme, h_score, shrunk_h_score, ridge, neighbour_accuracy):
        with pytest.raises(ValueError, match="NaN"):
            score(broken, y)
        with pytest.raises(ValueError):
            score(f, y[:-1])
    with pytest.raises(ValueError, match="zero"):
        factored(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="softmax"):
        leep(np.ones((3, 2)), np.arange(3))
    with pytest.raises(ValueError, match="equal"):
        shrunk_h_score(np.ones((5, 3)), np.array([0, 1, 0, 1, 0]))
