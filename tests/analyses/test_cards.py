"""A card is never stronger than its interval: "yes" and "no" only where that leaves out the limit."""

import numpy as np
import polars as pl
import pytest

from transferscope.analyses._shared import cards, contrasts, transfer_cards
from transferscope.analyses.average.card import card as of_average
from transferscope.analyses.labels.card import card as of_labels
from transferscope.analyses.rewind.card import card as of_rewind
from transferscope.engine.table import ResultTable
from transferscope.measures.deciding import fixed, sequential
from transferscope.measures.intervals import Interval, mean_interval
from transferscope.measures.power_law import Worth
from transferscope.section import Card, Section


def light(effect: Interval, **how: float) -> str:
    card = cards.answer("Gain", "t", effect, "points", yes="y", no="n", unsure="u", **how)
    assert card.headline == {"yes": "y", "no": "n", "unsure": "u"}[card.light]
    return card.light


@pytest.mark.parametrize(
    ("low", "high", "limit", "below", "said"),
    [
        (1.0, 3.0, 0.0, False, "yes"),
        (-3.0, -1.0, 0.0, False, "no"),
        (-1.0, 3.0, 0.0, False, "unsure"),
        (0.0, 3.0, 0.0, False, "unsure"),
        (None, None, 0.0, False, "unsure"),
        (-0.5, 0.9, 1.0, True, "yes"),
        (-0.5, 1.0, 1.0, True, "unsure"),  # one that touches the limit shows nothing
        (1.1, 4.0, 1.0, True, "no"),
        (0.9, 4.0, 1.0, True, "unsure"),
        (-0.9, 4.0, -1.0, False, "yes"),
    ],
)
def test_the_light_is_that_of_the_interval(
    low: float | None, high: float | None, limit: float, below: bool, said: str
) -> None:
    assert light(Interval(2.0, low, high, 6), limit=limit, below=below) == said


def test_two_seeds_and_a_few_equal_differences_decide_nothing() -> None:
    assert light(Interval(2, 1, 3, 2)) == "unsure" and light(Interval(2, 1, 3, 3)) == "yes"
    assert light(Interval(2, 2, 2, 5)) == "unsure" and light(Interval(2, 2, 2, 6)) == "yes"
    assert cards.sure(Interval(2, None, None, 1), "unsure") == "one seed cannot tell"
    assert cards.sure(Interval(2, 1, 3, 3), "yes").startswith("shown with 3 seeds")
    assert "the limit of −1" in cards.sure(Interval(0, -2, 2, 6), "unsure", -1.0)


def test_a_study_that_looks_often_lights_a_card_by_its_own_level() -> None:
    effect = mean_interval(np.array([2.0, 3.0, 1.0, 2.5]))
    card = cards.answer("Gain", "t", effect, "points", yes="y", no="n", unsure="u")
    assert card.light == "yes" and card.again is not None
    strict = card.again(0.001)
    assert (strict.light, strict.headline, strict.low) == ("unsure", "u", card.low)
    assert "more surely" in strict.sure
    section = contrasts.judge(Section("s", cards=[card]), sequential(3, 30), 4)
    assert section.cards[0].light in ("yes", "unsure")
    assert contrasts.judge(Section("s", cards=[card]), fixed(4), 4).cards[0] == card


def test_the_card_of_averages_has_every_level() -> None:
    row = {"arm": "pretrained", "networks": 3, "way": "soup of all", "measure": "accuracy", "images": 400}
    soups = pl.DataFrame([{**row, "gain": 0.03, "gain_low": 0.005, "gain_high": 0.055}])
    (card,) = of_average("t", soups)
    assert card.light == "yes" and card.again is not None
    assert card.again(0.03).light == "yes" and card.again(0.01).light == "unsure"  # z = 2.35: p = 0.019


def test_against_a_stated_margin_one_end_decides() -> None:
    effect = mean_interval(np.array([0.2, 0.9, -0.2, 0.6]))
    how = {"yes": "y", "no": "n", "unsure": "u", "limit": 1.0, "below": True}
    plain, held = (cards.answer("Freeze", "t", effect, "points", **how, margin=margin) for margin in (False, True))
    assert (plain.light, plain.level) == ("unsure", 0.95)
    assert (held.light, held.level) == ("yes", 0.9) and held.high is not None and held.high < 1 < (plain.high or 0)


def test_many_modules_are_named_by_their_ends() -> None:
    assert cards.modules(["stem", "layer1"]) == "stem, layer1"
    assert cards.modules([f"b{i}" for i in range(9)]) == "b0 to b8"


def runs(gain: float, seeds: int = 6) -> pl.DataFrame:
    """The summary of runs of both arms whose seeds differ a little, and the gain with them."""
    rows = [
        {"target": "t", "arm": arm, "seed": seed, "metric": "accuracy", "rise": rise + 0.001 * seed}
        | {"loss_start": 2.0, "loss_end": 1.0}
        | dict.fromkeys(("final", "best", "speed"), 0.6 + 0.01 * seed + (gain + 0.001 * seed) * (arm == "pretrained"))
        for arm, rise in (("random", 0.03), ("pretrained", 0.0))
        for seed in range(seeds)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(("gain", "said", "words"), [(0.1, "yes", "helped"), (-0.1, "no", "hurt")])
def test_the_gain_says_whether_pretraining_helped(gain: float, said: str, words: str) -> None:
    (card,) = transfer_cards.gain("t", runs(gain))
    assert card.light == said and words in card.headline and "from scratch" in card.headline
    assert card.effect == pytest.approx(100 * gain + 0.25)
    assert transfer_cards.gain("t", runs(gain).filter(pl.col("arm") == "random")) == []
    assert card.advice == "", "all seeds count"
    one = (pl.col("arm") == "random") & (pl.col("seed") == 4)
    (left,) = transfer_cards.gain("t", runs(gain).with_columns(loss_end=pl.when(one).then(3.0).otherwise(1.0)))
    assert left.n == 5 and left.advice.startswith("Seed 4 is left out: a run ended with a higher training loss")
    (failed,) = transfer_cards.gain("t", runs(gain).with_columns(loss_end=pl.lit(3.0)))
    assert failed.light == "unsure" and "no run has learnt" in failed.sure and failed.effect == card.effect


def test_a_flat_curve_is_long_enough_and_a_rising_one_from_scratch_is_told() -> None:
    (card,) = transfer_cards.train("t", runs(0.1), ResultTable())
    assert card.light == "no" and "Long enough" in card.headline
    assert card.advice == "From scratch was still rising: with more epochs the gain may shrink."
    (blind,) = transfer_cards.train("t", runs(0.1).with_columns(rise=pl.lit(None, pl.Float64)), ResultTable())
    assert blind.light == "unsure" and "Too few epochs" in blind.headline


def test_the_table_of_arms_names_them_in_words() -> None:
    rows = transfer_cards.arms(runs(0.1)).rows
    assert rows["trained"].to_list() == ["from scratch", "pretrained"] and "data" not in rows.columns
    assert rows["final test"][0].startswith("62% (") or rows["final test"][0].startswith("62.5% (")


def rewound(drops: dict[str, list[float]]) -> pl.DataFrame:
    rows = [
        {"block": block, "seed": seed, "drop": drop, "modules": f"net.{block}", "metric": "accuracy"}
        for block, values in drops.items()
        for seed, drop in enumerate(values)
    ]
    return pl.DataFrame(rows)


def frozen(drops: dict[str, list[float]]) -> Card:
    (card,) = of_rewind("t", rewound(drops), rewound(drops), 0.01)
    return card


def test_what_may_stay_frozen_is_named_by_its_modules() -> None:
    nothing, much = [0.0, 0.001, 0.002, -0.001, 0.0, 0.001], [0.2, 0.3, 0.25, 0.22, 0.21, 0.26]
    some = frozen({"a": nothing, "b": nothing, "c": much, "head": much})
    assert some.light == "yes" and "the lowest 2 of 3 blocks (net.a, net.b)" in some.headline
    none = frozen({"a": much, "b": much, "head": much})
    assert none.light == "no" and "net.a" in none.headline and none.effect == pytest.approx(24.0)
    assert of_rewind("t", rewound({"head": much}), rewound({"head": much}), 0.01) == []


def test_labels_are_saved_only_where_the_low_end_says_so() -> None:
    scores = pl.DataFrame(
        {"images": [10], "arm": ["random"], "seed": [0], "metric": ["accuracy"], "test_metric": [0.5]}
    )
    for low, said in ((12.0, "yes"), (8.0, "unsure"), (None, "unsure")):
        worth = Worth("inside", 20.0, low, 30.0, 6, True)
        (card,) = of_labels("t", scores, {10: worth})
        assert (card.light, card.effect) == (said, 20.0)
    assert "(it reaches beyond the numbers of labels tried)" in card.sure
