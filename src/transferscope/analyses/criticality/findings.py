"""What criticality found, in sentences: by depth, where stages begin, and of whole networks."""

import numpy as np
import polars as pl

from transferscope.analyses._shared import block_basis, contrasts, per_block, phrases
from transferscope.measures.crossfit import elsewhere
from transferscope.measures.intervals import paired_interval
from transferscope.section import Finding

UNIT = "in log10(1 + mu per weight)"


VALUE = pl.when(pl.col("size") > 0).then(pl.col("mu") / pl.col("size"))


def own_scores(scores: pl.DataFrame) -> pl.DataFrame:
    """Arm, seed, training accuracy and that with own statistics, for the networks that have both."""
    if "own_error" not in scores.columns:
        return pl.DataFrame()
    found = (
        scores.filter(pl.col("basis").str.starts_with("re-"))
        .select("arm", "seed", "error", "own_error")
        .unique(maintain_order=True)
    )
    return found.select(
        "arm",
        "seed",
        score=1 - pl.col("error"),
        own=1 - pl.col("own_error"),
        differs=pl.col("own_error") != pl.col("error"),
    )


def basis(scores: pl.DataFrame) -> str:
    return block_basis.words(scores, "training images")


def fine_tuned(target: str, scores: pl.DataFrame) -> list[Finding]:
    """Claim 9, first half: in P-T criticality is low in the lower blocks and rises towards the head."""
    names = per_block.order(scores)
    lower, upper = per_block.halves(names)
    tuned, scratch = (scores.filter(pl.col("arm") == arm) for arm in ("P-T", "RI-T"))
    if (compared := per_block.compared(tuned, "value", upper, lower)) is None:
        return []
    gap, high, low = compared
    other = per_block.level(scratch, "value", lower)
    beside = f" ({other.mean:z.2f} in RI-T)" if other is not None else ""
    rises = "is not shown to rise" if not gap.excludes() else "rises" if gap.mean > 0 else "does NOT rise"
    text = (
        f"On {target}, criticality {rises} with depth in P-T: it is {low.mean:z.2f} in the lower half "
        f"({per_block.span(lower)}){beside} and {high.mean:z.2f} in the upper half, means over blocks and seeds of "
        f"log10(1 + mu per weight). {per_block.HEADLESS} {basis(tuned)}."
    )
    found = [contrasts.judged(text, gap, f"{UNIT}, upper minus lower half", 9, [gap])]
    if (rank := per_block.trend(tuned, "value", names)) is not None:
        most = max(per_block.intervals(tuned, "value").items(), key=lambda pair: pair[1].mean)
        wide = tuned.drop_nulls("value").pivot("seed", index="block", values="value").drop("block").to_numpy()
        at = f", at {elsewhere(wide).mean():z.2f}" if np.isfinite(wide).all(0).any() else ""
        chosen = " (chosen in all other seeds, read in each)" if at and most[1].n > 1 else ""
        text = f"On {target}, the most critical block of P-T is {most[0]}{at}{chosen}."
        found.append(contrasts.finding(text, rank, "rank correlation of depth and criticality"))
    return found


def scratch(target: str, scores: pl.DataFrame) -> list[Finding]:
    """Claim 9, second half: in RI-T the first block and those where stages begin are critical."""
    rows = scores.filter(pl.col("arm") == "RI-T")
    first, rest = per_block.entries(per_block.order(scores))
    if (compared := per_block.compared(rows, "value", first, rest)) is None:
        return []
    gap, of, other = compared
    text = (
        f"On {target}, the blocks of RI-T where a stage begins ({phrases.listed(first)}) are "
        f"{contrasts.more(gap)} critical than the others: {of.mean:z.2f} against {other.mean:z.2f}. "
        f"{per_block.HEADLESS} {basis(rows)}."
    )
    return [contrasts.judged(text, gap, f"{UNIT}, stage entries minus others", 9, [gap])]


def totals(scores: pl.DataFrame) -> pl.DataFrame:
    """The criticality of every network, the sum over its blocks, as log10(1 + sum); its largest block and that one's
    `share` of the sum (null where that is 0), and the median block's, as log10(1 + mu)."""
    sums = (
        scores.drop_nulls("mu")
        .group_by("arm", "seed", maintain_order=True)
        .agg(
            pl.col("mu").sum(),
            pl.col("at_least").any(),
            largest=pl.col("block").get(pl.col("mu").arg_max()),
            most=pl.col("mu").max(),
            median=(1 + pl.col("mu").median()).log10(),
        )
    )
    share = pl.when(pl.col("mu") > 0).then(pl.col("most") / pl.col("mu"))
    return sums.with_columns(total=(1 + pl.col("mu")).log10(), share=share)


def largest(sums: pl.DataFrame) -> str:
    """Which block makes up most of the sums of an arm, and how much of them."""
    known = sums.drop_nulls("share")
    if known.is_empty():
        return "all of it 0"
    names = known["largest"].unique(maintain_order=True).to_list()
    return f"{contrasts.average(known['share']):z.0%} of it in {' or '.join(names)} alone"


def network_sums(target: str, scores: pl.DataFrame) -> list[Finding]:
    sums = totals(scores)
    tuned, scratch = (sums.filter(pl.col("arm") == arm) for arm in ("P-T", "RI-T"))
    both = tuned.join(scratch, on="seed", suffix="_scratch").sort("seed")
    if both.is_empty():
        return []
    gap = paired_interval(both["total_scratch"].to_numpy(), both["total"].to_numpy())
    text = (
        f"On {target}, the criticality of the whole network, the sum over its blocks, is "
        f"10^{contrasts.average(both['total']):z.1f} for P-T ({largest(tuned)}) and "
        f"10^{contrasts.average(both['total_scratch']):z.1f} for RI-T ({largest(scratch)}); the median block's is "
        f"10^{contrasts.average(both['median']):z.1f} and 10^{contrasts.average(both['median_scratch']):z.1f} "
        f"{basis(scores)}."
    )
    return [contrasts.finding(text, gap, "powers of ten, RI-T above P-T")]
