"""Gains over trainings and test images: what sections print against the definition, worked out from saved logits."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from smoke import study as smoke

from transferscope.analyses import transfer
from transferscope.analyses._shared import gains
from transferscope.engine.table import ResultTable
from transferscope.measures import judged
from transferscope.measures.intervals import paired_interval
from transferscope.measures.judged import score
from transferscope.measures.student import t_quantile
from transferscope.report import wording

from .conftest import finish

EVERY = (
    "{transfer: {}, reuse: {at: [1]}, labels: {fractions: [0.5, 1.0]}, shuffle: {blocks: [8]}, "
    "tuning: {top: [2], rates: [1], head_rates: [1]}, choose: {against: all}}"
)
SHORT = {"analyses": EVERY, "recipe.epochs": "1", "seeds": "3"}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory):
    """Accuracies: three seeds of all analyses that print gains."""
    return finish(smoke.write(tmp_path_factory.mktemp("three")), SHORT)


def listed(folder: Path, label) -> Path:
    """The smoke study on its images with the labels that `label(i)` gives them."""
    path = smoke.write(folder)
    images = sorted((folder / "images").rglob("*.png"))
    lines = [f"{image.relative_to(folder)},{label(i)}" for i, image in enumerate(images)]
    (folder / "labels.csv").write_text("\n".join(["image,labels", *lines]))
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory):
    """AUCs of two classes that no network tells apart."""
    path = listed(tmp_path_factory.mktemp("two"), lambda i: "ab"[i % 2])
    return finish(path, SHORT | {"targets": "{shapes: 'csv:labels.csv'}", "analyses": "[transfer]"})


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory):
    """AUCs of several labels an image."""
    path = listed(tmp_path_factory.mktemp("several"), lambda i: f"{'ab'[i % 2]}{'|c' * (i % 3 == 0)}")
    return finish(path, SHORT | {"targets": "{several: 'csv:labels.csv'}", "analyses": "[transfer]"})


def run_of(done, labels: dict, analysis: str) -> Path:
    """The folder of a training run, by following `step.json`."""
    (found,) = (a for said, a in done.table(analysis).artifacts if labels.items() <= said.items())
    params = json.loads((found.path / "step.json").read_text())["params"]
    return done.store.root.joinpath(*params["run"]["$step"]) if "run" in params else found.path


def slow_parts(folder: Path, at: str = "final") -> tuple[list[float], float]:
    """Each test image's part in the score of a run, and that score, one image and one pair of images after another."""
    params = json.loads((folder / "step.json").read_text())["params"]
    data = folder.parents[1].joinpath(*params["data"]["$step"])
    words = json.loads((data / "table.json").read_text())["splits"]
    test = [row for row, word in enumerate(words) if word == "test"]
    labels = load_file(data / "labels.safetensors")["labels"][test]
    logits = load_file(folder / f"predictions-{at}.safetensors")["test"].astype(np.float64)
    n = len(test)
    if labels.ndim == 1 and logits.shape[1] > 2:
        right = [float(max(range(logits.shape[1]), key=lambda j: logits[i, j]) == labels[i]) for i in range(n)]
        return right, sum(right) / n
    if labels.ndim == 1:
        logits, labels = (logits[:, 1] - logits[:, 0])[:, None], labels[:, None]
    parts, areas = np.zeros(n), []
    columns = [j for j in range(labels.shape[1]) if 0 < labels[:, j].sum() < n]
    for j in columns:
        ones, zeros = ([i for i in range(n) if labels[i, j] == value] for value in (1, 0))
        won = {
            (p, q): float(logits[p, j] > logits[q, j]) + 0.5 * float(logits[p, j] == logits[q, j])
            for p in ones
            for q in zeros
        }
        areas.append(sum(won.values()) / len(won))
        for p in ones:
            parts[p] += areas[-1] + n / len(ones) * (sum(won[p, q] for q in zeros) / len(zeros) - areas[-1])
        for q in zeros:
            parts[q] += areas[-1] + n / len(zeros) * (sum(won[p, q] for p in ones) / len(ones) - areas[-1])
    return list(parts / len(columns)), sum(areas) / len(areas)


def slow_interval(d: np.ndarray, span: float | None) -> tuple[float, float, float]:
    """Mean and ends of docs/statistics.md, sum by sum."""
    n, images = d.shape
    mean = sum(d[i, j] for i in range(n) for j in range(images)) / (n * images)
    rows = [sum(d[i]) / images for i in range(n)]
    columns = [sum(d[:, j]) / n for j in range(images)]
    s = images * sum((r - mean) ** 2 for r in rows) / (n - 1)
    c = n * sum((x - mean) ** 2 for x in columns) / (images - 1)
    left = [(d[i, j] - rows[i] - columns[j] + mean) ** 2 for i in range(n) for j in range(images)]
    r = sum(left) / ((n - 1) * (images - 1))
    v = s + max(c - r, 0)
    half = 0.0
    if v > 0:
        freedom = v**2 / (s**2 / (n - 1) + c**2 / (images - 1) + r**2 / ((n - 1) * (images - 1)))
        half = t_quantile(0.975, min(max(freedom, n - 1), 1.5 * (n - 1))) * (v / (n * images)) ** 0.5
    if span is not None:
        z2 = 1.959963984540054**2
        half = max(half, span * z2 / (images + z2))
    return mean, mean - half, mean + half


def matrix(done, analysis: str, labels: dict) -> np.ndarray:
    """(seeds, images) of the runs with these labels."""
    return np.array([slow_parts(run_of(done, labels | {"seed": seed}, analysis))[0] for seed in (0, 1, 2)])


def check(finding, d: np.ndarray, span: float | None) -> None:
    mean, low, high = slow_interval(d, span)
    assert (finding.effect, finding.low, finding.high) == pytest.approx((mean, low, high), abs=1e-9)
    assert finding.n == 3 and finding.images == d.shape[1]


def finding(section, *words: str):
    return next(f for f in section.findings if all(word in f.text for word in words))


def test_the_gain_of_transfer_is_over_trainings_and_images(three) -> None:
    tuned, scratch = (matrix(three, "transfer", {"arm": arm}) for arm in ("pretrained", "random"))
    section = three.section("transfer")
    check(finding(section, "the final test"), 100 * (tuned - scratch), 100.0)
    assert "are over trainings and test images; all others are over seeds" in section.basis
    assert f"3 seeds, {tuned.shape[1]} images" in wording.interval(section.findings[0])
    assert section.findings[1].images is None, "speed is of training images"
    at_best = [
        np.array([slow_parts(run_of(three, {"arm": arm, "seed": seed}, "transfer"), "best")[0] for seed in (0, 1, 2)])
        for arm in ("pretrained", "random")
    ]
    mean, low, high = slow_interval(100 * (at_best[0] - at_best[1]), 100.0)
    shown = section.tables[0].rows.filter(pl.col("arm") == "pretrained")["points over random at the best"][0]
    assert shown == f"{mean:z.1f} [{low:z.1f}, {high:z.1f}], n = 3"


@pytest.mark.parametrize("kind", ["two", "several"])
def test_an_auc_counts_by_what_each_image_adds(kind: str, request: pytest.FixtureRequest) -> None:
    done = request.getfixturevalue(kind)
    table = done.table("transfer")
    falls = table.rows.with_columns(train_loss=-pl.col("epoch").cast(pl.Float64))  # as if all of the few steps learnt
    section = transfer.section(replace(table, rows=falls), transfer.Options())
    assert table.rows["metric"][0] == "auc"
    tuned, scratch = (matrix(done, "transfer", {"arm": arm}) for arm in ("pretrained", "random"))
    check(finding(section, "the final test AUC"), 100 * (tuned - scratch), None)
    for arm, of in (("pretrained", tuned), ("random", scratch)):
        for seed in range(3):
            parts, area = slow_parts(run_of(done, {"arm": arm, "seed": seed}, "transfer"))
            assert np.mean(of[seed]) == pytest.approx(area, abs=1e-12) and list(of[seed]) == parts


@pytest.mark.parametrize("kind", ["three", "two", "several"])
def test_the_mean_of_the_parts_is_the_score_that_the_table_holds(kind: str, request: pytest.FixtureRequest) -> None:
    done = request.getfixturevalue(kind)
    from transferscope.analyses._shared.outcomes import summarise

    table = done.table("transfer")
    runs = gains.with_parts(summarise(table.rows), table, ["target", "arm", "seed"])
    assert runs["final_parts"].null_count() == 0
    means = [float(parts.mean()) for parts in runs["final_parts"]]
    assert means == pytest.approx(runs["final"].to_list(), abs=1e-12)
    best = gains.with_parts(summarise(table.rows), table, ["target", "arm", "seed"], "best", "best")
    assert best["best_parts"].null_count() == 0


def test_labels_tuning_reuse_shuffle_and_choose(three) -> None:
    section = three.section("labels")
    counts = three.table("labels").rows.filter(pl.col("arm") == "random").sort("images")
    for fraction in (0.5, 1.0):
        images = counts.filter(pl.col("fraction") == fraction)["images"][0]
        d = [matrix(three, "labels", {"arm": arm, "fraction": fraction}) for arm in ("pretrained", "random")]
        check(finding(section, f"with {images} labelled images"), 100 * (d[0] - d[1]), 100.0)

    ways = {way: matrix(three, "tuning", {"way": way}) for way in ("linear probe", "full", "probe, then full")}
    section = three.section("tuning")
    check(finding(section, "only the head"), 100 * (ways["linear probe"] - ways["full"]), 100.0)
    check(finding(section, "begins where"), 100 * (ways["probe, then full"] - ways["full"]), 100.0)

    whole, stats = (matrix(three, "reuse", {"arm": arm}) for arm in ("pretrained", "stats"))
    p, r = (of.mean(1, keepdims=True) for of in (whole, stats))
    drop = 100 * (1 - r / p) + 100 * (r / p**2 * (whole - p) - (stats - r) / p)
    reach = 100 * max(float((1 / p).max()), float((r / p**2).max()))
    check(finding(three.section("reuse"), "only their means and variances"), drop, reach)
    short = three.section("reuse").tables[0].rows
    text = short.filter(pl.col("start") == "stats")["points short of pretrained"][0]
    mean, low, high = slow_interval(100 * (whole - stats), 100.0)
    assert text == f"{mean:z.1f} [{low:z.1f}, {high:z.1f}], n = 3"

    tuned, scratch = (matrix(three, "shuffle", {"arm": arm, "block": "8"}) for arm in ("pretrained", "random"))
    mean, low, high = slow_interval(100 * (tuned - scratch), 100.0)
    table = three.section("shuffle").tables[0].rows
    assert table.filter(pl.col("block") == "8")["gain, points"][0] == f"{mean:z.1f} [{low:z.1f}, {high:z.1f}], n = 3"


def test_choose_reads_the_best_of_the_other_seeds(three) -> None:
    """How far a candidate is behind whichever is best in all other seeds, image by image."""
    from transferscope.analyses.choose import page

    table = three.table("choose")
    rows = page.with_parts(table.rows, table).filter(pl.col("what") == "run")
    names = rows["candidate"].unique(maintain_order=True).to_list()
    of = {name: matrix(three, "choose", {"candidate": name, "what": "run"}) for name in names}
    for chosen in names:
        d = []
        for seed in range(3):
            others = [i for i in range(3) if i != seed]
            best = max(names, key=lambda name: np.mean([of[name][i].mean() for i in others]))
            d.append(100 * (of[best][seed] - of[chosen][seed]))
        found = page._behind(rows, names, chosen).interval()
        want = slow_interval(np.array(d), 100.0)
        assert (found.mean, found.low, found.high) == pytest.approx(want, abs=1e-9)
        assert found.images == d[0].size
    assert "are over trainings and test images" in three.section("choose").basis


def test_points_of_error_are_those_of_the_answers(finished) -> None:
    d = []
    for labels, artifact in finished.table("mistakes").artifacts:
        if labels["pair"] == "P-T & RI-T":
            params = json.loads((artifact.path / "step.json").read_text())["params"]
            a, b = (slow_parts(finished.store.root.joinpath(*params[side]["$step"]))[0] for side in "ab")
            d.append(100 * (np.array(a) - np.array(b)))
    found = next(f for f in finished.section("mistakes").findings if f.unit == "points of error")
    assert (found.effect, found.low, found.high) == pytest.approx(slow_interval(np.array(d), 100.0), abs=1e-9)
    assert found.n == 2 and found.images == d[0].size
    logits, labels = np.array([[1.0, -1.0], [2.0, 3.0]]), np.array([[1, 1], [1, 1]])
    assert list(judged.parts(logits, labels, "accuracy")) == [0.5, 1.0], "several labels an image: every answer counts"


def test_checkpoints_are_compared_over_images_too(tmp_path: Path) -> None:
    """The gain of a whole pretraining, claim 10, and how far a checkpoint may be behind another at most."""
    from transferscope.analyses.checkpoint import sweep

    how = "{source: 'folder:images', labels: [true], recipe: {epochs: 4, augment: null}}"
    options = "{checkpoint: {seeds: 3, lines: false}}"
    done = finish(smoke.write(tmp_path), SHORT | {"pretrained": how, "analyses": options})
    table, section = done.table("checkpoint"), done.section("checkpoint")
    rows = table.rows.filter(pl.col("what") == "run")
    names = dict(rows.sort("place").select("place", "checkpoint").unique(maintain_order=True).iter_rows())
    of = [matrix(done, "checkpoint", {"checkpoint": name, "what": "run"}) for name in names.values()]
    epochs = rows.sort("place")["pretrained_epochs"].unique(maintain_order=True).to_list()
    early = max(i for i, epoch in enumerate(epochs) if 0 < epoch <= epochs[-1] / 2)
    claim = next(f for f in section.findings if f.claim == 10)
    check(claim, 100 * (of[early] - of[0] - 0.8 * (of[-1] - of[0])), 100.0)
    runs = gains.with_parts(sweep.finished(rows), table, ["target", "track", "checkpoint", "seed"])
    places, choice = sweep.earliest(runs, "final", 1.0)
    assert places == list(range(len(of)))
    for a, limit in enumerate(choice.limits):
        leads = [
            gains.Scores(d.mean(1), d, (-100.0, 100.0))
            for b, d in ((b, 100 * (x - of[a])) for b, x in enumerate(of))
            if b != a
        ]
        assert limit == pytest.approx(max(lead.interval(0.9).high for lead in leads), abs=1e-9)
    assert sweep.gap(runs, places[-1], 0, "speed").images is None


def test_without_answers_intervals_are_over_seeds_and_the_page_says_so(three, tmp_path: Path) -> None:
    """A table alone, a run whose logits are lost, a score that is not that of the logits: nothing breaks."""
    from transferscope.analyses import transfer

    table = three.table("transfer")
    alone = transfer.section(ResultTable(table.rows), transfer.Options())
    assert "Intervals are over seeds;" in alone.basis and alone.findings[0].images is None
    scores = {
        arm: [slow_parts(run_of(three, {"arm": arm, "seed": seed}, "transfer"))[1] for seed in (0, 1, 2)]
        for arm in ("pretrained", "random")
    }
    want = paired_interval(100 * np.array(scores["pretrained"]), 100 * np.array(scores["random"]))
    assert (alone.findings[0].effect, alone.findings[0].low) == pytest.approx((want.mean, want.low))
    (lost, _), *_ = table.artifacts
    some = ResultTable(table.rows, (), tuple(pair for pair in table.artifacts if pair[0] != lost))
    partly = transfer.section(some, transfer.Options())
    assert "or over seeds alone where the answers to single images are missing" in partly.basis
    assert partly.findings[0].images is None
    other = table.rows.with_columns(
        pl.col("test_metric") * 0.9, *(pl.col(c) * 0.9 for c in table.rows.columns if c == "whole_test_metric")
    )
    assert transfer.section(ResultTable(other, (), table.artifacts), transfer.Options()).findings[0].images is None
    one = table.rows.filter(pl.col("seed") == 0)
    single = transfer.section(ResultTable(one, (), table.artifacts), transfer.Options()).findings[0]
    assert single.low is None and single.n == 1 and single.images


def test_arithmetic_of_scores() -> None:
    """Sums, multiples and relative drops agree with values seed by seed, and answers have a reach."""
    draw = np.random.default_rng(0)
    first, second = ((draw.random((4, 50)) < share).astype(float) for share in (0.8, 0.6))
    a, b = (gains.Scores(of.mean(1), of, (0.0, 1.0)) for of in (first, second))
    for made in (a.minus(b), a.plus(b, -0.3), a.minus(b).times(-2), a.drop_to(b), a.drop_to(b).minus(a.drop_to(b))):
        assert made.parts is not None and made.parts.mean(1) == pytest.approx(made.values)
        assert made.reach is not None and made.reach[0] <= 0 <= made.reach[1]
    assert a.minus(b).times(100).reach == (-100, 100) and a.minus(b).times(-2).reach == (-2, 2)
    assert a.plus(b, -0.2).plus(a, -0.8).reach == (-1, 1)
    step = 1e-6  # the delta method: what one image's answer moves the drop of its seed by
    for moved, of in ((first, 0), (second, 1)):
        nudged = moved.copy()
        nudged[0, 3] += step
        p, r = (nudged, second) if of == 0 else (first, nudged)
        change = 100 * (r[0].mean() / p[0].mean() - second[0].mean() / first[0].mean()) * -50 / step
        flat = a.drop_to(b).parts[0, 3]
        own = gains.Scores(a.values, nudged if of == 0 else first, None).drop_to(
            gains.Scores(b.values, second if of == 0 else nudged, None)
        )
        assert (own.parts[0, 3] - flat) / step == pytest.approx(change, rel=1e-3)
    assert a.minus(gains.Scores(b.values)).parts is None
    assert a.minus(gains.Scores(b.values)).interval().images is None
    mixed = gains.picked([a, b], [0, 1, 1, 0])
    assert np.array_equal(mixed.parts, np.stack([first[0], second[1], second[2], first[3]]))
    assert list(mixed.values) == list(mixed.parts.mean(1))


def test_against_a_margin_there_are_three_outcomes() -> None:
    def of(*values: float) -> gains.Scores:
        return gains.Scores(np.array(values))

    assert of(0.1, 0.2, 0.3).against(1) == "within" and of(3.1, 3.2, 3.3).against(1) == "beyond"
    assert of(0.1, 0.9, 0.3).against(1) == "undecided" and of(0.0).against(1) == "undecided"
    assert of(0.0, 0.0, 0.0).against(1) == "undecided", "a few equal scores do not show how seeds vary"
    same = gains.Scores(np.zeros(3), np.zeros((3, 400)), (-100.0, 100.0))
    assert same.against(1) == "within" and same.against(0.5) == "undecided", "400 images bound it by 0.7 points"


def test_parts_of_a_network_with_one_output() -> None:
    draw = np.random.default_rng(1)
    logits, labels = draw.normal(size=(40, 1)), draw.integers(0, 2, 40)
    assert judged.parts(logits, labels, "auc").mean() == pytest.approx(score(logits, labels, "auc"))
