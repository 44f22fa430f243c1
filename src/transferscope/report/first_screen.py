"""The first screen: what was asked, the gain, an answer to every question in a fixed order, and how to be surer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from transferscope.measures.deciding import fixed, seeds_needed
from transferscope.measures.intervals import Interval
from transferscope.report import wording
from transferscope.section import Card, DataSet, Question, Section

# Every question with what it asks, and the analyses that answer it, the first of which is advised.
QUESTIONS: dict[Question, tuple[str, tuple[str, ...]]] = {
    "Gain": ("Did pretraining help?", ("transfer",)),
    "Why": ("Was it features?", ("reuse", "shuffle")),
    "Freeze": ("Can a part stay frozen?", ("rewind", "tuning", "criticality")),
    "Average": ("Does averaging networks pay?", ("average",)),
    "Train": ("Should it be trained longer?", ("transfer",)),
    "Labels": ("Does it save labels?", ("labels",)),
    "Checkpoint": ("Would an earlier checkpoint do?", ("checkpoint",)),
}
WORDS = {"yes": "Yes", "no": "No", "unsure": "Unsure"}
SHOWN = 4  # targets a card answers for; more are folded
ENOUGH, MOST = 3, 30  # seeds: that decide anything, and the most that are advised
assert tuple(QUESTIONS) == get_args(Question)


@dataclass(frozen=True)
class Asked:
    """What a study compared, for a reader: names of network and weights (None without), pixels, and seeds."""

    network: str
    weights: str | None
    image_size: int | None
    seeds: int

    def sentence(self, data: Sequence[DataSet]) -> str:
        """What was trained from what on what, in one sentence."""
        starts = f"from {self.weights} and from scratch" if self.weights else "from scratch"
        size = f" at {self.image_size} px" if self.image_size else ""
        times = f"{self.seeds} seed{'s' if self.seeds != 1 else ''}"
        on = "; ".join(_described(one) for one in data)
        return f"{self.network} was trained {starts}{size}, with {times}{', on ' if on else ''}{on}."


@dataclass(frozen=True)
class _Found:
    """A card with the anchor, the kind and the title of the section that it comes from."""

    anchor: str
    kind: str
    title: str
    card: Card


def _described(one: DataSet) -> str:
    return f"{one.target} ({one.train:,} {one.noun} to train on, {one.test:,} to test on, {one.classes:,} {one.kind})"


def first_screen(
    sections: Sequence[tuple[str, str, Section]], asked: Asked | None, steps: Iterable[tuple[Any, ...]] = ()
) -> dict[str, Any]:
    """What the template shows first, of (anchor, kind of analysis, section) in the order of the page; `steps` are those
    of the provenance, whose seconds tell what more seeds take."""
    found = [_Found(anchor, kind, section.title, card) for anchor, kind, section in sections for card in section.cards]
    data = [one for _, _, section in sections for one in section.data]
    several = len({one.card.target for one in found}) > 1 or len(data) > 1
    gains = [one.card for one in found if one.card.question == "Gain"]
    kinds = {kind: section.unasked for _, kind, section in sections}
    return {
        "asked": asked.sentence(data) if asked else "",
        "gains": [
            {"light": card.light, "word": WORDS[card.light], "text": gain_sentence(card, several)} for card in gains
        ],
        "cards": [_slot(question, found, kinds, several) for question in QUESTIONS if question != "Gain"],
        "surer": _surer([one.card for one in found], asked, list(steps)) if found else "",
        "data": [
            {
                "target": one.target,
                "noun": one.noun,
                "validation": one.val,
                "chance": one.chance,
                "numbers": one.kind.startswith("number"),
                "alarms": list(dict.fromkeys(one.alarms)),
            }
            for one in data
        ],
    }


def gain_sentence(card: Card, several: bool) -> str:
    """The gain of one target with its interval and how sure it is, in one sentence."""
    where = f"On {card.target}: " if several else ""
    number = wording.measured(card.effect, card.low, card.high, card.unit, card.level)
    gap = f", a difference of {number}" if number else ""
    return f"{where}{card.headline}{gap}; {card.sure}.{' ' if card.advice else ''}{card.advice}"


def _slot(
    question: Question, cards: Sequence[_Found], kinds: Mapping[str, Mapping[Question, str]], several: bool
) -> dict[str, Any]:
    """One card: what it asks, an answer a target, further ones to be folded, or what would answer it.

    `kinds` are the analyses that the study asks for, with what they were not asked. What is sure comes first, then what
    the better analysis says.
    """
    asks, analyses = QUESTIONS[question]
    own = [one for one in cards if one.card.question == question]
    order = {name: place for place, name in enumerate(analyses)}
    own.sort(key=lambda one: (one.card.light == "unsure", order.get(one.kind, len(order))))
    best = {one.card.target: one for one in reversed(own)}
    targets = dict.fromkeys(one.card.target for one in cards)  # in the order of the study
    first = [best[target] for target in targets if target in best][:SHOWN]
    rest = [one for one in own if not any(one is other for other in first)]
    there = [name for name in analyses if name in kinds]
    if more := [said[question] for said in kinds.values() if question in said]:
        why = f"Not asked. This would answer it: analyses: {{{more[0]}}}"
    elif there:
        why = f"Not answered yet: the analysis {there[0]} has no result for it."
    else:
        why = f"Not asked. This would answer it: analyses: [{analyses[0]}]"
    shown = [_answer(one, several) for one in (*first, *rest)]
    for place, one in enumerate(shown):  # what holds for every target is said once
        if one["advice"] in {other["advice"] for other in shown[:place]}:
            one["advice"] = ""
    return {
        "name": question,
        "asks": asks,
        "answers": shown[: len(first)],
        "rest": shown[len(first) :],
        "missing": "" if own else why,
    }


def _answer(one: _Found, several: bool) -> dict[str, Any]:
    card = one.card
    return {
        "light": card.light,
        "word": WORDS[card.light],
        "target": card.target if several else "",
        "headline": card.headline,
        "number": wording.measured(card.effect, card.low, card.high, card.unit, card.level),
        "sure": card.sure,
        "advice": card.advice,
        "id": one.anchor,
        "section": one.title,
    }


def _surer(cards: Sequence[Card], asked: Asked | None, steps: Sequence[tuple[Any, ...]]) -> str:
    """What would make the answers surer, and about how long that takes."""
    if asked is None:
        return ""
    gains = [card for card in cards if card.question == "Gain"]
    needs = {card.target: _seeds(card, asked.seeds) for card in gains}
    wanted = max(needs.values(), default=ENOUGH)
    where = f" on {', '.join(target for target, seeds in needs.items() if seeds == wanted)}" if len(needs) > 1 else ""
    known = {card.question for card in cards if card.light != "unsure"} | {"Average", "Gain"}
    unsure = [card.question for card in cards if card.question not in known]
    if wanted > MOST:
        return (
            f"more than {MOST} seeds would be needed to tell the difference{where} from none, if there is any: it is "
            "small, or runs vary a lot."
        )
    if wanted <= asked.seeds:
        if not unsure:
            return ""
        return f"more seeds than {asked.seeds} would narrow what is unsure ({', '.join(dict.fromkeys(unsure))})."
    spent: dict[Any, float] = {}
    for _, _, seconds, labels in steps:
        if seconds is not None and labels.get("seed") is not None:
            spent[labels["seed"]] = spent.get(labels["seed"], 0.0) + seconds
    more = wanted - asked.seeds
    each = sum(spent.values()) / len(spent) if spent else None
    takes = f" ({more} more: about {wording.duration(more * each)} of one worker, by the runs so far)" if each else ""
    return f"set seeds: {wanted}{takes}."


def _seeds(card: Card, now: int) -> int:
    """How many seeds would make a gain of this size sure: at least `ENOUGH`, more where its interval holds 0."""
    if card.effect is None or card.low is None or card.high is None or card.light != "unsure":
        return ENOUGH
    found = Interval(card.effect, card.low, card.high, card.n or now)
    needed = seeds_needed(replace(found, again=lambda level: found), fixed(now))
    return MOST + 1 if needed is None else max(needed, now + 1)


def summary(sections: Mapping[str, Section]) -> list[str]:
    """For a terminal: the gain in a line a target, every sure answer in a line, and one on what is unsure."""
    cards = [card for section in sections.values() for card in section.cards]
    several = len({card.target for card in cards}) > 1
    lines = [gain_sentence(card, several) for card in cards if card.question == "Gain"]
    others = [card for name in QUESTIONS for card in cards if card.question == name and name != "Gain"]
    for card in others:
        if card.light != "unsure":
            lines.append(f"{card.question}: {card.target + ', ' if several else ''}{card.headline} ({card.sure}).")
    known = {card.question for card in others if card.light != "unsure"}
    open_ = dict.fromkeys(card.question for card in others if card.question not in known)
    return [*lines, f"Unsure: {', '.join(open_)}."] if open_ else lines
