"""The charts of rewinding: every block alone, ever more from the bottom, at every epoch, drawn anew."""

import polars as pl

from transferscope import charts
from transferscope.analyses._shared import block_basis, per_block, phrases
from transferscope.analyses.rewind.findings import start
from transferscope.analyses.rewind.options import Options
from transferscope.section import Chart


def draw(target: str, rows: pl.DataFrame, options: Options) -> list[Chart]:
    found = []
    where = f"{phrases.word(rows['metric'][0])} on up to {options.images} {options.splits[-1]} images"
    where += f" {block_basis.words(rows, 'same images for all')}"
    lost, percent = f"{phrases.word(rows['metric'][0])} lost", phrases.percent(rows["metric"][0])
    alone = start(rows, "rewind").drop_nulls("drop")
    means = per_block.means(alone, "drop")
    spec = charts.bars(
        means,
        "block",
        "drop",
        "arm",
        low="low",
        high="high",
        value_title=lost,
        percent=percent,
        runs=alone.select("arm", "block", "seed", "drop"),
    )
    caption = (
        f"Each block alone set back to its start; {where}. Bars: means with 95% intervals over seeds; dots: seeds."
    )
    found.append(Chart(f"{target}-blocks", f"What rewinding a block costs on {target}", spec, caption))
    bottom = start(rows, "bottom").drop_nulls("drop")
    if not bottom.is_empty():
        means = per_block.means(bottom, "drop")
        spec = charts.lines(
            means,
            "block",
            "drop",
            "arm",
            low="low",
            high="high",
            percent=percent,
            y_title=lost,
            runs=bottom.select("arm", "block", "seed", "drop"),
            x_title="rewound up to this block",
            reference=phrases.threshold(options.threshold, rows),
        )
        caption = f"The block and all below it set back together; {where}. The rule is the threshold."
        found.append(Chart(f"{target}-together", f"Rewinding from the bottom on {target}", spec, caption))
    heat = rows.filter(pl.col("how") == "rewind").drop_nulls("drop")
    heat = heat.filter(pl.col("checkpoint").n_unique().over("arm", "seed") > 1)
    if not heat.is_empty():
        heat = heat.filter(pl.col("seed") == heat["seed"][0])
        scale = (0.0, max(0.01 * phrases.deviation(heat), float(heat["drop"].max() or 0.0)))  # type: ignore[arg-type]
        maps = [
            charts.heat(
                of, "checkpoint", "block", "drop", percent=percent, domain=scale, value_title=lost, title=str(arm)
            )
            for (arm,), of in heat.group_by("arm", maintain_order=True)
        ]
        spec = charts.beside(*maps) if len(maps) > 1 else maps[0]
        caption = f"Seed {heat['seed'][0]}; every block alone set back to its value at a saved epoch; {where}."
        found.append(Chart(f"{target}-epochs", f"When each block was settled on {target}", spec, caption))
    fresh = rows.filter(pl.col("how") == "redraw").drop_nulls("drop")
    if not fresh.is_empty():
        both = alone.join(fresh.select("arm", "seed").unique(), on=["arm", "seed"], how="semi")
        both = pl.concat(
            [both.with_columns(what=pl.lit("set back to its start")), fresh.with_columns(what=pl.lit("drawn anew"))]
        )
        means = both.group_by("arm", "block", "what", maintain_order=True).agg(pl.col("drop").mean())
        spec = charts.dots(means, "block", "drop", "what", facet="arm", value_title=lost, percent=percent)
        caption = f"The same seeds in both; {where}. A block drawn anew has random weights it has never had before."
        found.append(Chart(f"{target}-redrawn", f"Rewound and redrawn blocks on {target}", spec, caption))
    return found
