"""What rewinding found, in sentences: what a block costs, where, and how many can go back together."""

import polars as pl

from transferscope.analyses._shared import advice, block_basis, contrasts, per_block, phrases
from transferscope.analyses.rewind.options import Options
from transferscope.measures.counts import whole_numbers
from transferscope.section import Finding


def own_scores(rows: pl.DataFrame) -> pl.DataFrame:
    """Arm, seed, score and own score of every network that has both, and whether they differ by more than chance."""
    now, own = (rows.filter(pl.col("how") == how).drop_nulls("score") for how in ("none", "own"))
    both = now.select("arm", "seed", "score").join(
        own.select(
            "arm", "seed", pl.col("score").alias("own"), *(c for c in ("drop_low", "drop_high") if c in own.columns)
        ),
        on=["arm", "seed"],
    )
    ends = {"drop_low", "drop_high"} <= set(both.columns)
    apart = (pl.col("drop_low") > 0) | (pl.col("drop_high") < 0) if ends else pl.col("own") != pl.col("score")
    return both.with_columns(differs=apart.fill_null(pl.col("own") != pl.col("score")))


def start(rows: pl.DataFrame, how: str) -> pl.DataFrame:
    return rows.filter((pl.col("how") == how) & (pl.col("checkpoint") == "start"))


def _unit(rows: pl.DataFrame) -> str:
    return phrases.unit(rows["metric"][0])


def _basis(rows: pl.DataFrame, options: Options) -> str:
    return block_basis.words(rows, f"{options.splits[-1]} images")


def _points(value: float, rows: pl.DataFrame) -> str:
    metric = str(rows["metric"][0])
    return phrases.difference(phrases.times(metric) * value, metric)


def fine_tuned(target: str, alone: pl.DataFrame, options: Options) -> list[Finding]:
    """Claim 9, first half: the lower blocks of P-T can be rewound without harm, the upper ones less so."""
    rows, names = alone.filter(pl.col("arm") == "P-T"), per_block.order(alone)
    lower, upper = per_block.halves(names)
    if (compared := per_block.compared(rows, "drop", upper, lower)) is None:
        return []
    gap, high, low = compared
    times, threshold = phrases.times(rows["metric"][0]), phrases.threshold(options.threshold, rows)
    text = (
        f"On {target}, rewinding one block of the lower half of P-T ({per_block.span(lower)}) costs "
        f"{_points(low.mean, rows)} {_unit(alone)} on average over blocks and seeds, "
        f"{advice.harm(low, threshold)} by the threshold of {_points(threshold, rows)}; one of the upper "
        f"half costs {_points(high.mean, rows)}. "
        f"{per_block.HEADLESS} {_basis(alone, options)}."
    )
    found = [
        contrasts.judged(
            text,
            contrasts.moved(gap, times),
            f"{_unit(alone)}, upper minus lower half",
            9,
            [gap, contrasts.moved(low, -1, threshold)],
        )
    ]
    if (rank := per_block.trend(rows, "drop", names)) is not None:
        words = "rises towards the head", "falls towards the head", "is not shown to follow its depth"
        text = (
            f"On {target}, the loss by rewinding a block of P-T {per_block.with_depth(rank, *words)} "
            f"{_basis(alone, options)}."
        )
        found.append(contrasts.finding(text, rank, "rank correlation of depth and loss"))
    return found


def scratch(target: str, alone: pl.DataFrame, options: Options) -> list[Finding]:
    """Claim 9, second half: in RI-T the first block and those where stages begin are critical."""
    rows = alone.filter(pl.col("arm") == "RI-T")
    first, rest = per_block.entries(per_block.order(alone))
    if (compared := per_block.compared(rows, "drop", first, rest)) is None:
        return []
    gap, of, other = compared
    times = phrases.times(rows["metric"][0])
    text = (
        f"On {target}, rewinding a block of RI-T where a stage begins ({phrases.listed(first)}) costs "
        f"{_points(of.mean, rows)} {_unit(alone)} on average over blocks and seeds, "
        f"{contrasts.more(gap)} than another block ({_points(other.mean, rows)}). {per_block.HEADLESS} "
        f"{_basis(alone, options)}."
    )
    return [
        contrasts.judged(text, contrasts.moved(gap, times), f"{_unit(alone)}, stage entries minus others", 9, [gap])
    ]


def together(target: str, rows: pl.DataFrame, options: Options) -> list[Finding]:
    """How many blocks, counted from the bottom, can go back together."""
    body = per_block.order(start(rows, "rewind"))[:-1]
    bottom = start(rows, "bottom").filter(pl.col("block").is_in(body))
    threshold = phrases.threshold(options.threshold, rows)
    counts = _counts(bottom, threshold)
    if counts.is_empty():
        return []
    said = [
        f"{contrasts.average(of['blocks']):z.1f} of {arm}" for (arm,), of in counts.group_by("arm", maintain_order=True)
    ]
    text = (
        f"On {target}, of {len(body)} blocks below the head the lowest {phrases.listed(said)} can be rewound together "
        f"at a loss of at most {_points(threshold, rows)} {_unit(rows)}, in the mean over seeds of each seed's "
        f"count {_basis(rows, options)}."
    )
    tuned, scratch = (counts.filter(pl.col("arm") == arm).sort("seed") for arm in ("P-T", "RI-T"))
    both = tuned.join(scratch, on="seed", suffix="_scratch")
    if both.is_empty():
        arm = counts["arm"][0]
        own = counts.filter(pl.col("arm") == arm)["blocks"].to_numpy()
        return [contrasts.finding(text, whole_numbers(own), f"blocks of {arm}")]
    gap = whole_numbers((both["blocks"] - both["blocks_scratch"]).to_numpy())
    return [contrasts.finding(text, gap, "blocks more in P-T than in RI-T")]


def _counts(bottom: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """The length of the longest run of blocks from the bottom that can go back together, for every arm and seed."""
    found = []
    for (arm, seed), of in bottom.group_by("arm", "seed", maintain_order=True):
        drops = of["drop"].to_list()
        if any(d is not None for d in drops):
            fine = [d is not None and d <= threshold for d in drops]
            found.append({"arm": arm, "seed": seed, "blocks": float(advice.run(fine))})
    return pl.DataFrame(found, schema={"arm": pl.String, "seed": pl.Int64, "blocks": pl.Float64})
