"""What to do with each block: safe to freeze or to reset, or critical, as tables and as code to paste."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from transferscope.analyses._shared import contrasts, in_range, per_block, phrases
from transferscope.measures.deciding import LEAST
from transferscope.measures.equivalence import against_margin, equivalence_level
from transferscope.measures.intervals import ALIKE, Interval, mean_interval
from transferscope.section import View

Advice = Literal["safe", "seems safe", "undecided", "seems critical", "critical"]
HIGH = 0.3  # log10(1 + 1): a way as long as the noise is wide
HEAD = "head: train"  # random at the start in every arm: there is nothing to keep
ONE = "one seed: undecided"
STEADY = "Keep the batch norms of frozen modules in eval mode while you train: their statistics would go on moving."
WORDS = (
    f"Safe and critical are each shown at the 5% level; 'seems': over fewer than {LEAST} seeds. 'Undecided': "
    "neither is shown, however small the mean loss is. The head starts from random values, so there is nothing to "
    "freeze."
)


def advice(loss: Interval, threshold: float) -> Advice:
    """Safe where the whole interval lies below the threshold, critical where it lies above, "seems" with fewer than 3
    seeds. Where it lies on both sides, or there is none, nothing is decided, whatever the mean; nor by fewer than
    6 losses that are all equal, as scores of few images often are."""
    outcome, sure = against_margin(loss, threshold), loss.n >= LEAST
    if loss.low is None or loss.high is None or outcome == "undecided":
        return "undecided"
    if loss.n < ALIKE and loss.high - loss.low <= 1e-12:
        return "undecided"
    if outcome == "within":
        return "safe" if sure else "seems safe"
    return "critical" if sure else "seems critical"


def harm(loss: Interval, threshold: float) -> str:
    """What a loss is by the threshold, as the end of a sentence."""
    kind = advice(loss, threshold)
    if "safe" in kind:
        return "which is harmless"
    if "critical" in kind:
        return "which is NOT harmless"
    return "of which it is undecided whether it is harmless"


def by_loss(target: str, alone: pl.DataFrame, threshold: float) -> View:
    """Every block with what follows from its rewinding alone, and what that costs each arm."""
    names = per_block.order(alone)
    sizes = dict(zip(alone["block"], alone["size"], strict=True))
    metric = str(alone["metric"][0])
    times, arms = phrases.times(metric), list[_ArmColumns]()
    for (arm,), of in alone.group_by("arm", maintain_order=True):
        losses = per_block.intervals(of, "drop")
        decided = per_block.intervals(of, "drop", equivalence_level())
        kinds = {name: _doing(str(arm), advice(loss, threshold), loss.n) for name, loss in decided.items()}
        cells = {name: phrases.interval(contrasts.moved(loss, times), metric) for name, loss in losses.items()}
        arms.append(_ArmColumns(str(arm), kinds, {"loses": cells}))
    caption = (
        f"Loss in {phrases.unit(metric).removeprefix('in ')} when the block alone goes back to its start; harmless up "
        f"to {phrases.difference(times * threshold, metric)}. {WORDS}"
    )
    table = _table(names, arms).with_columns(pl.Series("weights", [sizes[name] for name in names], pl.Int64))
    return View(f"{target}-advice", f"What to do with each block on {target}", table, caption)


@dataclass(frozen=True)
class _ArmColumns:
    """What a table says of an arm: per block what to do, and further columns."""

    arm: str
    doing: dict[str, str]
    more: dict[str, dict[str, str]]


def _table(names: Sequence[str], arms: Sequence[_ArmColumns]) -> pl.DataFrame:
    """A row per block; first what to do in every arm, the pretrained one first, then the numbers."""
    arms = sorted(arms, key=lambda one: one.arm != "P-T")
    columns = {f"{one.arm}: do": {**one.doing, names[-1]: HEAD} for one in arms}
    columns |= {f"{one.arm} {word}": cells for one in arms for word, cells in one.more.items()}
    texts = {word: [cells.get(name) for name in names] for word, cells in columns.items()}
    return pl.DataFrame({"block": list(names), **texts}, schema_overrides=dict.fromkeys(texts, pl.String))


def _doing(arm: str, kind: Advice, seeds: int) -> str:
    if seeds == 1:
        return ONE
    return f"{kind} to {'freeze' if arm == 'P-T' else 'reset'}" if "safe" in kind else kind


def frozen(target: str, alone: pl.DataFrame, bottom: pl.DataFrame, threshold: float) -> list[View]:
    """Ready-to-paste code that freezes what the pretrained arm can leave at its start, given its blocks rewound alone
    and together from the bottom; nothing where that is none. The last block, the head, is never among them."""
    modules = dict(zip(alone["block"], alone["modules"], strict=True))
    losses = per_block.intervals(bottom, "drop", equivalence_level())  # none of a network without a score in any seed
    body = per_block.order(alone)[:-1]
    count, said = 0, "is harmless"
    for place, name in enumerate(body, 1):  # up to the first not shown to be: 5% for all of them together
        kind = advice(losses[name], threshold) if name in losses else "safe"
        if "safe" not in kind:
            break
        if name in losses:
            count, said = place, "seems harmless, which more seeds would settle" if kind == "seems safe" else said
    if not count:
        return []
    names = [module for block in body[:count] for module in modules[block].split(", ")]
    caption = (
        f"Rewinding the lowest {count} blocks of P-T together {said}. {STEADY} Whether training with them frozen ends "
        "as well is another experiment: the analysis `tuning`."
    )
    lines = pl.DataFrame({"python": freezing(names)})
    return [View(f"{target}-freeze", f"What may stay frozen on {target}", lines, caption)]


def run(fine: list[bool]) -> int:
    """The place of the last True: what is harmless with more blocks is harmless with fewer, up to noise."""
    return max((i + 1 for i, good in enumerate(fine) if good), default=0)


def freezing(modules: Sequence[str]) -> list[str]:
    """Lines of Python that freeze these modules (or parameters) of a network called `net`."""
    names = ", ".join(f'"{name}."' for name in modules)
    return [
        f"frozen = ({names},)",
        'for name, p in net.named_parameters(): p.requires_grad_(not (name + ".").startswith(frozen))',
    ]


def by_criticality(target: str, scores: pl.DataFrame) -> View:
    """Every block with what follows from its criticality in each arm, that criticality and the noise it bears."""
    arms: list[_ArmColumns] = []
    known = "mu_low" in scores.columns
    for (arm,), of in scores.group_by("arm", maintain_order=True):
        one = _ArmColumns(str(arm), {}, {"criticality": {}, "noise": {}, **({"between": {}} if known else {})})
        for (block,), rows in of.drop_nulls("value").group_by("block", maintain_order=True):
            noise = rows["sigma_relative"].drop_nulls()
            one.doing[str(block)] = _still(str(arm), rows)
            one.more["criticality"][str(block)] = in_range.interval(rows["value"].to_numpy(), "value").text(2)
            if known:
                one.more["between"][str(block)] = _between(rows)
            one.more["noise"][str(block)] = f"{contrasts.average(noise):z.0%}" if len(noise) else "under the least"
        arms.append(one)
    caption = (
        "Criticality as log10(1 + mu per weight). Noise that the block bears: its standard deviation over the size of "
        "the weights, where the criticality is reached. Safe: the block works at its start in every seed. Critical: "
        f"the whole interval of its criticality lies above {HIGH}, where the way is longer than the noise is wide. "
        f"'Seems': over fewer than {LEAST} seeds. 'Undecided': neither is shown. Between: where the criticality of the "
        "first seed's network lies over draws of noise and training images (95%), on this grid. The head starts from "
        "random values, so there is nothing to freeze."
    )
    return View(
        f"{target}-advice", f"What to do with each block on {target}", _table(per_block.order(scores), arms), caption
    )


def _between(rows: pl.DataFrame) -> str:
    """The 95% interval of the first seed's network over draws of noise and images, as log10(1 + mu per weight)."""
    first = rows.sort("seed").row(0, named=True)
    ends = [
        None if (mu := first[name]) is None else math.log10(1 + mu / first["size"]) for name in ("mu_low", "mu_high")
    ]
    low, high = ends
    if low is None:
        return "not known"
    return f"{low:z.2f} to {high:z.2f}" if high is not None else f"at least {low:z.2f}" if low > 0 else "anything"


def _still(arm: str, rows: pl.DataFrame) -> str:
    """From whether the block works at its start in every seed, and whether its way surely outdoes its noise."""
    if rows.height == 1:
        return ONE
    seems = "" if rows.height >= LEAST else "seems "
    if (rows["mu"] == 0).all():
        return f"{seems}safe to {'freeze' if arm == 'P-T' else 'reset'}"
    value = mean_interval(rows["value"].to_numpy())
    return f"{seems}critical" if value.low is not None and value.low > HIGH else "undecided"
