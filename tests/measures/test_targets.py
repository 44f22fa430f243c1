"""Scores of numbers, grades, imbalanced classes and calibration against scikit-learn, and against their own parts."""

import numpy as np
import pytest
from scipy import stats

from transferscope import answers
from transferscope.errors import UserError
from transferscope.measures import calibration, every_score, imbalance, judged, left_out, regression
from transferscope.measures.lacking import lacking

oracle = pytest.importorskip("sklearn.metrics")
RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(60, 3)) * [1, 5, 100] + [0, 3, -40]
GUESS = TRUTH + RNG.normal(size=(60, 3)) * [0.5, 6, 20]
CLASSES = RNG.choice(4, 80, p=[0.7, 0.2, 0.08, 0.02])
LOGITS = RNG.normal(size=(80, 4)) + 1.5 * np.eye(4)[CLASSES]
LABELS = (RNG.random((80, 3)) < [0.1, 0.4, 0.8]).astype(np.uint8)
SEVERAL = RNG.normal(size=(80, 3)) + LABELS


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_errors_of_numbers_are_those_of_scikit_learn():
    assert regression.r_squared(GUESS, TRUTH) == pytest.approx(oracle.r2_score(TRUTH, GUESS))
    raw = "raw_values"
    assert regression.rmse(GUESS, TRUTH) == pytest.approx(
        oracle.mean_squared_error(TRUTH, GUESS, multioutput=raw) ** 0.5
    )
    assert regression.mae(GUESS, TRUTH) == pytest.approx(oracle.mean_absolute_error(TRUTH, GUESS, multioutput=raw))
    ties = np.round(TRUTH, -1)
    expected = np.mean([stats.spearmanr(GUESS[:, j], ties[:, j]).statistic for j in range(1, 3)])
    assert regression.spearman(GUESS[:, 1:], ties[:, 1:]) == pytest.approx(expected)


def test_huber_is_that_of_torch():
    import torch

    mine = regression.huber(GUESS, TRUTH)
    assert mine == pytest.approx(float(torch.nn.HuberLoss()(torch.tensor(GUESS), torch.tensor(TRUTH))))


def test_r_squared_does_not_change_with_scale_and_shift_and_its_parts_add_up():
    centre, scale = np.array([4.0, -1.0, 0.3]), np.array([2.0, 0.1, 30.0])
    moved = regression.r_squared((GUESS - centre) / scale, (TRUTH - centre) / scale)
    assert moved == pytest.approx(regression.r_squared(GUESS, TRUTH))
    assert judged.parts(GUESS, TRUTH, "r2").mean() == pytest.approx(judged.score(GUESS, TRUTH, "r2"))
    assert 1 - judged.wrong(GUESS, TRUTH).mean() == pytest.approx(judged.score(GUESS, TRUTH, "r2"))


def test_a_number_that_does_not_vary_has_no_score():
    flat = np.full((10, 1), 3.0)
    assert judged.score(flat, flat, "r2") is None and judged.score(flat, flat, "spearman") is None
    assert judged.parts(flat, flat, "r2") is None and np.isfinite(judged.wrong(flat, flat)).all()
    both = np.concatenate([flat, TRUTH[:10, :1]], axis=1)
    assert judged.score(both, both, "r2") == 1.0, "the other number is scored"
    mean = np.broadcast_to(TRUTH.mean(0), TRUTH.shape)
    assert judged.score(mean, TRUTH, "r2") == pytest.approx(0) and judged.chance(TRUTH, 3, "r2") == (0.0, 0.0)
    assert judged.score(mean, TRUTH, "spearman") == 0.0


def test_residuals_correlate_as_numpy_says():
    other = TRUTH + RNG.normal(size=TRUTH.shape)
    found = regression.residual_correlation(GUESS, other, TRUTH)
    expected = [np.corrcoef(GUESS[:, j] - TRUTH[:, j], other[:, j] - TRUTH[:, j])[0, 1] for j in range(3)]
    assert found == pytest.approx(expected)
    assert np.isnan(regression.residual_correlation(TRUTH, other, TRUTH)).all(), "nothing is left to correlate"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        judged.score(np.array([[bad], [0.0]]), np.array([[1.0], [2.0]]), "r2")


SCALE = (2.0, 0.5, 40.0)


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_an_error_judges_as_its_negative_in_the_units_of_the_numbers(metric):
    """Of several numbers the mean over them, as scikit-learn has it; the worse of two has the lower score."""
    how = {"rmse": oracle.root_mean_squared_error, "mae": oracle.mean_absolute_error}[metric]
    expected = how(TRUTH * SCALE, GUESS * SCALE)
    assert judged.score(GUESS, TRUTH, metric, SCALE) == pytest.approx(-expected)
    assert judged.score(GUESS + 7, TRUTH + 7, metric) == pytest.approx(-how(TRUTH, GUESS)), "a shift is no error"
    assert judged.parts(GUESS, TRUTH, metric, SCALE).mean() == pytest.approx(-expected)
    worse = TRUTH + 2 * (GUESS - TRUTH)
    assert judged.score(worse, TRUTH, metric) < judged.score(GUESS, TRUTH, metric) < 0
    one = answers.METRICS[metric]
    assert one.told(-expected) == expected and one.told(None) is None and one.best == 0 and one.times == 1


@pytest.mark.parametrize(("metric", "strategy"), [("rmse", "mean"), ("mae", "median")])
def test_chance_is_the_error_of_the_best_constant(metric, strategy):
    dummy = pytest.importorskip("sklearn.dummy").DummyRegressor(strategy=strategy).fit(TRUTH, TRUTH)
    constant = judged.score(dummy.predict(TRUTH), TRUTH, metric, SCALE)
    assert judged.chance(TRUTH, 3, metric, SCALE) == (pytest.approx(constant), 0.0)
    moved = [judged.score(dummy.predict(TRUTH) + by, TRUTH, metric, SCALE) for by in (-0.3, 0.3)]
    assert max(moved) <= constant, "no other constant is better"


# -- classes, grades, labels -------------------------------------------------------------------------------------------


def test_scores_of_classes_are_those_of_scikit_learn():
    said = LOGITS.argmax(1)
    assert judged.score(LOGITS, CLASSES, "balanced_accuracy") == pytest.approx(
        oracle.balanced_accuracy_score(CLASSES, said)
    )
    assert judged.score(LOGITS, CLASSES, "macro_f1") == pytest.approx(oracle.f1_score(CLASSES, said, average="macro"))
    assert judged.score(LOGITS, CLASSES, "kappa") == pytest.approx(
        oracle.cohen_kappa_score(CLASSES, said, weights="quadratic", labels=range(4))
    )


def test_average_precision_is_that_of_scikit_learn_ties_and_gaps_too():
    scores = np.round(SEVERAL, 0)
    expected = [oracle.average_precision_score(LABELS[:, j], scores[:, j]) for j in range(3)]
    assert judged.score(scores, LABELS, "average_precision") == pytest.approx(np.mean(expected))
    gaps = LABELS.astype(np.int8)
    gaps[::3, 1] = answers.MISSING
    kept = gaps[:, 1] >= 0
    expected[1] = oracle.average_precision_score(LABELS[kept, 1], scores[kept, 1])
    assert judged.score(scores, gaps, "average_precision") == pytest.approx(np.mean(expected))
    two = np.stack([-SEVERAL[:, 1], SEVERAL[:, 1]], 1)
    expected = oracle.average_precision_score(LABELS[:, 1], SEVERAL[:, 1])
    assert judged.score(two, LABELS[:, 1].astype(np.int64), "average_precision") == pytest.approx(expected)


def test_labels_that_are_not_known_change_nothing():
    """Leaving cells out is scoring every label on the images that have it; whatever the outputs there say."""
    gaps = LABELS.astype(np.int8)
    gaps[:25, 0] = gaps[40:, 2] = answers.MISSING
    other = SEVERAL.copy()
    other[gaps < 0] = 100.0
    for metric in ("auc", "average_precision", "macro_f1"):
        assert judged.score(SEVERAL, gaps, metric) == judged.score(other, gaps, metric)
    assert judged.losses(SEVERAL, gaps) == pytest.approx(judged.losses(other, gaps))
    known = gaps >= 0
    each = np.logaddexp(0, -SEVERAL) * LABELS + np.logaddexp(0, SEVERAL) * (1 - LABELS)
    assert judged.losses(SEVERAL, gaps).mean() == pytest.approx(each[known].mean()), "the mean over what is known"
    expected = np.mean([oracle.roc_auc_score(LABELS[known[:, j], j], SEVERAL[known[:, j], j]) for j in range(3)])
    assert judged.score(SEVERAL, gaps, "auc") == pytest.approx(expected)
    assert judged.parts(SEVERAL, gaps, "auc").mean() == pytest.approx(expected)
    assert judged.wrong(SEVERAL, gaps) == pytest.approx(judged.wrong(other, gaps))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "kappa"])
def test_parts_add_up_to_the_score_and_foretell_its_spread(metric):
    """The standard error that the parts of single images give is that of scores on images drawn again."""
    assert judged.parts(LOGITS, CLASSES, metric).mean() == pytest.approx(judged.score(LOGITS, CLASSES, metric))
    rng = np.random.default_rng(1)
    classes = rng.choice(3, 600)
    logits = rng.normal(size=(600, 3)) + np.eye(3)[classes]
    error = judged.parts(logits, classes, metric).std() / np.sqrt(600)
    rows = rng.integers(600, size=(400, 600))
    drawn = np.std([judged.score(logits[row], classes[row], metric) for row in rows])
    assert error == pytest.approx(drawn, rel=0.15)  # 400 draws: a standard error of 3.5%


GAPS = LABELS.astype(np.int8)
GAPS[::7, 2] = answers.MISSING
CASES = {
    ("rmse", "numbers"): (GUESS, TRUTH),
    ("mae", "numbers"): (GUESS, TRUTH),
    ("spearman", "numbers"): (GUESS, TRUTH),
    ("macro_f1", "class"): (LOGITS, CLASSES),
    ("macro_f1", "labels"): (SEVERAL, GAPS),
    ("average_precision", "labels"): (SEVERAL, GAPS),
    ("average_precision", "class"): (np.stack([-SEVERAL[:, 1], SEVERAL[:, 1]], 1), LABELS[:, 1].astype(np.int64)),
    ("balanced_accuracy", "class"): (LOGITS, CLASSES),
    ("kappa", "grade"): (LOGITS, CLASSES),
    ("auc", "labels"): (SEVERAL, GAPS),
}


@pytest.mark.parametrize(("metric", "kind"), CASES)
def test_what_images_lack_of_the_best_adds_up_and_foretells_its_spread(metric, kind):
    """Their mean is exact, and their standard error that of scores on images drawn again."""
    out, truth = CASES[metric, kind]
    lost = lacking(out, truth, metric)
    assert lost.mean() == pytest.approx(answers.METRICS[metric].best - judged.score(out, truth, metric), abs=1e-9)
    out, truth = (np.tile(one, (4, 1) if one.ndim == 2 else 4) for one in (out, truth))
    error = lacking(out, truth, metric).std() / np.sqrt(len(out))
    rng = np.random.default_rng(2)
    drawn = [judged.score(out[row], truth[row], metric) for row in rng.integers(len(out), size=(300, len(out)))]
    assert error == pytest.approx(np.std(drawn), rel=0.2)  # 300 draws: a standard error of 4%, of rare classes more


@pytest.mark.parametrize("ties", [False, True])
def test_ranks_without_an_example_are_those_of_the_others(ties, monkeypatch):
    monkeypatch.setattr(left_out, "CELLS", 200)  # several blocks
    rng = np.random.default_rng(3)
    x, y, label = rng.normal(size=40), rng.normal(size=40), (rng.random(40) < 0.3).astype(int)
    x, y = (np.round(x), np.round(y)) if ties else (x, y)
    others = [np.arange(40) != i for i in range(40)]
    slow = [stats.spearmanr(x[of], y[of]).statistic for of in others]
    assert left_out.spearman(x, y) == pytest.approx(slow)
    slow = [oracle.average_precision_score(label[of], x[of]) for of in others]
    assert left_out.average_precision(x, label) == pytest.approx(slow)
    lone = np.array([1, 0, 0, 0])
    assert np.isnan(left_out.average_precision(x[:4], lone)).tolist() == [True, False, False, False]
    assert np.isnan(left_out.spearman([1.0, 1.0, 2.0], [1.0, 2.0, 3.0])).tolist() == [False, False, True]
    assert left_out.jackknifed(np.array([np.nan, 1.0, 2.0]), 5.0).mean() == pytest.approx(5)


def test_what_images_lack_is_not_known_where_the_metric_is_undefined():
    one = np.zeros((6, 2), dtype=np.uint8)
    for metric in ("average_precision", "macro_f1"):
        assert np.isnan(lacking(np.ones((6, 2)), one, metric)).all()
    assert np.isnan(lacking(np.ones((6, 1)), np.ones((6, 1)), "spearman")).all()


def test_chance_is_what_one_answer_scores():
    constant = np.zeros((80, 4))
    constant[:, np.bincount(CLASSES).argmax()] = 1.0
    for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert judged.chance(CLASSES, 4, metric)[0] == pytest.approx(judged.score(constant, CLASSES, metric)), metric
    assert judged.chance(CLASSES, 4, "kappa")[0] == judged.score(constant, CLASSES, "kappa")
    flat = judged.score(np.zeros((80, 3)), LABELS, "average_precision")
    assert judged.chance(LABELS, 3, "average_precision")[0] == pytest.approx(flat)


def test_calibration_against_definitions_written_out():
    p = calibration.probabilities(LOGITS)
    assert p == pytest.approx(np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True))
    truth = np.eye(4)[CLASSES]
    assert calibration.brier(p, truth) == pytest.approx(sum(((p[i] - truth[i]) ** 2).sum() for i in range(80)) / 80)
    two = calibration.probabilities(SEVERAL[:, :1], several=True)
    expected = oracle.brier_score_loss(LABELS[:, 0], two[:, 0])
    assert calibration.brier(two, LABELS[:, :1]) == pytest.approx(expected)
    sure, right = p.max(1), p.argmax(1) == CLASSES
    found = 0.0
    for low in np.arange(15) / 15:
        inside = (sure > low) & (sure <= low + 1 / 15)
        found += abs(right[inside].mean() - sure[inside].mean()) * inside.mean() if inside.any() else 0.0
    assert calibration.calibration_error(sure, right) == pytest.approx(found)
    assert calibration.calibration_error([0.5] * 10, [1, 0] * 5) == 0


def test_tables_hold_every_score_and_every_class():
    rows = every_score.by_answer([LOGITS, LOGITS], CLASSES, ["a", "b", "c", "d"], "class")
    p, r, f, n = oracle.precision_recall_fscore_support(CLASSES, LOGITS.argmax(1), zero_division=np.nan)
    assert [row["examples"] for row in rows] == n.tolist()
    assert [row["recall"] for row in rows] == pytest.approx(r) and [row["F1"] for row in rows] == pytest.approx(f)
    assert [row["precision"] for row in rows] == pytest.approx(p)
    assert all(0 <= row["low"] < row["recall"] + 1e-9 and row["recall"] - 1e-9 < row["high"] <= 1 for row in rows)
    whole = every_score.overall(LOGITS, CLASSES, "grade")
    assert {"quadratic kappa", "accuracy", every_score.ECE, every_score.BRIER, every_score.GRADES} <= set(whole)
    assert "AUC" not in whole, "of four classes"
    numbers = every_score.by_answer([GUESS], TRUTH, ["x", "y", "z"], "numbers")
    assert [row["RMSE"] for row in numbers] == pytest.approx(regression.rmse(GUESS, TRUTH))
    labels = every_score.by_answer([SEVERAL], LABELS, ["x", "y", "z"], "labels")
    assert [row["carry it"] for row in labels] == LABELS.sum(0).tolist()


# -- which metric may judge what ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "classes", "sentence"),
    [
        ("acuracy", "class", 3, "there is no metric 'acuracy'; did you mean 'accuracy'?"),
        ("auc", "class", 3, "'auc' cannot judge 3 exclusive classes"),
        ("r2", "class", 2, "'r2' cannot judge 2 exclusive classes"),
        ("accuracy", "numbers", 1, "'accuracy' cannot judge numbers; write one of r2, spearman, rmse, mae."),
        ("kappa", "labels", 4, "'kappa' cannot judge labels"),
    ],
)
def test_a_metric_that_cannot_judge_is_one_sentence(name, kind, classes, sentence):
    with pytest.raises(UserError) as refused:
        answers.judges(name, kind, classes)
    assert sentence in str(refused.value)


def test_every_metric_has_a_score_and_a_best_one():
    for name, how in answers.METRICS.items():
        for kind in how.of:
            if kind == "numbers":
                out, truth = TRUTH, TRUTH
            elif kind == "labels":
                out, truth = 2.0 * LABELS - 1, LABELS
            else:
                truth = CLASSES % 2
                out = np.eye(2)[truth]
            assert judged.score(out, truth, name) == pytest.approx(how.best), (name, kind)
            assert np.mean(lacking(out, truth, name)) == pytest.approx(0, abs=1e-12)
            assert answers.judges(name, kind, out.shape[1]) == name


def test_strata_of_numbers_are_tenths_of_their_rank():
    numbers = RNG.normal(size=(100, 1))
    found = answers.strata(numbers)
    assert np.bincount(found).tolist() == [10] * 10
    assert (np.diff(found[np.argsort(numbers[:, 0])]) >= 0).all()
    assert set(answers.strata(numbers[:15])) == {0}, "few examples are not divided"
    assert imbalance.confusion([0, 1], [1, 1], 2).tolist() == [[0, 0], [1, 1]]


def test_the_variance_of_a_balanced_accuracy_is_that_of_its_recalls() -> None:
    """Of independent recalls (Brodersen et al. 2010): sum of r (1 - r) / n over classes, over their number squared."""
    draws = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [400, 60, 12])
    said = np.where(draws.random(len(truth)) < np.array([0.9, 0.6, 0.3])[truth], truth, (truth + 1) % 3)
    parts = imbalance.balanced_parts(said, truth, 3)
    recalls = np.array([(said == truth)[truth == label].mean() for label in range(3)])
    counts = np.bincount(truth)
    assert parts.mean() == pytest.approx(recalls.mean())
    assert parts.var() / len(truth) == pytest.approx((recalls * (1 - recalls) / counts).sum() / 9)
    again = [draws.integers(0, len(truth), len(truth)) for _ in range(4000)]
    seen = np.std([oracle.balanced_accuracy_score(truth[rows], said[rows]) for rows in again])
    assert np.sqrt(parts.var() / len(truth)) == pytest.approx(seen, rel=0.1)
