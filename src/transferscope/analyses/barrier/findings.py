"""What lines between networks found, in sentences: who connects, by how much the score falls, on which basis."""

import polars as pl

from transferscope.analyses._shared import barriers, contrasts, phrases, readings
from transferscope.analyses._shared.barriers import ALIGNED, CONNECT, LIES, NORMS, SAME_INIT, hundredths, score
from transferscope.analyses.barrier.options import Options
from transferscope.section import Finding
from transferscope.study.pairs import kind_of, sides


def connected(target: str, main: pl.DataFrame) -> list[Finding]:
    """Claim 7: no barrier between two P-T, one between two RI-T."""
    tuned, scratch = (barriers.over_pairs(main, kind_of(arm), "barrier") for arm in ("P-T", "RI-T"))
    found: list[Finding] = []
    if main.is_empty():
        return found
    times, limit = barriers.times(main), barriers.limit(main)
    if tuned is not None:
        of = main.filter(pl.col("pair") == "P-T & P-T")
        verb = CONNECT[barriers.outcome(tuned, of)].replace("do not", "do NOT")
        text = f"On {target}, two fine-tuned networks {_heads(of)} {verb}: {_falls('two P-T', of, tuned.mean)}."
        apart = None if scratch is None else contrasts.one_sided(contrasts.moved(scratch, 1, -limit))
        effects = [contrasts.one_sided(contrasts.moved(tuned, -1, limit)), apart]
        found.append(contrasts.judged(text, contrasts.moved(tuned, times), barriers.points(of), 7, effects))
        middle = of.drop_nulls(["middle", "ends"])
        if not middle.is_empty():
            sunk = middle.with_columns(gap=times * (pl.col("middle") - pl.col("ends")))
            gap = contrasts.of_pairs(sunk, "gap", together=True)
            text = (
                f"On {target}, the middle of the line between two P-T scores "
                f"{score(contrasts.average(middle['middle']), of)}, its ends "
                f"{score(contrasts.average(middle['ends']), of)}."
            )
            found.append(contrasts.finding(text, gap, barriers.points(of)))
    if scratch is not None:
        of = main.filter(pl.col("pair") == "RI-T & RI-T")
        verb = CONNECT[barriers.outcome(scratch, of)]
        both = tuned is not None and barriers.outcome(tuned, of) == "within"
        verb += ", too" if both and verb == "connect" else ""
        text = f"On {target}, two networks from scratch {_heads(of)} {verb}: {_falls('two RI-T', of, scratch.mean)}."
        found.append(contrasts.finding(text, contrasts.moved(scratch, times), barriers.points(of)))
    return found


def heights(target: str, main: pl.DataFrame) -> list[readings.Reading]:
    """The barriers between two networks of each arm, pair by pair."""
    found = []
    for arm, who in (("P-T", "two fine-tuned networks"), ("RI-T", "two networks from scratch")):
        of = main.filter(pl.col("pair") == kind_of(arm)).drop_nulls("barrier")
        if of.height:
            asks, judged = f"Barrier on the line between {who}, {_heads(of)}", str(of["measure"][0])
            more = {"together": True, "times": barriers.times(of), "judged": judged}
            found += readings.of_pairs(
                kind_of(arm), "Barriers", asks, target, barriers.points(of), of, "barrier", **more
            )
    return found


def others(target: str, main: pl.DataFrame) -> list[Finding]:
    """What the remaining kinds of pairs show."""
    found = []
    for kind in main["pair"].unique(maintain_order=True):
        own = kind.endswith(" best & last")
        of = main.filter(pl.col("pair") == kind)
        height = barriers.over_pairs(of, kind, "chord_barrier" if own else "barrier")
        if height is None or kind in ("P-T & P-T", "RI-T & RI-T"):
            continue
        name = kind.removesuffix(" best & last")
        if own:
            verb, (falls, below) = LIES[barriers.outcome(height, of)], barriers.falls(of)
            fall = barriers.difference(height.mean, of)
            text = (
                f"On {target}, {verb} between the best and the last weights of one {name} run: the score {falls} "
                f"{fall} {hundredths(of)} {below} the chord between them{_worst(of, 'chord_barrier')}."
            )
        elif kind.endswith(SAME_INIT):
            verb = CONNECT[barriers.outcome(height, of)]
            start = _falls("them", of, height.mean)
            text = f"On {target}, two networks from one random start, with other orders of the images, {verb}: {start}."
        elif kind.endswith(ALIGNED):
            before = contrasts.mean(main, kind.removesuffix(ALIGNED), "barrier")
            text = (
                f"On {target}, matching the units of two RI-T {_heads(of)} leaves a barrier of "
                f"{barriers.difference(height.mean, of)} {hundredths(of)}"
                + (f" of the {barriers.difference(before, of)} there were" if before is not None else "")
                + "."
            )
        else:
            a, b = sides(kind)
            who = f"two {a}" if a == b else f"{a} and {b}"
            verb = CONNECT[barriers.outcome(height, of)]
            text = f"On {target}, {who} {_heads(of)} {verb}: {_falls(who, of, height.mean)}."
        found.append(contrasts.finding(text, contrasts.moved(height, barriers.times(of)), barriers.points(of)))
    return found


def strategies(target: str, every: pl.DataFrame, options: Options) -> list[Finding]:
    """What other treatments of the batch-norm statistics make of the line between two P-T."""
    found = []
    of = every.filter((pl.col("pair") == "P-T & P-T") & (pl.col("split") == options.splits[0]))
    first = barriers.over_pairs(of.filter(pl.col("batch_norm") == options.batch_norm[0]), "P-T & P-T", "barrier")
    for norm in options.batch_norm[1:]:
        other = barriers.over_pairs(of.filter(pl.col("batch_norm") == norm), "P-T & P-T", "barrier")
        if first is None or other is None:
            continue
        text = (
            f"On {target}, with batch-norm statistics {NORMS[norm]} the barrier between two P-T is "
            f"{barriers.difference(other.mean, of)} {hundredths(of)}, with statistics {NORMS[options.batch_norm[0]]} "
            f"{barriers.difference(first.mean, of)}."
        )
        found.append(contrasts.finding(text, contrasts.moved(other, barriers.times(of)), barriers.points(of)))
    return found


def _heads(of: pl.DataFrame) -> str:
    return "whose heads began with the same values" if of["head"][0] == "shared" else "with heads begun at random each"


def _falls(who: str, of: pl.DataFrame, height: float) -> str:
    """How far the score falls on the line between `who`."""
    text = f"on the line between {who} the {of['split'][0]} {phrases.word(of['measure'][0])} "
    ends, lowest = of["ends"].drop_nulls(), of["lowest"].drop_nulls()
    falls, below = barriers.falls(of)
    if height < 0.0005 * phrases.deviation(of) and not ends.is_empty():
        not_seen = f"{text}is not seen to {falls.removesuffix('s')} {below} the mean of its ends"
        return f"{not_seen}, {score(contrasts.average(ends), of)}"
    text += f"{falls} {barriers.difference(height, of)} {hundredths(of)} {below} the mean of its ends"
    worst = "lowest" if below == "below" else "highest"
    if not ends.is_empty() and not lowest.is_empty():
        text += f", {score(contrasts.average(ends), of)} ({worst} seen: {score(contrasts.average(lowest), of)})"
    return f"{text}{_worst(of, 'barrier')}"


def _worst(of: pl.DataFrame, height: str) -> str:
    """What the fall is, and how the statistics were treated where that is not the default."""
    norm = str(of["batch_norm"][0])
    basis = "" if norm == "refresh" else f", with batch-norm statistics {NORMS[norm]}"
    return f"{barriers.worst(of[height].drop_nulls().len())}{basis}"
