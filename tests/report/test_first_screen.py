"""The first screen: a fixed order, one answer a target, and what would make it surer."""

from dataclasses import replace

import pytest

from transferscope.report.first_screen import QUESTIONS, Asked, first_screen, summary
from transferscope.section import Card, DataSet, Section

GAIN = Card("Gain", "yes", "Pretraining helped", 8.0, 6.0, 10.0, 6, "points", "sure: it is", target="t")
ASKED = Asked("net", "weights", 32, 6)


def shown(*cards: Card, kind: str = "transfer", asked: Asked = ASKED, steps: tuple = ()) -> dict:
    return first_screen([("anchor", kind, Section("Title", cards=cards))], asked, steps)


def test_cards_stand_in_the_order_of_the_questions_whatever_is_there() -> None:
    names = [card["name"] for card in shown(Card("Labels", "no", "L"), Card("Why", "yes", "W"))["cards"]]
    assert names == [name for name in QUESTIONS if name != "Gain"]


def test_the_gain_says_which_seeds_it_leaves_out() -> None:
    card = replace(GAIN, advice="Seed 4 is left out.")
    (plain,), (said,) = shown(GAIN)["gains"], shown(card)["gains"]
    assert said["text"] == f"{plain['text']} Seed 4 is left out."
    assert summary({"t": Section("T", cards=[card])}) == [said["text"]]


def test_what_is_missing_says_what_would_answer_it() -> None:
    cards = {card["name"]: card["missing"] for card in shown(GAIN)["cards"]}
    assert cards["Average"] == "Not asked. This would answer it: analyses: [average]"
    assert cards["Train"] == "Not answered yet: the analysis transfer has no result for it."


def test_an_analysis_says_which_of_its_options_would_answer() -> None:
    part = Section("Rewind", unasked={"Freeze": "rewind: {cumulative: bottom}"})
    found = first_screen([("a", "transfer", Section("T", cards=[GAIN])), ("b", "rewind", part)], ASKED)
    cards = {card["name"]: card["missing"] for card in found["cards"]}
    assert cards["Freeze"] == "Not asked. This would answer it: analyses: {rewind: {cumulative: bottom}}"


def test_a_card_shows_one_answer_a_target_the_surest_first() -> None:
    unsure = Card("Freeze", "unsure", "perhaps", target="a", advice="Look.")
    sure = Card("Freeze", "no", "never", target="a", advice="Look.")
    other = replace(unsure, target="b")
    (card,) = (card for card in shown(unsure, sure, other)["cards"] if card["name"] == "Freeze")
    assert [(one["target"], one["headline"]) for one in card["answers"]] == [("a", "never"), ("b", "perhaps")]
    assert [one["headline"] for one in card["rest"]] == ["perhaps"]
    assert [one["advice"] for one in card["answers"]] == ["Look.", ""], "said once"


def test_targets_keep_the_order_of_the_study_whichever_analysis_answers() -> None:
    gains = [replace(GAIN, target=target) for target in ("a", "b")]
    why = {
        "shuffle": [Card("Why", "unsure", "?", target="a"), Card("Why", "yes", "shapes", target="b")],
        "reuse": [Card("Why", "yes", "features", target="a"), Card("Why", "unsure", "?", target="b")],
    }
    sections = [("x", kind, Section("T", cards=cards)) for kind, cards in {"transfer": gains, **why}.items()]
    (card,) = (card for card in first_screen(sections, ASKED)["cards"] if card["name"] == "Why")
    assert [(one["target"], one["headline"]) for one in card["answers"]] == [("a", "features"), ("b", "shapes")]


def test_what_needs_more_seeds_is_named_among_several_targets() -> None:
    small = replace(GAIN, light="unsure", effect=0.1, low=-9.0, high=9.2)
    assert "the difference on u from none" in shown(GAIN, replace(small, target="u"))["surer"]
    assert "the difference from none" in shown(small)["surer"]


def test_the_gain_is_one_sentence_that_names_the_target_only_among_several() -> None:
    assert shown(GAIN)["gains"][0]["text"] == (
        "Pretraining helped, a difference of 8 points (95% interval 6 to 10); sure: it is."
    )
    assert shown(GAIN, replace(GAIN, target="u"))["gains"][1]["text"].startswith("On u: Pretraining helped")


@pytest.mark.parametrize(
    ("card", "seeds", "words"),
    [
        (replace(GAIN, light="unsure", low=None, high=None), 1, "set seeds: 3 (2 more: about 20 s of one worker"),
        (GAIN, 6, ""),
        (replace(GAIN, light="unsure", effect=2.0, low=-1.0, high=5.0), 6, "set seeds: 13"),
        (replace(GAIN, light="unsure", effect=0.1, low=-9.0, high=9.2), 6, "more than 30 seeds"),
        (replace(GAIN, light="unsure", effect=0.0, low=-9.0, high=9.0), 6, "more than 30 seeds"),
    ],
)
def test_how_to_be_surer(card: Card, seeds: int, words: str) -> None:
    steps = tuple(("train", f"{seed}", 10.0, {"seed": seed}) for seed in range(seeds))
    said = shown(card, asked=replace(ASKED, seeds=seeds), steps=steps)["surer"]
    assert said.startswith(words) and bool(said) == bool(words)


def test_what_was_asked_is_a_sentence() -> None:
    data = [DataSet("emoji", 900, 50, 100, 9), DataSet("xray", 10, 2, 4, 14, "labels")]
    assert Asked("net", "ImageNet", 64, 1).sentence(data) == (
        "net was trained from ImageNet and from scratch at 64 px, with 1 seed, on emoji (900 images to train on, 100 "
        "to test on, 9 classes); xray (10 images to train on, 4 to test on, 14 labels)."
    )
    assert Asked("net", None, None, 3).sentence([]) == "net was trained from scratch, with 3 seeds."


def test_the_terminal_gets_a_few_lines() -> None:
    sections = {
        "transfer": Section("T", cards=[GAIN, Card("Train", "unsure", "Open", target="t")]),
        "rewind": Section("R", cards=[Card("Freeze", "yes", "Freeze a", sure="likely", target="t")]),
    }
    assert summary(sections) == [
        "Pretraining helped, a difference of 8 points (95% interval 6 to 10); sure: it is.",
        "Freeze: Freeze a (likely).",
        "Unsure: Train.",
    ]
    assert summary({}) == []
