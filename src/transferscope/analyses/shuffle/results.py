"""What the runs on shuffled images of one target came to: scores, gains, relative drops and gaps by block size."""

from dataclasses import dataclass

import polars as pl

from transferscope.analyses._shared import gains, phrases
from transferscope.analyses._shared.outcomes import summarise
from transferscope.measures.intervals import Interval, mean_interval, paired_interval

DESTROYED = 2  # pixels: in blocks up to this size no shape is left to be seen
WHOLE, CHANNELS = "whole", "channels"  # labels of images left as they are, and of values moved across channels


def rank(block: str) -> float:
    """Where a block label stands on an axis: from "channels" over small to large blocks, "whole" last."""
    return {CHANNELS: 0.0, WHOLE: float("inf")}[block] if not block.isdigit() else float(block)


@dataclass(frozen=True)
class Shuffled:
    """The finished runs of one target, a row each (block, arm, seed, metric, final, speed, ...), and the score `chance`
    of one answer for every image, which guessing misses by `luck` (standard deviation; None when nobody knows)."""

    target: str
    runs: pl.DataFrame
    chance: float | None
    luck: float | None
    things: str = "images"
    """What the inputs are called."""

    def at(self, block: str) -> str:
        """A block label for sentences."""
        if block == WHOLE:
            return f"on whole {self.things}"
        places = self.places.removesuffix("s") if block == "1" and self.things == "texts" else self.places
        return "with values moved across channels" if block == CHANNELS else f"in blocks of {block} {places}"

    @property
    def places(self) -> str:
        """What a block's size is counted in."""
        return {"images": "px", "texts": "tokens"}.get(self.things, "values")

    @property
    def structure(self) -> str:
        """What moving blocks destroys."""
        return "the order of words" if self.things == "texts" else "the shapes"

    @property
    def left_over(self) -> str:
        """What it leaves."""
        return "the words alone" if self.things == "texts" else "low-level statistics"

    def destroyed(self, block: str) -> bool:
        """Whether nothing of the structure is left in blocks of this size."""
        return int(block) <= (DESTROYED if self.things != "texts" else 1)

    @property
    def axis(self) -> str:
        """The title of an axis of block sizes."""
        return f"block size in {'pixels' if self.things == 'images' else self.places}"

    @property
    def word(self) -> str:
        return phrases.word(self.metric)

    @property
    def unit(self) -> str:
        return phrases.unit(self.metric)

    @property
    def times(self) -> float:
        """What a difference of scores is multiplied with to be told in `unit`."""
        return phrases.times(self.metric)

    @property
    def metric(self) -> str:
        return str(self.runs["metric"][0])

    def told(self, points: float | None) -> str:
        """A difference in `unit`, in a sentence and with its sign."""
        return "" if points is None else phrases.signed(points, self.metric)

    def score(self, value: float) -> str:
        """A value of the metric in a sentence."""
        return phrases.score(value, self.metric)

    @property
    def percent(self) -> bool:
        """Whether the metric is told in percent."""
        return phrases.percent(self.metric)

    @property
    def arms(self) -> list[str]:
        return self.runs["arm"].unique(maintain_order=True).to_list()

    @property
    def blocks(self) -> list[str]:
        """Block labels from the most destroyed to the whole image."""
        return sorted(self.runs["block"].unique().to_list(), key=rank)

    @property
    def sizes(self) -> list[str]:
        """The block labels that are numbers of pixels, ascending."""
        return [block for block in self.blocks if block.isdigit()]

    def pairs(self, block: str, value: str) -> pl.DataFrame:
        """seed, and `value` of the `pretrained` and of the `random` arm, for the seeds that have both."""
        of = self.runs.filter(pl.col("block") == block).select("seed", "arm", value).drop_nulls()
        tuned, scratch = (
            of.filter(pl.col("arm") == arm).select("seed", pl.col(value).alias(arm)) for arm in ("pretrained", "random")
        )
        return tuned.join(scratch, on="seed").sort("seed")

    def gap(self, block: str, value: str) -> Interval | None:
        """`value` of the pretrained arm minus the random arm's, in points; of final scores over test images too."""
        if value == "final":
            points = gains.difference(self._of(block, "pretrained"), self._of(block, "random"))
            return None if points is None else points.interval()
        both = self.pairs(block, value)
        return (
            None if both.is_empty() else paired_interval(self.times * both["pretrained"], self.times * both["random"])
        )

    def drop(self, block: str) -> Interval | None:
        """The relative drop of the final score in percent, where every pretrained score is above 0."""
        tuned, scratch = gains.scores([self._of(block, arm) for arm in ("pretrained", "random")])
        if not len(tuned.values) or (tuned.values <= 0).any():
            return None
        return tuned.drop_to(scratch).interval()

    def drops(self, first: str, second: str) -> tuple[gains.Scores, gains.Scores] | None:
        """The relative drops at two block sizes, for the seeds that have all four runs; None without any."""
        runs = [self._of(block, arm) for block in (first, second) for arm in ("pretrained", "random")]
        a, b, c, d = gains.scores(runs)
        if not len(a.values) or (a.values <= 0).any() or (c.values <= 0).any():
            return None
        return a.drop_to(b), c.drop_to(d)

    def left(self, block: str) -> Interval | None:
        """The gain on whole images less that at a block size, in points, for the seeds that have all four runs."""
        points, _ = self.lost_gain(block)
        return points.interval() if len(points.values) else None

    def lost_gain(self, block: str) -> tuple[gains.Scores, list[int]]:
        """The same seed by seed, with the seeds; without values where there are none."""
        runs = [self._of(where, arm) for where in (WHOLE, block) for arm in ("pretrained", "random")]
        a, b, c, d = gains.scores(runs)
        return a.minus(b).minus(c).plus(d).times(self.times), gains.common_seeds(runs)

    def _of(self, block: str, arm: str) -> pl.DataFrame:
        return self.runs.filter((pl.col("block") == block) & (pl.col("arm") == arm))

    def mean(self, block: str, arm: str, value: str) -> Interval | None:
        """`value` of one arm over its seeds."""
        here = self.runs.filter((pl.col("block") == block) & (pl.col("arm") == arm))[value].drop_nulls()
        return mean_interval(here) if len(here) else None

    def lost(self, block: str) -> list[str]:
        """The arms whose mean final score is one that guessing may reach: within 1.96 `luck` of chance, or below."""
        if self.chance is None or self.luck is None:
            return []
        means = {arm: self.mean(block, arm, "final") for arm in self.arms}
        return [arm for arm, of in means.items() if of is not None and of.mean <= self.chance + 1.96 * self.luck]

    @property
    def clear(self) -> bool:
        """Whether pretraining surely gained something on whole images, where both arms have learnt."""
        gain = self.gap(WHOLE, "final")
        return gain is not None and gain.mean > 0 and gain.excludes(0) and not self.lost(WHOLE)

    def warnings(self) -> list[str]:
        """Sentences on arms that score as if by chance, and on a gain too small to be split."""
        found = []
        places: dict[str, list[str]] = {}
        for block in self.blocks:
            if lost := self.lost(block):
                places.setdefault(f"{phrases.listed(lost)} arm{'s' if len(lost) > 1 else ''}", []).append(
                    self.at(block)
                )
        chance = self.score(self.chance or 0.0)
        for who, where in places.items():
            found.append(
                f"On {self.target} the {who} had not learnt {phrases.listed(where)}: no better than chance "
                f"({chance} {self.word}, what one answer for all {self.things} scores), and a relative drop there "
                "means nothing."
            )
        gain = self.gap(WHOLE, "final")
        if gain is not None and not self.clear:
            why = f"; {gain.note}" if gain.low is None else f" [{self.told(gain.low)}, {self.told(gain.high)}]"
            found.append(
                f"On {self.target} the gain from pretraining on whole {self.things} is not clearly above 0 "
                f"({self.told(gain.mean)} {self.unit}{why}): splitting it into features and statistics is not "
                "meaningful on this data."
            )
        return found


def gathered(target: str, rows: pl.DataFrame) -> Shuffled | None:
    """The runs among the rows of a target; None when none has finished."""
    if "test_metric" not in rows.columns:
        return None
    scores = [pl.col(f"{split}_{what}").cast(pl.Float64) for split in ("train", "val", "test") for what in ("metric",)]
    of = rows.drop_nulls("arm").with_columns(scores)
    if of.is_empty():
        return None
    each = [summarise(part).with_columns(block=pl.lit(block)) for (block,), part in of.group_by(["block"])]
    runs = pl.concat(each).sort(
        pl.col("block").map_elements(rank, pl.Float64), pl.col("arm") != "random", "arm", "seed"
    )
    known = rows.drop_nulls("chance") if "chance" in rows.columns else rows.clear()
    said = {} if known.is_empty() else known.row(0, named=True)
    return Shuffled(target, runs, said.get("chance"), said.get("luck"), said.get("things") or "images")
