"""What fine-tuning from every checkpoint of a pretraining came to, and the earliest checkpoint that does."""

from typing import Any

import numpy as np
import polars as pl

from transferscope import charts
from transferscope.analyses._shared import contrasts, outcomes, phrases
from transferscope.analyses._shared.parts import by_target
from transferscope.measures.intervals import Interval, mean_interval, paired_interval, too_few
from transferscope.section import Chart, Finding

EARLY = 0.5  # a checkpoint from before this share of the pretraining counts as early
MOST = 0.8  # share of the gain of the whole pretraining that an early checkpoint has to give, to be nearly as good
KEY = ["target", "track", "checkpoint", "pretrained_epochs", "place"]


def finished(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per target, track, checkpoint and seed with `final` and `speed`; checkpoints in order."""
    arms = pl.concat_str(["track", pl.lit("\t"), "checkpoint"])
    found = outcomes.summarise(rows.with_columns(arm=arms))
    keys = rows.select(*KEY).unique().with_columns(arm=arms)
    return found.join(keys, on=["target", "arm"]).with_columns(at=axis()).sort("target", "track", "place", "seed")


def axis() -> pl.Expr:
    """How a checkpoint is called on an axis: the epoch where it is known."""
    return pl.coalesce(pl.format("epoch {}", "pretrained_epochs"), "checkpoint")


def by_checkpoint(runs: pl.DataFrame, value: str) -> pl.DataFrame:
    """Mean of `value` over seeds for every checkpoint, in their order."""
    return runs.group_by("place", "at", "pretrained_epochs").agg(pl.col(value).mean()).sort("place")


def _gap(runs: pl.DataFrame, better: int, other: int, value: str) -> Interval | None:
    """100 x (`value` from checkpoint `better` minus that from `other`), paired by seed."""
    a, b = (runs.filter(pl.col("place") == place).select("seed", value).drop_nulls() for place in (better, other))
    both = a.join(b, on="seed", suffix="_other").sort("seed")
    if both.is_empty():
        return None
    return paired_interval(100 * both[value].to_numpy(), 100 * both[f"{value}_other"].to_numpy())


def earliest(runs: pl.DataFrame, value: str) -> tuple[int, int, Interval] | None:
    """(its place, the best one's place, the best's lead over it) of the earliest checkpoint whose `value` is not
    surely below the best; None without values."""
    means = by_checkpoint(runs, value).drop_nulls(value)
    if means.is_empty():
        return None
    best = int(means.sort(value, descending=True, maintain_order=True)["place"][0])
    for place in means["place"]:
        lead = _gap(runs, best, int(place), value)
        if place == best or (lead is not None and not (lead.excludes(0) and lead.mean > 0) and lead.low is not None):
            return int(place), best, lead or Interval(0.0, None, None, 1)
    return None


def worth(target: str, track: str, runs: pl.DataFrame) -> list[Finding]:
    """The earliest checkpoint that does, in metric and in speed, and the claim that an early one is nearly as good."""
    found = []
    under = "" if track in ("given", "true") else f" (pretrained with {track} labels)"
    unit = phrases.unit(runs["metric"][0])
    means = by_checkpoint(runs, "final")
    steps = {int(p): (str(n), e) for p, n, e in means.select("place", "at", "pretrained_epochs").rows()}
    words = {"final": "final test metric", "speed": "optimisation speed"}
    for value, what in words.items():
        if (got := earliest(runs, value)) is None:
            continue
        place, best, lead = got
        (name, epoch), (top, _), whole = steps[place], steps[best], steps[max(steps)][1]
        if place == best == min(steps):
            text = f"On {target}{under}, no later checkpoint is better on average than {top} in {what}."
        elif place == best:
            text = f"On {target}{under}, no checkpoint before {top} reaches its {what}."
        else:
            text = f"On {target}{under}, {name} cannot be told from the best checkpoint ({top}) in {what}"
            if too_few(lead.n):
                text += f" with {lead.n} seeds, which may be too few to see it."
            else:
                saved = f", saving {1 - epoch / whole:z.0%} of the pretraining" if epoch is not None and whole else ""
                text += f"{saved}."
        found.append(contrasts.told(text, lead, f"{unit} behind the best"))
    if track == "random":
        if (gain := _gap(runs, max(steps), min(steps), "final")) is not None:
            a, b = (float(means.filter(pl.col("place") == p)["final"][0]) for p in (min(steps), max(steps)))
            text = (
                f"On {target}, the final test metric is {b:z.1%} after pretraining with random labels to "
                f"{steps[max(steps)][0]} and {a:z.1%} after {steps[min(steps)][0]}."
            )
            found.append(contrasts.told(text, gain, unit))
        return found
    return [*found, *_claim(target, runs, steps, unit)]


def _claim(target: str, runs: pl.DataFrame, steps: dict[int, tuple[str, Any]], unit: str) -> list[Finding]:
    """Claim 10: the last checkpoint from the first half gives at least `MOST` of the gain of all the pretraining."""
    first, last = min(steps), max(steps)
    whole = steps[last][1]
    inside = [(p, epoch) for p, (_, epoch) in steps.items() if p not in (first, last)]
    early = [p for p, epoch in inside if (epoch <= EARLY * whole if whole else p <= EARLY * last)]
    gain = _gap(runs, last, first, "final")
    if not early or gain is None:
        return []
    seeds = [set(runs.filter(pl.col("place") == p).drop_nulls("final")["seed"]) for p in (first, early[-1], last)]
    common = sorted(set.intersection(*seeds))
    if not common:
        return []
    at = [
        runs.filter((pl.col("place") == p) & pl.col("seed").is_in(common)).sort("seed")["final"].to_numpy()
        for p in (first, early[-1], last)
    ]
    excess = mean_interval(100 * ((at[1] - at[0]) - MOST * (at[2] - at[0])))
    kept = 100 * np.mean(at[1] - at[0])
    text = (
        f"On {target}, the whole pretraining gives {gain.mean:+z.1f} {unit} over {steps[first][0]}, and "
        f"{steps[early[-1]][0]} already {kept:+z.1f}; early checkpoints would do if that is at least {MOST:z.0%} of it."
    )
    if not (gain.mean > 0 and gain.excludes(0)):
        text += " The gain itself is not clearly above 0, so there is little to divide."
        return [Finding(text, excess.mean, excess.low, excess.high, excess.n, unit, 10, "open")]
    return [contrasts.judged(text, excess, f"{unit} above that", 10, [excess])]


def unlearnt(runs: pl.DataFrame) -> list[str]:
    """A note for every target on which fine-tuning left some runs with a higher training loss than they began with."""
    found = []
    for target, of in by_target(runs.drop_nulls(["loss_start", "loss_end"])):
        if lost := outcomes.unlearnt(of):
            found.append(
                f"On {target}, {lost} of {of.height} runs ended with a higher training loss than they started with: "
                "they have not learnt; lower recipe.lr or train longer."
            )
    return found


def curves(target: str, runs: pl.DataFrame) -> list[Chart]:
    """Target metric and speed by checkpoint, a line a track."""
    found = []
    for value, what in (("final", "Final test metric"), ("speed", "Optimisation speed")):
        rows = runs.drop_nulls(value).sort("place")
        if rows.is_empty():
            continue
        means = rows.group_by("track", "at", "place", maintain_order=True).agg(pl.col(value).mean()).sort("place")
        spec = charts.lines(
            means,
            "at",
            value,
            "track",
            runs=rows.select("at", "track", "seed", value),
            x_title="pretrained for",
            y_title=what.lower(),
            percent=True,
        )
        caption = "Thick lines: means over seeds; faint lines: single seeds."
        found.append(Chart(f"{target}-{value}", f"{what} on {target} by checkpoint", spec, caption))
    return found


def summary(runs: pl.DataFrame) -> pl.DataFrame:
    """One line a checkpoint, as text for reading; the numbers are in the CSV."""
    rows = [
        {
            "target": target,
            "track": track,
            "pretrained for": at,
            "final": contrasts.cell(of["final"]),
            "speed": contrasts.cell(of["speed"]),
        }
        for (target, track, at), of in runs.group_by(["target", "track", "at"], maintain_order=True)
    ]
    return pl.DataFrame(rows)
