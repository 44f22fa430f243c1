"""Reuse: how much of what pretraining gives is due to features, how much to the statistics of the weights?

Between the random start and the pretrained one stand control arms. `stats` redraws every weight tensor with the
pretrained tensor's mean and variance: the scale is kept, the features are gone (`permuted` keeps the whole histogram).
`transfuse:K` has pretrained values up to block K and random ones above. What the pretrained arm scores beyond `stats`
is due to features. (Raghu et al. 2019, "Transfusion"; Matsoukas et al. 2022. Neyshabur, Sedghi and Zhang 2020,
figure 3, ask the same question with shuffled images.)

How to read it. The line shows the final test metric against the last block that got pretrained values: from "none" to
"all". Where it stops rising, the blocks above gain nothing from pretraining; where it rises most, the features that
matter sit. The dashed rule is `stats`: if it lies near "all", statistics explain the gain. The share due to features is
(P-T - stats) / P-T; for an AUC, whose value without any skill is 50%, it can hardly exceed one half. Optimisation speed
is the mean training metric over the epochs. "Not distinguishable" means that the interval over seeds includes no
difference: with few seeds it is wide, and says little.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import BeforeValidator, Field

from transferscope import analyses, charts
from transferscope.analyses._shared import contrasts, outcomes, phrases
from transferscope.engine.step import Step
from transferscope.engine.table import Table
from transferscope.errors import UserError, did_you_mean
from transferscope.measures.intervals import Interval, mean_interval, paired_interval, ratio_interval, too_few
from transferscope.models.anatomy import block_names, body_names
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.schema import Seeds, as_tuple

TITLE = "Features or statistics"
POINTS = 5  # cut points by default
Places = Annotated[tuple[Annotated[int, Field(ge=1)] | str, ...], BeforeValidator(as_tuple), Field(min_length=1)]


class Options(analyses.Options):
    """Where pretrained values end, what stands above, and what the arms are compared with."""

    at: Literal["every"] | Places | None = None
    """The blocks up to which pretrained values are kept, as counts or names, or `every` block; null for about five of
    them."""
    above: Literal["random", "stats"] = "random"
    """What the blocks above get: random values as in the arm `random` or in `stats`."""
    controls: Annotated[tuple[Literal["stats", "permuted"], ...], BeforeValidator(as_tuple)] = ("stats",)
    """Other starts without features to compare with."""
    seeds: Seeds | None = None
    """The seeds to train, a count or a list; null for the study's."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of every training; null for the study's."""


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One training run per target, start and seed, from no pretrained block to all of them."""
    outcomes.need_weights(study, "reuse")
    names = block_names(study.network, study.memo)
    suffix = "+stats" if options.above == "stats" else ""
    plain = dict.fromkeys(("random", *options.controls, options.above))
    starts: list[tuple[str, int | None, str | None]]
    starts = [(arm, 0, "none") if arm == options.above else (arm, None, None) for arm in plain]
    starts += [(f"transfuse:{k}{suffix}", k, names[k - 1]) for k in cuts(study, options)]
    starts.append(("pretrained", len(names), "all"))
    changes: dict[str, Any] = {} if options.epochs is None else {"epochs": options.epochs}
    for target in study.targets:
        for arm, blocks, upto in starts:
            for seed in options.seeds or study.seeds:
                labels = {"target": target, "arm": arm, "blocks": blocks, "upto": upto, "seed": seed}
                yield labels, study.run(target, arm, seed, **changes)


def cuts(study: Study, options: Options) -> list[int]:
    """The numbers of blocks that keep pretrained values, increasing, none of them equal to no block or to all.

    UserError for a block there is not, and for one from which on nothing pretrained is left above.
    """
    names = block_names(study.network, study.memo)
    most = names.index(body_names(study.network, study.memo)[-1])
    if options.at == "every":
        return list(range(1, most + 1))
    if options.at is None:
        return sorted({int(k) for k in np.linspace(1, most, min(POINTS, most)).round()}) if most else []
    found = set()
    for at in options.at:
        if isinstance(at, str) and at not in names:
            raise UserError(f"analyses.reuse.at: the network has no block '{at}'; {did_you_mean(at, names)}")
        count = names.index(at) + 1 if isinstance(at, str) else at
        if count > most:
            raise UserError(
                f"analyses.reuse.at: above '{at}' nothing pretrained is left to leave out; give counts of blocks from "
                f"1 to {most} or names up to '{names[most - 1]}'."
            )
        found.add(count)
    return sorted(found)


def section(table: Table, options: Options) -> Section:
    """The share due to features, speed, the block after which nothing is gained, and the line from none to all."""
    if table.rows.is_empty():
        return Section(TITLE, notes=["No run has finished yet."])
    places = table.rows.select("target", "arm", "blocks", "upto").unique(maintain_order=True)
    every = outcomes.summarise(table.rows).join(places, on=["target", "arm"], how="left", maintain_order="left")
    findings: list[Finding] = []
    drawn: list[Chart] = []
    views: list[View] = []
    notes: list[str] = []
    for (name,), of_target in every.group_by("target", maintain_order=True):
        target = str(name)
        notes += outcomes.undefined(of_target, "final", target)
        runs = of_target.drop_nulls(["final", "speed"])
        if runs.is_empty():
            continue
        findings += [*_features(target, runs, notes), *_speed(target, runs), *_enough(target, runs)]
        drawn += [*_lines(target, runs, options), *_curves(target, table.rows)]
        views.append(View(f"{target}-starts", f"Every start on {target}, means over seeds", _summary(runs)))
    if few := too_few(every["seed"].n_unique()):
        notes.append(few)
    return Section(TITLE, findings, drawn, views, notes=notes, basis=f"{outcomes.FINAL} {outcomes.SPEED}")


def _of(arm: str) -> pl.Expr:
    return pl.col("arm") == arm


def _features(target: str, runs: pl.DataFrame, notes: list[str]) -> list[Finding]:
    """The share of the pretrained arm's score, and of its gain, that `stats` does not have."""
    tuned, scale = outcomes.paired(runs, _of("pretrained"), _of("stats"), "final")
    if not len(tuned) or not (tuned > 0).all():
        return []
    word = phrases.word(runs["metric"][0])
    share = ratio_interval(tuned, scale)
    text = (
        f"On {target}, the final test {word} is {tuned.mean():z.1%} from pretrained weights and {scale.mean():z.1%} "
        f"from weights that keep only their means and variances: "
    )
    if share.mean <= 0:
        text += "nothing of the score is due to features."
    elif share.low is not None and not share.excludes(0):
        text += f"{share.mean:z.0f}% of the score would be due to features, but that is not distinguishable from none."
    else:
        text += f"{share.mean:z.0f}% of the score is due to features."
    found = [contrasts.told(text, share, "%")]
    whole, random = outcomes.paired(runs, _of("pretrained"), _of("random"), "final")
    gain = paired_interval(100 * whole, 100 * random) if len(whole) else None
    three = runs.filter(_of("random")).join(runs.filter(_of("stats")), on="seed", suffix="_stats")
    three = three.join(runs.filter(_of("pretrained")), on="seed", suffix="_tuned").sort("seed")
    gains = (three["final_tuned"] - three["final"]).to_numpy()
    if gain is None or not len(gains):
        return found
    if not gain.excludes(0) or not (gains > 0).all():
        notes.append(
            f"On {target} the gain of pretraining over a random start is not clear, so no share of it is given."
        )
        return found
    part = outcomes.share((three["final_tuned"] - three["final_stats"]).to_numpy(), gains)
    unit = phrases.unit(runs["metric"][0])
    text = f"On {target}, of the {100 * gains.mean():z.1f} {unit} that pretraining adds to a random start, "
    if part.low is not None and not part.excludes(0):
        text += f"{part.mean:z.0f}% would be due to features, but that is not distinguishable from none."
    elif part.mean <= 0:
        text += "nothing is due to features: the statistics of the weights alone give as much or more."
    elif part.mean >= 100:
        text += "all is due to features: the statistics of the weights alone give nothing."
    else:
        text += f"{part.mean:z.0f}% are due to features and the rest to the statistics of the weights."
    return [*found, contrasts.told(text, part, "%")]


def _speed(target: str, runs: pl.DataFrame) -> list[Finding]:
    """What statistics alone do for optimisation speed, and where along the blocks most of the speed is gained."""
    unit, found = phrases.unit(runs["metric"][0]), []
    scale, random = outcomes.paired(runs, _of("stats"), _of("random"), "speed")
    if len(scale):
        gap = paired_interval(100 * scale, 100 * random)
        tuned = runs.filter(_of("pretrained"))["speed"]
        whole = f", against {contrasts.average(tuned):z.1%} with the whole weights" if len(tuned) else ""
        text = (
            f"On {target}, statistics alone change the optimisation speed from {random.mean():z.1%} to "
            f"{scale.mean():z.1%}{whole}."
        )
        found.append(contrasts.told(text, gap, unit))
    path = _path(runs)
    steps: list[tuple[Interval, str]] = []
    for (_, lower), (_, upper) in pairwise(path):
        after, before = outcomes.paired(runs, _of(upper[0]), _of(lower[0]), "speed")
        if len(after):
            steps.append((paired_interval(100 * after, 100 * before), _between(lower[1], upper[1])))
    if len(steps) > 1:
        most, where = max(steps, key=lambda step: step[0].mean)
        if most.mean > 0:
            text = f"On {target}, optimisation speed gains most when pretrained values reach {where}."
            found.append(contrasts.told(text, most, unit))
    return found


def _between(lower: str, upper: str) -> str:
    """Which blocks get pretrained values between two cut points."""
    first = "from the first block" if lower == "none" else f"beyond {lower}"
    return f"{first} {'to the end' if upper == 'all' else f'up to {upper}'}"


def _path(runs: pl.DataFrame) -> list[tuple[int, tuple[str, str]]]:
    """(blocks, (arm, last block)) of every start on the line from none to all, in order."""
    seen = runs.drop_nulls("blocks").select("blocks", "arm", "upto").unique().sort("blocks")
    return [(int(k), (str(arm), str(upto))) for k, arm, upto in seen.iter_rows()]


def _enough(target: str, runs: pl.DataFrame) -> list[Finding]:
    """The first cut point from which on no start is distinguishably worse than the pretrained one."""
    gaps: list[tuple[str, Interval]] = []
    for _, (arm, upto) in _path(runs):
        if arm != "pretrained":
            whole, part = outcomes.paired(runs, _of("pretrained"), _of(arm), "final")
            if len(whole):
                gaps.append((upto, paired_interval(100 * whole, 100 * part)))
    if len(gaps) < 2 or any(gap.low is None for _, gap in gaps):
        return []
    unit = phrases.unit(runs["metric"][0])
    worse = [gap.excludes(0) and gap.mean > 0 for _, gap in gaps]
    if worse[-1]:
        upto, gap = gaps[-1]
        text = f"On {target}, even pretrained values up to {upto} end below pretrained values in all blocks."
        return [contrasts.told(text, gap, f"{unit} short of all")]
    first = max((place + 1 for place, is_worse in enumerate(worse) if is_worse), default=0)
    upto, gap = gaps[first]
    if upto == "none":
        text = f"On {target}, no block is seen to gain from pretrained values: even without any, "
    else:
        text = f"On {target}, nothing more is seen to be gained beyond pretrained values up to {upto}: from there on, "
    text += f"the final score is not distinguishable from that with all blocks with {gap.n} seeds."
    if too_few(gap.n):
        text = text.removesuffix(".") + ", which may be too few to see it."
    return [contrasts.told(text, gap, f"{unit} short of all")]


def _lines(target: str, runs: pl.DataFrame, options: Options) -> list[Chart]:
    """Final metric and optimisation speed along the blocks, `stats` as a rule."""
    path = runs.drop_nulls("blocks").sort("blocks", "seed")
    if path.is_empty():
        return []
    word, found = phrases.word(runs["metric"][0]), []
    scale = runs.filter(_of("stats"))
    for value, what in (("final", f"final test {word}"), ("speed", f"mean training {word} over the epochs")):
        means = outcomes.over_seeds(path, ["upto"], value)
        spec = charts.lines(
            means,
            "upto",
            value,
            low="low",
            high="high",
            runs=path.select("upto", "seed", value),
            percent=True,
            x_title="last block with pretrained values",
            y_title=what,
            reference=contrasts.average(scale[value]) if len(scale) else None,
        )
        rest = "random" if options.above == "random" else "redrawn with the pretrained means and variances"
        caption = f"Blocks above are {rest}. Thick: mean and 95% interval over seeds. Faint: single seeds."
        caption += " Dashed: means and variances only, in all blocks." if len(scale) else ""
        title = "Where features are reused" if value == "final" else "Where speed comes from"
        found.append(Chart(f"{target}-{value}", f"{title} on {target}", spec, caption))
    return found


def _curves(target: str, rows: pl.DataFrame) -> list[Chart]:
    """Test curves of the starts that are no cut points."""
    keep = (pl.col("target") == target) & ~pl.col("arm").str.starts_with("transfuse")
    runs = rows.filter(keep).select("metric", "epoch", "arm", "seed", "test_metric").drop_nulls()
    if runs.is_empty():
        return []
    means = runs.group_by("epoch", "arm", maintain_order=True).agg(pl.col("test_metric").mean())
    spec = charts.lines(
        means,
        "epoch",
        "test_metric",
        "arm",
        runs=runs.drop("metric"),
        x_title="epoch",
        y_title=f"test {phrases.word(runs['metric'][0])}",
        percent=True,
    )
    caption = "Thick lines: means over seeds. Faint lines: single seeds. Epoch 0 is the start. " + outcomes.WATCHED
    return [Chart(f"{target}-curves", f"Learning curves from starts without features on {target}", spec, caption)]


def _summary(runs: pl.DataFrame) -> pl.DataFrame:
    """One line a start: final metric, how far below the pretrained start in points, speed."""
    found = []
    for (arm,), of in runs.group_by("arm", maintain_order=True):
        whole, part = outcomes.paired(runs, _of("pretrained"), _of(str(arm)), "final")
        found.append(
            {
                "start": arm,
                "pretrained up to": of["upto"][0] or "-",
                "final": mean_interval(of["final"].to_numpy()).text(),
                "points short of pretrained": _short(whole, part) if len(whole) and arm != "pretrained" else "-",
                "optimisation speed": mean_interval(of["speed"].to_numpy()).text(),
            }
        )
    return pl.DataFrame(found)


def _short(whole: outcomes.Values, part: outcomes.Values) -> str:
    return paired_interval(100 * whole, 100 * part).text(1)
