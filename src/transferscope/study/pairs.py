"""Pairs: which two sets of weights of a study the analyses compare, and what the paper calls them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from transferscope.engine.step import Step
from transferscope.study.steps import Study

AND = " & "  # between the names of two networks
SHORT = {"pretrained": "P", "random": "RI"}


@dataclass(frozen=True)
class Point:
    """One set of weights: where a run started ("start") or where it ended ("end")."""

    arm: str
    seed: int
    at: str
    run: Step

    @property
    def name(self) -> str:
        """P, RI, P-T, RI-T; other arms by their own names."""
        return short(self.arm) if self.at == "start" else trained(self.arm)


@dataclass(frozen=True)
class Pair:
    """Two points of one target. `a` is always the end of a run."""

    a: Point
    b: Point

    @property
    def kind(self) -> str:
        """As the paper writes it: "P-T & P-T", "P-T & P", "P-T & RI-T", "RI-T & RI-T", "RI-T & P"."""
        return kind_of(self.a.name, self.b.name)

    @property
    def labels(self) -> Mapping[str, Any]:
        """Labels of a cell: pair, seed (of a), seed_b."""
        return {"pair": self.kind, "seed": self.a.seed, "seed_b": self.b.seed}


def kind_of(a: str, b: str | None = None) -> str:
    """What a pair of networks called `a` and `b` (the same without it) is called: "P-T & RI-T"."""
    return f"{a}{AND}{a if b is None else b}"


def sides(kind: str) -> tuple[str, str]:
    """What the two networks of a kind of pair are called."""
    a, _, b = kind.partition(AND)
    return a, b


def short(arm: str) -> str:
    """The paper's letters for the two arms it has, the arm's own name for all others."""
    return SHORT.get(arm, arm)


def trained(arm: str) -> str:
    """What the paper calls a trained network of an arm: P-T, RI-T."""
    return f"{short(arm)}-T"


def pairs(study: Study, target: str) -> Iterator[Pair]:
    """All pairs of one target; adding a seed only adds pairs.

    For every arm: its end with that of every seed listed before, with its own start, and (other arms than `pretrained`)
    with P and with P-T of the same seed. Without a pretrained arm the first arm stands in for the last of these.
    """
    reference = "pretrained" if "pretrained" in study.arms else study.arms[0]
    first = sorted(study.arms, key=lambda arm: arm != reference)

    def point(arm: str, seed: int, at: str = "end") -> Point:
        return Point(arm, seed, at, study.run(target, arm, seed))

    for arm in first:
        for place, seed in enumerate(study.seeds):
            for before in study.seeds[:place]:
                yield Pair(point(arm, seed), point(arm, before))
        for seed in study.seeds:
            yield Pair(point(arm, seed), point(arm, seed, "start"))
        if arm == reference:
            continue
        for seed in study.seeds:
            yield Pair(point(reference, seed), point(arm, seed))
        if reference == "pretrained":
            for seed in study.seeds:
                yield Pair(point(arm, seed), point(reference, seed, "start"))
