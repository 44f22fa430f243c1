"""What the similarity of features found, in sentences: the early blocks, what was kept, where classes come apart."""

import polars as pl

from transferscope.analyses._shared import contrasts, phrases
from transferscope.section import Finding

EARLY = 1 / 3  # share of the blocks, from the input on, that count as early; at least one


def early(target: str, like: pl.DataFrame) -> list[Finding]:
    """Claim 5: in the early blocks P-T & P-T above P-T & P, and that above every pair with RI-T."""
    early, values = early_values(like)
    kinds = ("P-T & P-T", "P-T & P", "P-T & RI-T", "RI-T & RI-T")
    if (main := contrasts.contrast(values, kinds[0], kinds[2], "cka")) is None:
        return []
    steps = [
        contrasts.contrast(values, kinds[0], kinds[1], "cka"),
        contrasts.contrast(values, kinds[1], kinds[2], "cka"),
        contrasts.contrast(values, kinds[1], kinds[3], "cka"),
    ]
    means = [(kind, contrasts.mean(values, kind, "cka")) for kind in kinds]
    said = phrases.listed([f"{value:z.2f} for {kind}" for kind, value in means if value is not None])
    where = f"block {early[0]}" if len(early) == 1 else f"blocks {early[0]} to {early[-1]}"
    text = f"On {target}, CKA of like blocks in {where} is {said}."
    return [contrasts.judged(text, main, "in CKA", 5, steps)]


def early_values(like: pl.DataFrame) -> tuple[list[str], pl.DataFrame]:
    """The early blocks, and the mean CKA over them of every pair."""
    names = block_names(like)
    early = names[: max(1, round(EARLY * len(names)))]
    of = like.filter(pl.col("block").is_in(early)).group_by("pair", "seed", "seed_b", maintain_order=True)
    return early, of.agg(pl.col("cka").mean())


def kept(target: str, like: pl.DataFrame) -> list[Finding]:
    """How much of P's features fine-tuning kept, from the first block to the last of the body."""
    own = like.filter((pl.col("pair") == "P-T & P") & pl.col("cka").is_not_null())
    names = block_names(own)[:-1]  # the last one is the head, of which P has none
    if len(names) < 2:
        return []
    ends = [own.filter(pl.col("block") == name).sort("seed") for name in (names[0], names[-1])]
    both = ends[0].join(ends[1], on="seed", suffix="_last")
    if both.is_empty():
        return []
    fall = contrasts.interval((both["cka_last"] - both["cka"]).to_numpy())
    means = contrasts.over_pairs(own.filter(pl.col("block").is_in(names)), ["block"], "cka").sort("cka")
    first, last = contrasts.average(both["cka"]), contrasts.average(both["cka_last"])
    kept = "better than" if fall.excludes() and fall.mean < 0 else "not visibly better than"
    text = (
        f"On {target}, fine-tuning kept the features of {names[0]} (CKA with P {first:z.2f}) {kept} those of "
        f"{names[-1]} ({last:z.2f}); it changed those of {means['block'][0]} most ({means['cka'][0]:z.2f})."
    )
    return [contrasts.finding(text, fall, "in CKA")]


def votes_before_the_head(target: str, votes: pl.DataFrame) -> list[Finding]:
    """Where in the network the classes come apart: k-NN accuracy before the head, for P, P-T and RI-T."""
    names = block_names(votes)[:-1]
    if not names:
        return []
    last = votes.filter(pl.col("block") == names[-1]).with_columns(points=100 * pl.col("accuracy"))
    gap = contrasts.contrast(last, "P-T", "P", "points")
    if gap is None:
        return []
    means = {kind: contrasts.mean(last, kind, "accuracy") for kind in ("P", "P-T", "RI", "RI-T")}
    said = phrases.listed([f"{value:z.1%} for {kind}" for kind, value in means.items() if value is not None])
    text = f"On {target}, nearest neighbours in the features of {names[-1]} name the class of {said}."
    return [contrasts.finding(text, gap, "points from P to P-T")]


def undefined(target: str, like: pl.DataFrame) -> list[str]:
    names = block_names(like.filter(pl.col("cka").is_null()))
    if not names:
        return []
    return [f"On {target}, CKA has no value for {phrases.listed(names)}: some network's features do not vary there."]


def block_names(like: pl.DataFrame) -> list[str]:
    return [str(block) for block in like["block"].unique(maintain_order=True)]
