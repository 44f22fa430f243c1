"""The two averages of networks as steps: soups of several runs, and the way from a run's start to its end."""

from typing import Any

import numpy as np

from transferscope.analyses._shared import judging, line_step
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import task
from transferscope.engine.task_context import Work
from transferscope.tasks import costs

CURVE, DIFFERENT = "on the curve", "other classes"


@task(
    "soup", version=3, neutral=judging.NEUTRAL, cost=costs.mixtures
)  # 3: intervals of gains hold for rare differences
def soup(
    *,
    runs: list[Artifact],
    at: str,
    data: Artifact,
    images: int,
    statistics: int,
    judged: str = "",
    work: Work,
) -> list[dict[str, Any]]:
    """Test metric and loss of the mean of the runs, the best of them on val, their ensemble and both soups, one row
    each: `used` networks, `gain` over the best single one with an interval over images (but for an AUC). `judged`: see
    `line_step.line`.

    All have batch-norm statistics from the same training images; `own_metric` is that of the single networks with
    their own, and `differs` how many of them score differently with these by more than chance.
    """
    import torch

    from transferscope.probes.walks.average import average
    from transferscope.tasks import restore

    torch.set_num_threads(work.threads)

    metric = restore.judging(data, judged)

    def split(name: str) -> Any:
        return list(restore.batches(runs[0], data, name, images=images, device=work.device, judged=metric))

    net, states = restore.bare(runs[0], data).to(work.device), [restore.weights(run, at) for run in runs]
    train = line_step.training_images(runs[0], data, statistics, work.device)
    precision = restore.said(runs[0])["precision"]
    how: dict[str, Any] = {"statistics": train, "images": statistics, "precision": precision, "like": net}
    test = {"test": split("test")}
    whole = average(states, test, **how)
    errors, k = whole.errors["test"], len(runs)
    greedy = average(states, kind="greedy", held_out=split("val"), **how)
    best, members = int(greedy.order[0]), list(greedy.members)
    of_best = (float(whole.single[best, 0]), float(whole.single_loss[best, 0]), errors[best])
    of_all = (float(whole.average[0]), float(whole.average_loss[0]), errors[k])
    if 1 < len(members) < k:
        part = average([states[i] for i in members], test, **how)
        of_greedy = (float(part.average[0]), float(part.average_loss[0]), part.errors["test"][-2])
    else:
        of_greedy = of_all if len(members) == k else of_best
    of_mean = (float(whole.single.mean()), float(whole.single_loss.mean()), errors[:k].mean(0))
    of_ensemble = (float(whole.ensemble[0]), float(whole.ensemble_loss[0]), errors[-1])
    counted: dict[str, tuple[int, Any]] = {
        "mean of the singles": (1, of_mean),
        "best single": (1, of_best),
        "ensemble": (k, of_ensemble),
        "soup of all": (k, of_all),
        "greedy soup": (len(members), of_greedy),
    }
    own = {"mean of the singles": float(whole.own.mean()), "best single": float(whole.own[best, 0])}
    differs = sum("own batch-norm statistics" in note for note in whole.notes)
    more = {
        "differs": differs,
        "measure": whole.metric,
        "images": errors.shape[1],
        "head": line_step.head(runs[0], runs[1]),
        **restore.deviation(data, judged),
    }
    return [
        {
            "way": way,
            "used": used,
            **_scored(of, of_best, whole.metric),
            "own_metric": line_step.known(own.get(way, float("nan"))),
            **more,
        }
        for way, (used, of) in counted.items()
    ]


def _scored(of: Any, best: Any, metric: str) -> dict[str, Any]:
    """Test metric and loss, and the gain in the metric over the best single network."""
    from transferscope.measures.counts import paired_values
    from transferscope.measures.intervals import mean_interval

    known = np.isfinite([of[0], best[0]]).all()
    gain: dict[str, Any] = {"gain": of[0] - best[0] if known else None, "gain_low": None, "gain_high": None}
    tells = known and np.ptp(best[2] - of[2]) > 0  # where no image differs t has no width
    if (metric in ("accuracy", "r2") or (metric != "auc" and tells)) and of is not best:
        # Of other metrics an image's part may be anything; its mean over hundreds of images is near normal.
        found = paired_values(best[2] - of[2]) if metric == "accuracy" else mean_interval(best[2] - of[2])
        gain |= {"gain_low": found.low, "gain_high": found.high}
    return {"test_metric": line_step.known(of[0]), "test_loss": of[1], **gain}


@task(
    "wise", version=2, neutral=judging.NEUTRAL, cost=costs.mixtures
)  # 2: the end of the curve has its statistics like all of it
def wise(
    *,
    run: Artifact,
    at: str,
    data: Artifact,
    on: Artifact | None,
    alphas: list[float],
    images: int,
    statistics: int,
    judged: str = "",
    work: Work,
) -> list[dict[str, Any]]:
    """Val and test metric and loss at each alpha on the way from the run's start to its end, with its end's head.

    `on` tests on another target's images instead; one row that says so where its classes differ.
    """
    import torch

    from transferscope.probes.walks.wise import wise_ft
    from transferscope.tasks import restore
    from transferscope.tasks.inputs import open_table

    torch.set_num_threads(work.threads)
    own, other = open_table(data.whole()), open_table((on or data).whole())
    if (own.classes, own.kind, own.centre, own.spread) != (other.classes, other.kind, other.centre, other.spread):
        return [{"way": DIFFERENT, "test_metric": None}]
    splits = ("val", "test") if on is None else ("test",)
    how: dict[str, Any] = {"images": images, "device": work.device, "judged": restore.judging(data, judged)}
    found = wise_ft(
        restore.weights(run, "start"),
        restore.weights(run, at),
        {name: list(restore.batches(run, on or data, name, **how)) for name in splits},
        alphas=alphas,
        statistics=line_step.training_images(run, data, statistics, work.device),
        images=statistics,
        precision=restore.said(run)["precision"],
        like=restore.bare(run, data).to(work.device),
    )
    found.save(work.folder / "wise.safetensors")
    test = found.data.index("test")
    vals = [line_step.known(float(v)) for v in found.metric[0]] if on is None else [None] * len(found.alphas)
    return [
        {
            "way": CURVE,
            "alpha": float(alpha),
            "val_metric": vals[i],
            "test_metric": line_step.known(float(found.metric[test, i])),
            "test_loss": float(found.loss[test, i]),
            "own_metric": line_step.known(float(found.own[test, int(alpha)])) if alpha in (0, 1) else None,
            "differs": sum("own batch-norm statistics" in note for note in found.notes),
            "measure": found.metric_name,
            "images": int(found.images[test]),
            **restore.deviation(data, judged),
        }
        for i, alpha in enumerate(found.alphas)
    ]
