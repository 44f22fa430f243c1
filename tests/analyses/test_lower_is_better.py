"""Errors judge too: tables by hand in which a wrong sign would turn every answer round, in the units of the target."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from transferscope.analyses import barrier, labels, reuse, transfer, tuning
from transferscope.analyses._shared import gains, outcomes, phrases, readings, transfer_cards
from transferscope.analyses.rewind.card import card as of_rewind
from transferscope.comparison.page import _value
from transferscope.engine.table import ResultTable
from transferscope.section import Section
from transferscope.tasks.choose import choose_lr
from transferscope.tasks.schedule import stops

DEVIATION = 50.0  # a point is half a unit
BETTER, WORSE, TIE = (12.0, 20.0), (20.0, 12.0), (15.0, 15.0)  # errors at the end: pretrained, random


def curves(ends: tuple[float, float], seeds: int = 5, metric: str = "mae") -> pl.DataFrame:
    """Runs of both arms whose errors fall from 40 to their ends, a little different from seed to seed."""
    draw, rows = np.random.default_rng(0), []
    for arm, end in zip(("pretrained", "random"), ends, strict=True):
        for seed in range(seeds):
            off = draw.normal(0, 0.4)
            for epoch, share in enumerate((1, 0.3, 0.1, 0, 0, 0, 0, 0, 0)):
                score = -(end + off + share * (40 - end))
                scores = {f"{split}_metric": score for split in ("train", "val", "test")}
                losses = {f"{split}_loss": 1.0 - epoch / 10 for split in ("train", "val", "test")}
                told = {"metric": metric, "deviation": DEVIATION, "lr": 0.1}
                rows.append({"target": "t", "arm": arm, "seed": seed, "epoch": epoch, **told, **scores, **losses})
    return pl.DataFrame(rows)


def section(ends: tuple[float, float]) -> Section:
    return transfer.section(ResultTable(curves(ends), []), transfer.Options())


@pytest.mark.parametrize(
    ("ends", "verdict", "light", "words"),
    [
        (BETTER, "supports", "yes", "Pretraining helped"),
        (WORSE, "contradicts", "no", "Pretraining hurt"),
        (TIE, "open", "unsure", "not shown to help or to hurt"),
    ],
)
def test_the_arm_with_the_lower_error_wins(ends: tuple[float, float], verdict: str, light: str, words: str) -> None:
    made = section(ends)
    (claim,) = [finding for finding in made.findings if finding.claim == 1]
    assert claim.verdict == verdict and claim.unit == "in mean absolute error"
    assert claim.effect == pytest.approx(ends[1] - ends[0], abs=0.6), "the error that pretraining takes away"
    card = next(card for card in made.cards if card.question == "Gain")
    assert card.light == light and words in card.headline and "%" not in card.headline
    reading = next(one for one in made.readings if one.name == "gain")
    assert reading.shown.mean == claim.effect
    if ends is not TIE:
        side = "lower" if ends is BETTER else "higher"
        assert claim.text.endswith(f"from scratch, {abs(claim.effect):.2f} {side}.")
        assert f"is {side} than from scratch" in made.findings[1].text
    assert "lower is better" in made.basis and "point" not in " ".join(f.text for f in made.findings)


def test_errors_are_told_and_drawn_as_such() -> None:
    made = section(BETTER)
    cells = made.opening[-1].rows.rows(named=True)
    assert cells[0]["final test"].startswith("12.") and cells[1]["final test"].startswith("20.")
    level = next(one for one in made.readings if one.name == "final/random")
    assert level.shown.mean == pytest.approx(20, abs=0.5) and _value(level).startswith("20")
    assert level.scores.values == pytest.approx(20, abs=1), "so that one of two studies is higher where its error is"
    drawn = next(chart for chart in made.charts if chart.name == "t-test").spec.to_dict()
    values = [row["test_metric"] for row in next(iter(drawn["datasets"].values()))]
    assert min(values) > 11 and "lower is better" in str(drawn)
    spec = made.opening[0].spec.to_dict()
    assert "lower is better" in str(spec) and spec["layer"][0]["encoding"]["y"]["scale"]["domain"][0] == 0


def test_a_point_is_a_hundredth_of_the_deviation() -> None:
    rows = outcomes.summarise(curves(BETTER))
    assert phrases.margin(2.0, rows) == 1.0 and phrases.deviation(rows) == DEVIATION
    for fell, light in ((0.2, "no"), (0.9, "yes")):
        falling = rows.with_columns(rise=fell + pl.col("seed") / 50)
        (card,) = transfer_cards.train("t", falling, ResultTable(curves(BETTER), []))
        assert "(flat: up to 0.5)" in card.unit and card.light == light
    plain = rows.drop("deviation").with_columns(metric=pl.lit("r2"))
    assert phrases.margin(2.0, plain) == 2.0 and phrases.deviation(plain) == 1.0


def test_the_best_epoch_and_the_best_rate_have_the_lowest_error() -> None:
    rows = curves(BETTER, 1).with_columns(
        pl.when(pl.col("epoch") == 2).then(-3.0).otherwise("val_metric").alias("val_metric"),
        pl.when(pl.col("epoch") == 2).then(-7.0).otherwise("test_metric").alias("test_metric"),
    )
    assert outcomes.summarise(rows)["best"].to_list() == [-7.0, -7.0]

    class Run:
        def __init__(self, error: float) -> None:
            self.rows = [{"val_loss": 1.0, "val_metric": -error}]

    found = choose_lr(trials=[(0.1, Run(9.0)), (0.2, Run(4.0))], work=None)  # type: ignore[arg-type, list-item]
    assert [row["chosen"] for row in found] == [False, True]
    falling = enumerate((9.0, 5.0, 4.0, 4.5, 4.6, 4.7))
    steady = [{"epoch": epoch, "val_metric": -error, "val_loss": 0.0} for epoch, error in falling]
    assert stops(steady, 2) and not stops(steady[:4], 2), "of no lower error"


def way(name: str, error: float, flops: float, draw: np.random.Generator) -> list[dict[str, Any]]:
    told = {"metric": "mae", "deviation": DEVIATION, "epochs": 5, "lr": 0.01, "lr_place": "inside", "parameters": 100}
    ends = [-(error + draw.normal(0, 0.02)) for _ in range(7)]
    names = ("test_metric", "best_metric", "speed_metric")
    same = {"target": "t", "way": name, "trained": 50, "training_flops": flops, "rise_metric": 0.0, **told}
    return [{**same, "seed": seed, **dict.fromkeys(names, end)} for seed, end in enumerate(ends)]


@pytest.mark.parametrize(
    ("error", "words"),
    [(10.1, "a linear probe is enough"), (13.0, "no cheaper way is shown to be enough"), (8.0, "is enough")],
)
def test_enough_is_an_error_that_is_not_a_margin_higher(error: float, words: str) -> None:
    draw = np.random.default_rng(1)
    table = ResultTable(pl.DataFrame(way("linear probe", error, 1e8, draw) + way("full", 10.0, 1e9, draw)))
    made = tuning.section(table, tuning.Options())
    text = next(finding.text for finding in made.findings if "enough" in finding.text)
    assert words in text and "0.5 in mean absolute error" in text
    if error == 13.0:
        assert "ends more than 0.5 in mean absolute error above full fine-tuning" in text
    assert (made.cards[0].light == "yes") == (error != 13.0)


def budgets(pretrained: float) -> pl.DataFrame:
    """The random arm's error halves with four times the images."""
    draw, rows = np.random.default_rng(2), []
    for arm in ("random", "pretrained"):
        for images in (100, 400, 1600):
            for seed in range(4):
                error = (pretrained if arm == "pretrained" else 400 / np.sqrt(images)) + draw.normal(0, 0.2)
                told = {"metric": "rmse", "deviation": DEVIATION, "epochs": 5, "rise_metric": 0.0}
                rows.append({"target": "t", "arm": arm, "images": images, "seed": seed, "fraction": images / 1600,
                             "test_metric": -error, **told})  # fmt: skip
    return pl.DataFrame(rows)


@pytest.mark.parametrize(("error", "needed"), [(20.0, 400), (14.0, 816)])
def test_labels_are_counted_by_the_error_itself(error: float, needed: float) -> None:
    """400 / sqrt(n) = error."""
    made = labels.section(ResultTable(budgets(error)), labels.Options())
    found = next(f for f in made.findings if "with 100" in f.text or "on 100" in f.text)
    worth = next(f for f in made.findings if "errs as little as" in f.text)
    assert worth.effect == pytest.approx(needed, rel=0.1)
    assert "in RMSE" in found.unit or "labelled" in found.unit


def lines(height: float, seeds: int = 8) -> ResultTable:
    rows, draw = [], np.random.default_rng(0)
    for kind in ("P-T & P-T", "RI-T & RI-T"):
        for seed in range(1, seeds):
            bump = (height if kind == "P-T & P-T" else 30.0) + draw.normal(0, 0.05)
            ends = dict.fromkeys(("barrier", "chord_barrier"), bump)
            low = {f"{name}_low": bump - 0.2 for name in ("barrier", "chord")}
            high = {f"{name}_high": bump + 0.2 for name in ("barrier", "chord")}
            for alpha in (0.0, 0.5, 1.0):
                point = {"alpha": alpha, "metric": -(15.0 + (bump if alpha == 0.5 else 0.0)), "loss": 1.0}
                told = {"measure": "mae", "deviation": DEVIATION, "images": 400, "points": 3, "head": "shared"}
                rows.append({"target": "t", "pair": kind, "seed": seed, "seed_b": seed - 1, "batch_norm": "refresh",
                             "split": "test", **point, **told, **ends, **low, **high, "barrier_at": 0.5,
                             "loss_barrier": 0.1, "statistics": "re-estimated"})  # fmt: skip
    return ResultTable(pl.DataFrame(rows))


@pytest.mark.parametrize(("height", "verdict"), [(0.3, "supports"), (4.0, "contradicts"), (1.0, "open")])
def test_a_barrier_is_a_rise_of_the_error_by_two_points(height: float, verdict: str) -> None:
    made = barrier.section(lines(height), barrier.Options())
    (claim,) = [finding for finding in made.findings if finding.claim == 7]
    assert claim.verdict == verdict and claim.effect == pytest.approx(height, abs=0.1)
    assert "rises" in claim.text and "above the mean of its ends, 15.0 (highest seen: " in claim.text
    assert "Networks are judged by mean absolute error" in made.basis
    assert any("rule stands at 1 units" in chart.caption for chart in made.charts)
    rows = made.tables[0].rows
    assert rows["first"].to_list()[0] == 15.0, "an error, not its negative"


def test_rewinding_costs_error_and_is_harmless_below_a_point() -> None:
    rows = [
        {"block": block, "seed": seed, "drop": drop + seed / 50, "modules": block, "metric": "mae"}
        for block, drop in (("a", 0.1), ("b", 3.0), ("head", 9.0))
        for seed in range(4)
    ]
    frame = pl.DataFrame(rows).with_columns(deviation=DEVIATION)
    (card,) = of_rewind("t", frame, frame, 0.01 * DEVIATION)
    assert card.light == "yes" and card.effect == pytest.approx(0.13)
    assert "in mean absolute error lost" in card.unit and "(harmless: up to 0.5)" in card.unit


def test_of_an_error_no_share_is_due_to_features_but_of_its_gain_there_is() -> None:
    """Random 20, redrawn 16, pretrained 12: half of the gain."""
    three = pl.concat([curves(BETTER), curves((16.0, 0.0)).filter(pl.col("arm") == "pretrained").with_columns(
        arm=pl.lit("stats"))])  # fmt: skip
    places = pl.DataFrame(
        {"arm": ["pretrained", "random", "stats"], "blocks": [3, 0, None], "upto": ["all", "none", None]}
    )
    made = reuse.section(ResultTable(three.join(places, on="arm"), []), reuse.Options())
    text = " ".join(finding.text for finding in made.findings)
    assert "of the score is due to features" not in text and "of the score would be" not in text
    share = next(finding for finding in made.findings if "that pretraining adds to a random start" in finding.text)
    assert share.effect == pytest.approx(50, abs=5) and "in mean absolute error" in share.text
    assert "optimisation speed" in text and gains.lower_is_better(three) in made.basis


def test_readings_of_two_studies_subtract_with_better_above_zero() -> None:
    first, second = (outcomes.summarise(curves(ends)) for ends in (BETTER, TIE))
    one, other = (next(iter(readings.gain("t", runs))) for runs in (first, second))
    assert one.over(other, images=False).mean == pytest.approx(8, abs=0.5)
    assert one.unit == "in mean absolute error"
    assert one.asks == "Final test mean absolute error from scratch less that with pretraining"
