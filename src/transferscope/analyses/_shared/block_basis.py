"""What numbers about blocks rest on: which images, which batch-norm statistics, which precision; own scores beside."""

import polars as pl

from transferscope.analyses._shared import contrasts, phrases


def words(rows: pl.DataFrame, images: str) -> str:
    """A sentence: the images, and what the rows say of statistics and precision."""
    found = [images]
    if "basis" in rows.columns and (said := rows["basis"].drop_nulls().unique(maintain_order=True).to_list()):
        found.append("batch-norm statistics " + phrases.listed([_statistics(word) for word in said]))
    if "precision" in rows.columns and (said := rows["precision"].drop_nulls().unique(maintain_order=True).to_list()):
        found.append(phrases.listed(said))
    return f"({'; '.join(found)})"


def _statistics(said: str) -> str:
    return {"as found": "AS FOUND, so in part a misfit of norms", "none in the network": "none"}.get(said, said)


def read(images: str, batch_norm: str, whence: str, checkpoint: str) -> str:
    """A section's basis: what changed networks are scored on, with which statistics, against what."""
    kept = "those that the unchanged network ended training with"
    statistics = (
        kept if batch_norm == "as found" else f"re-estimated for each network, the unchanged one too, from {whence}"
    )
    return (
        f"Changed and unchanged networks are scored on the same {images}, in eval mode; batch-norm statistics, where "
        f"there are any, are {statistics}. {phrases.weights(checkpoint)} Intervals are over seeds."
    )


def own_scores(target: str, scores: pl.DataFrame, how: str, metric: str = "accuracy") -> str | None:
    """What networks score with the running statistics they ended training with; None without such scores.

    `scores`: arm, seed, `score` and `own` of the same images, and `differs`, whether they do so in the sense of `how`.
    """
    if scores.is_empty() or (scores := scores.drop_nulls(["score", "own"])).is_empty():
        return None

    def mean_score(of: pl.DataFrame, column: str) -> str:
        return phrases.score(contrasts.average(of[column]), metric)

    arms = [
        f"{arm} {mean_score(of, 'own')} instead of {mean_score(of, 'score')}"
        for (arm,), of in scores.group_by("arm", maintain_order=True)
    ]
    return (
        f"On {target} the unchanged networks have re-estimated batch-norm statistics too. With those they ended "
        f"training with, their mean score over seeds is {phrases.listed(arms)}; in {int(scores['differs'].sum())} of "
        f"{scores.height} networks the two differ {how}."
    )
