"""What feature reuse found, in sentences: shares of the gain, speed, and how many blocks are enough."""

from itertools import pairwise

import polars as pl

from transferscope.analyses._shared import contrasts, outcomes, phrases
from transferscope.measures.intervals import Interval, paired_interval, ratio_interval, too_few
from transferscope.section import Finding


def of_arm(arm: str) -> pl.Expr:
    return pl.col("arm") == arm


def features(target: str, runs: pl.DataFrame, notes: list[str]) -> list[Finding]:
    """The share of the pretrained arm's score, and of its gain, that `stats` does not have."""
    tuned, scale = outcomes.paired(runs, of_arm("pretrained"), of_arm("stats"), "final")
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
    whole, random = outcomes.paired(runs, of_arm("pretrained"), of_arm("random"), "final")
    gain = paired_interval(100 * whole, 100 * random) if len(whole) else None
    three = runs.filter(of_arm("random")).join(runs.filter(of_arm("stats")), on="seed", suffix="_stats")
    three = three.join(runs.filter(of_arm("pretrained")), on="seed", suffix="_tuned").sort("seed")
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


def speed(target: str, runs: pl.DataFrame) -> list[Finding]:
    """What statistics alone do for optimisation speed, and where along the blocks most of the speed is gained."""
    unit, found = phrases.unit(runs["metric"][0]), []
    scale, random = outcomes.paired(runs, of_arm("stats"), of_arm("random"), "speed")
    if len(scale):
        gap = paired_interval(100 * scale, 100 * random)
        tuned = runs.filter(of_arm("pretrained"))["speed"]
        whole = f", against {contrasts.average(tuned):z.1%} with the whole weights" if len(tuned) else ""
        text = (
            f"On {target}, statistics alone change the optimisation speed from {random.mean():z.1%} to "
            f"{scale.mean():z.1%}{whole}."
        )
        found.append(contrasts.told(text, gap, unit))
    path = _path(runs)
    steps: list[tuple[Interval, str]] = []
    for (_, lower), (_, upper) in pairwise(path):
        after, before = outcomes.paired(runs, of_arm(upper[0]), of_arm(lower[0]), "speed")
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


def enough(target: str, runs: pl.DataFrame) -> list[Finding]:
    """The first cut point from which on no start is distinguishably worse than the pretrained one."""
    gaps: list[tuple[str, Interval]] = []
    for _, (arm, upto) in _path(runs):
        if arm != "pretrained":
            whole, part = outcomes.paired(runs, of_arm("pretrained"), of_arm(arm), "final")
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
