"""Average: what does averaging the weights of fine-tuned networks gain, and how much fine-tuning is best?

Two averages. The weights of the seeds of an arm are averaged into one network (a *soup*: all of them, or added one by
one as long as the validation score does not fall) and compared with the best single network and with the ensemble that
runs them all. And every fine-tuned network is averaged with its own start, P, in growing parts: the WiSE-FT curve,
tested on its own target and on other targets with the same classes. (Soups: Wortsman et al. 2022; WiSE-FT: Wortsman et
al. 2022b; that fine-tuned networks lie in one basin: Neyshabur, Sedghi and Zhang 2020, section 3.)

How to read it. A soup costs what one network costs; the ensemble costs as many times as it has members, and is what a
soup can hope for. Everything that is chosen (the best single network, what enters the greedy soup, the best place on
the curve) is chosen on the validation split and tested on the test split. There is one soup of all seeds, so its
interval counts test images, not seeds. Soups need networks without barriers between them: see the section on barriers,
and the soup from scratch beside it. P has no head for the target's classes: the curve keeps the fine-tuned head all
along. All networks have one basis: batch-norm statistics are re-estimated from the same training images for every
average and for every single network it is compared with, which stand with their own statistics beside.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import Field

from transferscope import analyses, answers, charts
from transferscope.analyses._shared import barriers, contrasts, judging, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.average.card import card
from transferscope.analyses.average.steps import DIFFERENT, soup, wise
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import trained

TITLE = "What averaging networks gains"
SOUP, WISE = "soup", "from P to P-T"


class Options(analyses.OfTrained):
    """How fine the curve is, and on which images networks are scored."""

    steps: Annotated[int, Field(ge=0)] = 5
    """Even places on the way from P to P-T, both ends counted; 0 for no curve."""
    images: Annotated[int, Field(ge=8)] = 1000
    """Images of val and of test to score on, at most."""
    statistics: Annotated[int, Field(ge=8)] = 250
    """Training images from which batch-norm statistics are re-estimated."""


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """Soups of the first 2, 3, ... seeds of every arm, so that a seed added later recomputes none; and every curve."""
    images = {"images": options.images, "statistics": options.statistics}
    for target in study.targets:
        how: dict[str, Any] = {**images, **judging.judging(study.data(target))}
        for arm in sorted((a for a in study.arms if a in ("pretrained", "random")), key="pretrained".__ne__):
            runs = [study.run(target, arm, seed) for seed in study.seeds]
            for count in range(2, len(runs) + 1):
                step = soup.step(runs=runs[:count], at=options.checkpoint, data=study.data(target), **how)
                yield {"target": target, "what": SOUP, "arm": arm, "networks": count, "seed": None, "on": target}, step
        for seed in study.seeds if "pretrained" in study.arms and options.steps else ():
            for on in (target, *(other for other in study.targets if other != target)):
                run, data = study.run(target, "pretrained", seed), study.data(target)
                step = wise.step(
                    run=run,
                    at=options.checkpoint,
                    data=data,
                    on=study.data(on) if on != target else None,
                    alphas=[float(v) for v in np.linspace(0, 1, max(2, options.steps))],
                    **how,
                )
                labels = {"target": target, "what": WISE, "arm": "pretrained", "networks": None, "seed": seed, "on": on}
                yield labels, step


def section(table: ResultTable, options: Options) -> Section:
    """Soups against single networks and the ensemble, and the curve from P to P-T on every target it was tested on."""
    said = Parts()
    if table.rows.is_empty():
        return Section(TITLE, notes=["No average of networks has finished yet."])
    lost = [column for column in ("alpha", "val_metric", "networks") if column not in table.rows.columns]
    every = table.rows.with_columns(pl.lit(None, pl.Float64).alias(column) for column in lost)
    for target, rows in by_target(every):
        soups = rows.filter((pl.col("what") == SOUP) & pl.col("test_metric").is_not_null())
        for (arm,), of in soups.group_by("arm", maintain_order=True):
            said.findings += _soup(target, str(arm), of)
        said.cards += card(target, soups)
        said.charts += _soup_charts(target, soups)
        curve = rows.filter((pl.col("what") == WISE) & pl.col("test_metric").is_not_null())
        said.findings += _wise(target, curve)
        said.charts += _wise_chart(target, curve)
        if not soups.is_empty():
            said.tables.append(_summary_table(target, soups))
        apart = rows.filter((pl.col("what") == WISE) & (pl.col("way") == DIFFERENT))["on"].unique(maintain_order=True)
        if len(apart):
            others = phrases.listed([str(on) for on in apart])
            numbers = any("numbers" in answers.metric(name).of for name in rows["measure"].drop_nulls())
            what = "numbers or their scales" if numbers else "classes"
            said.notes.append(f"The networks of {target} were not tested on {others}, whose {what} are not the same.")
    if "differs" in every.columns and (stale := every.filter(pl.col("differs") > 0)["target"].unique().sort()).len():
        named = phrases.listed([str(target) for target in stale])
        said.notes.append(
            f"Networks of {named} score differently with their own batch-norm statistics, by more than chance (paired "
            "by image, beyond 2.6 standard errors); what is compared has statistics from the same training images."
        )
    seeds = table.rows.filter(pl.col("what") == WISE).with_columns(seed_b=pl.col("seed"))
    if not seeds.is_empty():
        said.notes += [note for note in contrasts.notes_on_pairs(seeds) if note != contrasts.TWINS]
    basis = (
        "Single networks, averages and points between P and P-T are scored on the same test images (at most "
        f"{options.images}), in eval mode; batch-norm statistics, where there are any, are re-estimated for each from "
        f"the same training images (at most {options.statistics}). A greedy soup, the best single network and a place "
        "on the way from P to P-T are chosen on as many validation images. "
        f"{phrases.weights(options.checkpoint)}"
    )
    return said.section(TITLE, basis + judging.basis(table.rows))


def _soup(target: str, arm: str, soups: pl.DataFrame) -> list[Finding]:
    """The largest soup of an arm against the best single network and the ensemble."""
    of = soups.filter(pl.col("networks") == pl.col("networks").max())
    scores = {row["way"]: row for row in of.rows(named=True)}
    if not {"soup of all", "best single"} <= scores.keys():
        return []
    count, whole, best = of["networks"][0], scores["soup of all"], scores["best single"]
    others = [
        f"{word} {barriers.score(scores[way]['test_metric'], of)}"
        for way, word in (("mean of the singles", "they score on average"), ("ensemble", "their ensemble scores"))
        if way in scores
    ]
    heads = "whose heads began with the same values" if best["head"] == "shared" else "with heads begun at random each"
    text = (
        f"On {target}, the weights of {count} {trained(arm)} ({heads}) averaged into one network score "
        f"{barriers.score(whole['test_metric'], of)}, the best single one (chosen on val) "
        f"{barriers.score(best['test_metric'], of)}" + "".join(f"; {other}" for other in others) + "."
    )
    unit = f"{barriers.points(of)} over the best single one"
    found = [_gain(text, whole, unit, barriers.times(of))]
    if (greedy := scores.get("greedy soup")) is not None and (used := greedy["used"]) is not None:
        text = (
            f"On {target}, the greedy soup takes {used} of the {count} {trained(arm)} and scores "
            f"{barriers.score(greedy['test_metric'], of)}."
        )
        found.append(_gain(text, greedy, unit, barriers.times(of)))
    return found


def _gain(text: str, row: dict[str, Any], unit: str, times: float) -> Finding:
    effect, low, high = (None if row[c] is None else times * row[c] for c in ("gain", "gain_low", "gain_high"))
    return Finding(text, effect, low, high, row["images"], unit, counted="test images")


def _soup_charts(target: str, soups: pl.DataFrame) -> list[Chart]:
    if soups.is_empty():
        return []
    most = soups.filter(pl.col("networks") == pl.col("networks").max().over("arm"))
    shown = most.select("way", "test_metric", arm=pl.col("arm").map_elements(trained, pl.String))
    metric = str(soups["measure"][0])
    word, percent, shown = phrases.axis(metric), phrases.percent(metric), phrases.upright(shown, "test_metric", metric)
    spec = charts.dots(shown, "way", "test_metric", "arm", value_title=f"test {word}", percent=percent)
    caption = f"{max(most['networks'])} networks of each arm. What was chosen was chosen on the validation split."
    found = [Chart(f"{target}-soup", f"Averages of networks on {target}", spec, caption)]
    if soups["networks"].n_unique() > 2:
        grown = soups.filter(pl.col("way") == "soup of all").with_columns(
            gain=barriers.times(soups) * pl.col("gain"), arm=pl.col("arm").map_elements(trained, pl.String)
        )
        spec = charts.lines(
            grown.drop_nulls("gain"),
            "networks",
            "gain",
            "arm",
            x_title="networks in the soup",
            y_title=f"gain of the soup ({barriers.points(soups)})",
            reference=0.0,
        )
        caption = "Over the best single network. Each soup holds the first so many seeds."
        found.append(Chart(f"{target}-soup-size", f"Soups of more and more networks on {target}", spec, caption))
    return found


def _summary_table(target: str, soups: pl.DataFrame) -> View:
    percent, points = phrases.percent(soups["measure"][0]), barriers.hundredths(soups)
    sign = "%" if percent else points
    test = barriers.column("test_metric", soups, level=True).alias(f"test ({sign})")
    gain = [
        barriers.column(c, soups).alias(n) for c, n in (("gain", "gain"), ("gain_low", "low"), ("gain_high", "high"))
    ]
    own = (
        [barriers.column("own_metric", soups, level=True).alias(f"own statistics ({sign})")]
        if "own_metric" in soups.columns
        else []
    )
    rows = soups.select("arm", "networks", "way", "used", test, *own, pl.col("test_loss").round(3), *gain)
    caption = (
        f"gain: test score over that of the best single network, in {points}, with its 95% interval over images. "
        "Batch-norm statistics are re-estimated from the same training images for all; own statistics: the single "
        "networks with those they came with."
    )
    return View(f"{target}-soups", f"Soups on {target}", rows, caption)


def _wise(target: str, curve: pl.DataFrame) -> list[Finding]:
    """The place on the curve that is best on val against the end of it, on the own target and on others."""
    found = []
    own = curve.filter((pl.col("on") == target) & pl.col("val_metric").is_not_null())
    chosen = own.sort("val_metric", "alpha", descending=True, maintain_order=True).group_by("seed", maintain_order=True)
    places = chosen.first().select("seed", pl.col("alpha").alias("place"))
    for (on,), of in curve.join(places, on="seed").group_by("on", maintain_order=True):
        at = of.filter(pl.col("alpha") == pl.col("place")).sort("seed")
        end = of.filter(pl.col("alpha") == 1).sort("seed")
        both = at.join(end, on="seed", suffix="_end")
        if both.is_empty():
            continue
        gap = contrasts.interval(barriers.times(of) * (both["test_metric"] - both["test_metric_end"]).to_numpy())
        where = f"at {contrasts.average(both['place']):z.0%} of the way from P to P-T (chosen on val of {target})"
        scores = [contrasts.average(both[name]) for name in ("test_metric", "test_metric_end")]
        first, last = (barriers.score(score, of) for score in scores)
        text = f"Tested on {on}, {where} the network of {target} scores {first}, at the end {last}."
        found.append(contrasts.finding(text, gap, barriers.points(of)))
    return found


def _wise_chart(target: str, curve: pl.DataFrame) -> list[Chart]:
    if curve.is_empty():
        return []
    runs = curve.select("on", "alpha", "seed", "test_metric").rename({"on": "tested on"})
    means = runs.group_by("tested on", "alpha", maintain_order=True).agg(pl.col("test_metric").mean())
    metric = str(curve["measure"][0])
    spec = charts.lines(
        phrases.upright(means, "test_metric", metric),
        "alpha",
        "test_metric",
        "tested on",
        runs=phrases.upright(runs, "test_metric", metric),
        percent=phrases.percent(metric),
        y_title=f"test {phrases.axis(metric)}",
        x_title=f"from P (0) to the P-T of {target} (1)",
    )
    caption = "The fine-tuned head all along, on P's body at 0. Thick: means over seeds. Faint: single seeds."
    return [Chart(f"{target}-wise", f"From P to P-T on {target}", spec, caption)]
