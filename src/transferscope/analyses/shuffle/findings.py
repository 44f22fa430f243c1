"""What the page says of shuffled inputs: the drop at small blocks, what of the gain survives, how much sooner."""

import polars as pl

from transferscope.analyses._shared import contrasts, gains, outcomes, phrases
from transferscope.analyses.shuffle.results import CHANNELS, WHOLE, Shuffled
from transferscope.measures.intervals import Interval
from transferscope.section import Finding


def findings(of: Shuffled) -> list[Finding]:
    """All of a target."""
    return [*_drop(of), *_surviving(of), *_speed(of)]


def _drop(of: Shuffled) -> list[Finding]:
    """Claim 2: the relative drop on whole images minus that at the smallest blocks where both arms learn."""
    small = next((b for b in of.sizes if not of.lost(b) and of.drop(b) is not None), None)
    if of.drop(WHOLE) is None or small is None or (both := of.drops(WHOLE, small)) is None:
        return []
    large, little = both
    change = large.minus(little).interval()
    smallest = "" if small == of.sizes[0] else ", the smallest at which both arms learn"
    text = (
        f"On {of.target}, the relative drop of the final test {of.word} without pretraining is "
        f"{round(float(large.values.mean()))}% on whole {of.things} and {round(float(little.values.mean()))}% "
        f"{of.at(small)}{smallest}"
    )
    if not of.clear:
        text += f"; the gain on whole {of.things} is not clear."
        return [gains.with_images(contrasts.finding(text, change, "points of the drop"), change)]
    vanish = "vanishes" if of.things == "texts" else "vanish"
    says = _words(change, f"the gain shrinks with {of.structure}", f"the gain grows as {of.structure} {vanish}")
    if of.things == "texts":  # what the paper says is said of images
        return [gains.with_images(contrasts.finding(f"{text}: {says}.", change, "points of the drop"), change)]
    return [gains.with_images(contrasts.judged(f"{text}: {says}.", change, "points of the drop", 2, [change]), change)]


def _surviving(of: Shuffled) -> list[Finding]:
    """The share of the gain on whole images that is left at each block size."""
    whole = of.pairs(WHOLE, "final").with_columns(gain=pl.col("pretrained") - pl.col("random"))
    if not of.clear or (whole["gain"] <= 0).any():
        return []
    shares: dict[str, Interval] = {}
    for block in of.sizes:
        both = whole.join(of.pairs(block, "final"), on="seed", suffix="_left").sort("seed")
        if not both.is_empty():
            shares[block] = outcomes.share(
                (both["pretrained_left"] - both["random_left"]).to_numpy(), both["gain"].to_numpy()
            )
    if not shares:
        return []
    small, least = next(iter(shares.items()))
    gained = phrases.difference(of.times * contrasts.average(whole["gain"]), of.metric)
    others = [f"{share.mean:z.0f}% {of.at(block)}" for block, share in shares.items() if block != small]
    text = (
        f"On {of.target}, of the gain of {gained} {of.unit} on whole {of.things}, "
        f"{least.mean:z.0f}% survives {of.at(small)}{f' ({phrases.listed(others)})' if others else ''}"
    )
    if lost := of.lost(small):
        text += f", where the {phrases.listed(lost)} {'arm is' if len(lost) == 1 else 'arms are'} at chance"
    elif least.low is not None and not least.excludes(0):
        text += ", which these seeds do not tell from nothing"
    elif of.destroyed(small) and least.mean > 0:
        text += f": so much needs no {of.structure.removeprefix('the ')}, {of.left_over} carry it"
    return [contrasts.finding(f"{text}.", least, "percent of the gain")]


def _speed(of: Shuffled) -> list[Finding]:
    """Claim 3: the gap in optimisation speed at the smallest blocks, and where values move across channels."""
    found = []
    whole = of.gap(WHOLE, "speed")
    for block in [*of.sizes[:1], *(b for b in of.blocks if b == CHANNELS)]:
        gap, both = of.gap(block, "speed"), of.pairs(block, "speed")
        if gap is None:
            continue
        text = (
            f"On {of.target}, {of.at(block)}, the training {of.word} averaged over the epochs is "
            f"{of.score(contrasts.average(both['pretrained']))} with pretraining and "
            f"{of.score(contrasts.average(both['random']))} from scratch"
        )
        text += (
            f" (on whole {of.things} the difference is {of.told(whole.mean)} {of.unit})" if whole is not None else ""
        )
        if block.isdigit() and not of.destroyed(block):
            still = of.structure.removeprefix("the ")
            found.append(contrasts.finding(f"{text}, but blocks of this size still show {still}.", gap, of.unit))
            continue
        reused = "order of words" if of.things == "texts" else "shape"
        faster = f"pretraining speeds training up with no {reused} to reuse"
        says = _words(gap, faster, "pretraining slows training down")
        if block.isdigit() and of.things != "texts":
            found.append(contrasts.judged(f"{text}: {says}.", gap, of.unit, 3, [gap]))
        else:
            found.append(contrasts.finding(f"{text}: {says}.", gap, of.unit))
    return found


def _words(effect: Interval, above: str, below: str) -> str:
    """What an effect says: `above` 0, `below` 0, or nothing while its interval holds 0."""
    if not effect.excludes(0):
        return f"that {above} is not shown"
    return above if effect.mean > 0 else below
