"""Into how many basins the networks of an arm fall: those that lines without a barrier join, directly or over others.

Fine-tuned classifiers of texts of one pretrained network are known to fall into several, which generalise in different
ways (Juneja et al. 2023); a mean over pairs would hide it.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from transferscope.analyses._shared.barriers import falls, hundredths, limit, most
from transferscope.analyses._shared.phrases import listed
from transferscope.section import Finding
from transferscope.study.pairs import kind_of

FEWEST = 3  # networks: two are one line


def basins(target: str, main: pl.DataFrame) -> list[Finding]:
    """How many basins hold the networks of an arm, for every arm of which all pairs were walked.

    A line joins two networks where its interval over images lies below `limit`, and parts them where it lies above.
    Lines that do neither leave the number open: it is one of a range.
    """
    found = []
    for arm in ("P-T", "RI-T"):
        of = main.filter(pl.col("pair") == kind_of(arm)).drop_nulls(["barrier_low", "barrier_high"])
        seeds = sorted({*of["seed"], *of["seed_b"]})
        if len(seeds) < FEWEST or of.height < len(seeds) * (len(seeds) - 1) // 2:
            continue
        joined = of.filter(pl.col("barrier_high") <= limit(of))
        possible = of.filter(pl.col("barrier_low") <= limit(of))
        apart, least = (groups(seeds, edges.select("seed", "seed_b").rows()) for edges in (joined, possible))
        count = str(len(apart)) if len(apart) == len(least) else f"{len(least)} to {len(apart)}"
        fall, unsure = f"{most(of)} {hundredths(of)}", possible.height - joined.height
        word = falls(of)[0].removesuffix("s")
        named = [listed([str(seed) for seed in group]) for group in apart if len(group) > 1]
        text = f"On {target}, the {len(seeds)} {arm} lie in {count} basin{'s' if count != '1' else ''}: "
        if named:
            text += f"lines that {word} by at most {fall} join the seeds {' as well as '.join(named)}"
        else:
            text += (
                f"no line is shown to {word} by at most {fall}" if unsure else f"every line {word}s by more than {fall}"
            )
        text += f"; {unsure} of {of.height} lines leave it open" if len(least) < len(apart) else ""
        found.append(Finding(f"{text} (each line by its 95% interval over images)."))
    return found


def groups(names: Sequence[int], joined: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """The names in groups, each in order: two are in one where a chain of joined pairs leads from one to the other."""
    own = {name: {name} for name in names}
    for a, b in joined:
        if own[a] is not own[b]:
            own[a] |= own[b]
            own.update(dict.fromkeys(own[b], own[a]))
    return sorted({tuple(sorted(group)) for group in own.values()})
