"""What feature reuse found, in sentences: shares of the gain, speed, and how many blocks are enough."""

from itertools import pairwise

import polars as pl

from transferscope import answers
from transferscope.analyses._shared import contrasts, gains, outcomes, phrases
from transferscope.measures.crossfit import elsewhere
from transferscope.measures.intervals import mean_interval, paired_interval
from transferscope.section import Finding


def of_arm(arm: str) -> pl.Expr:
    return pl.col("arm") == arm


def features(target: str, runs: pl.DataFrame, notes: list[str]) -> list[Finding]:
    """The share of the pretrained arm's score, and of its gain, that `stats` does not have."""
    tuned, scale = gains.scores([runs.filter(of_arm(arm)) for arm in ("pretrained", "stats")])
    if not len(tuned.values):
        return []
    if not answers.metric(runs["metric"][0]).error and not (tuned.values > 0).all():
        return []
    return [*_of_the_score(target, tuned, scale, str(runs["metric"][0])), *_of_the_gain(target, runs, notes)]


def _of_the_score(target: str, tuned: gains.Scores, scale: gains.Scores, metric: str) -> list[Finding]:
    """The share of scores above 0; an error has none."""
    if answers.metric(metric).error:
        return []
    word = phrases.word(metric)
    share = tuned.drop_to(scale).interval()
    text = (
        f"On {target}, the final test {word} is {phrases.score(tuned.values.mean(), metric)} from pretrained weights "
        f"and {phrases.score(scale.values.mean(), metric)} from weights that keep only their means and variances: "
    )
    if share.mean <= 0:
        text += "nothing of the score is seen to be due to features."
    elif share.low is not None and not share.excludes(0):
        text += f"{share.mean:z.0f}% of the score would be due to features, but that is not distinguishable from none."
    else:
        text += f"{share.mean:z.0f}% of the score is due to features."
    return [gains.with_images(contrasts.finding(text, share, "%"), share)]


def _of_the_gain(target: str, runs: pl.DataFrame, notes: list[str]) -> list[Finding]:
    points = gains.difference(runs.filter(of_arm("pretrained")), runs.filter(of_arm("random")))
    three = runs.filter(of_arm("random")).join(runs.filter(of_arm("stats")), on="seed", suffix="_stats")
    three = three.join(runs.filter(of_arm("pretrained")), on="seed", suffix="_tuned").sort("seed")
    parts = (three["final_tuned"] - three["final"]).to_numpy()
    if points is None or not len(parts):
        return []
    if not points.interval().excludes(0) or not (parts > 0).all():
        notes.append(
            f"On {target} the gain of pretraining over a random start is not clear, so no share of it is given."
        )
        return []
    part = outcomes.share((three["final_tuned"] - three["final_stats"]).to_numpy(), parts)
    metric = str(runs["metric"][0])
    whole = f"{phrases.difference(phrases.times(metric) * parts.mean(), metric)} {phrases.unit(metric)}"
    text = f"On {target}, of the {whole} that pretraining adds to a random start, "
    if part.low is not None and not part.excludes(0):
        text += f"{part.mean:z.0f}% would be due to features, but that is not distinguishable from none."
    elif part.mean <= 0:
        text += "nothing is due to features: the statistics of the weights alone give as much or more."
    elif part.mean >= 100:
        text += "all is due to features: the statistics of the weights alone give nothing."
    else:
        text += f"{part.mean:z.0f}% are due to features and the rest to the statistics of the weights."
    return [contrasts.finding(text, part, "%")]


def speed(target: str, runs: pl.DataFrame) -> list[Finding]:
    """What statistics alone do for optimisation speed, and where along the blocks most of the speed is gained."""
    metric = runs["metric"][0]
    unit, times, found = phrases.unit(metric), phrases.times(metric), []
    scale, random = outcomes.paired(runs, of_arm("stats"), of_arm("random"), "speed")
    if len(scale):
        gap = paired_interval(times * scale, times * random)
        tuned = runs.filter(of_arm("pretrained"))["speed"]
        whole = (
            f", against {phrases.score(contrasts.average(tuned), metric)} with the whole weights" if len(tuned) else ""
        )
        text = (
            f"On {target}, statistics alone change the optimisation speed from "
            f"{phrases.score(random.mean(), metric)} to {phrases.score(scale.mean(), metric)}{whole}."
        )
        found.append(contrasts.finding(text, gap, unit))
    path = _path(runs)
    known = gains.scores([runs.filter(of_arm(arm)) for _, (arm, _) in path], "speed")
    if len(path) > 2 and len(known[0].values):
        steps = [times * (after.values - before.values) for before, after in pairwise(known)]
        most = max(range(len(steps)), key=lambda place: float(steps[place].mean()))
        if steps[most].mean() > 0:
            where = _between(path[most][1][1], path[most + 1][1][1])
            text = f"On {target}, optimisation speed gains most on average when pretrained values reach {where}"
            read = mean_interval(elsewhere(steps))  # what is largest in these seeds leans upward in them
            basis = "; the number beside it is read seed by seed, at the step that gains most in the others."
            text += "." if read.n == 1 else basis
            found.append(contrasts.finding(text, read, unit))
    return found


def _between(lower: str, upper: str) -> str:
    """Which blocks get pretrained values between two cut points."""
    first = "from the first block" if lower == "none" else f"beyond {lower}"
    return f"{first} {'to the end' if upper == 'all' else f'up to {upper}'}"


def _path(runs: pl.DataFrame) -> list[tuple[int, tuple[str, str]]]:
    """(blocks, (arm, last block)) of every start on the line from none to all, in order."""
    seen = runs.drop_nulls("blocks").select("blocks", "arm", "upto").unique().sort("blocks")
    return [(int(k), (str(arm), str(upto))) for k, arm, upto in seen.iter_rows()]


def enough(target: str, runs: pl.DataFrame, margin: float) -> list[Finding]:
    """The fewest blocks whose pretrained values are shown to end less than `margin` points below those of all blocks.

    Cut points are asked from the highest down, and no further than the first that is not shown to: the chance to call
    one enough that is not is at most 5% for all of them together (a fixed sequence, Maurer et al. 1995).
    """
    gaps: list[tuple[str, gains.Scores]] = []
    for _, (arm, upto) in reversed(_path(runs)):
        gap = gains.difference(runs.filter(of_arm("pretrained")), runs.filter(of_arm(arm)))
        if arm != "pretrained" and gap is not None:
            gaps.append((upto, gap))
    if len(gaps) < 2:
        return []
    metric, margin = str(runs["metric"][0]), phrases.margin(margin, runs)
    unit, below, found = phrases.unit(metric), phrases.below(metric), [gap.against(margin) for _, gap in gaps]
    passed = next((place for place, outcome in enumerate(found) if outcome != "within"), len(gaps))
    upto, gap = gaps[max(passed - 1, 0)]
    near = phrases.amount(margin, unit)
    if passed:
        lost = phrases.difference(max(0.0, gap.most() or 0.0), metric)
        most = f"at most {lost} {unit} (one-sided 95%), within the margin of {near}"
        if upto == "none":
            text = f"On {target}, pretrained values are needed in no block: without any, {most}, are lost"
        else:
            text = f"On {target}, pretrained values up to {upto} are enough: with those above, {most}, are gained"
        if passed < len(gaps):
            less = "none at all" if gaps[passed][0] == "none" else f"those up to {gaps[passed][0]}"
            beyond = found[passed] == "beyond"
            text += f"; {less} would cost more" if beyond else f"; whether {less} would do is undecided"
    elif found[0] == "beyond":
        text = (
            f"On {target}, even pretrained values up to {upto} end more than {near} {below} pretrained values in all "
            "blocks"
        )
    else:
        text = (
            f"On {target}, it is undecided whether pretrained values up to {upto} are enough: {len(gap.values)} "
            f"seed{'s do' if len(gap.values) > 1 else ' does'} not tell whether they end less or more than {near} "
            f"{below} pretrained values in all blocks"
        )
    short = gap.interval()
    return [gains.with_images(contrasts.finding(f"{text}.", short, f"{unit} short of all"), short)]
