"""The criticality of every block of a run, and the cells of a few blocks' valleys, as one step."""

from typing import Any

from transferscope.engine.artifact import Artifact
from transferscope.engine.step import task
from transferscope.engine.task_context import Work
from transferscope.tasks import costs, restore


@task(
    "criticality",
    version=4,  # what draws and images leave open of a score
    cost=costs.criticality,
    needs=lambda params: "all" if params["path"] == "optimisation" else "ends",
)
def measure(
    *,
    run: Artifact,
    data: Artifact,
    checkpoint: str,
    images: int,
    alphas: int,
    sigmas: int,
    draws: int,
    tolerance: float,
    relative: bool,
    path: str,
    grid: bool,
    valleys: list[str],
    valley_images: int,
    batch_norm: str,
    precision: str,
    valley_alphas: int | None = None,
    valley_sigmas: int | list[float] | None = None,
    work: Work,
) -> list[dict[str, Any]]:
    """One row ("score") a block, then the cells of the `valleys` ("valley"), which are block names or ["auto"].

    `error` is the final network's on the basis of all cells, `own_error` with the running statistics it ended with.
    `mu_low` and `mu_high` are the ends of its 95% interval over draws and images, `mu_high` null where it has no end.
    Where no cell is feasible `mu` is the least value it can have and `at_least` says so. The valleys have the grid of
    the scores unless `valley_alphas` and `valley_sigmas` say otherwise, with at most 2 draws. The scores are written as
    ``criticality.safetensors``, the valleys as ``valleys.safetensors``.
    """
    import torch

    from transferscope.probes.blocks.criticality import criticality

    torch.set_num_threads(work.threads)
    said = restore.said(run)
    net = restore.network(run, data, checkpoint, device=work.device)
    start = restore.weights(run, "start")
    saved = [restore.weights(run, name) for name in _epochs(run, checkpoint)] if path == "optimisation" else None

    def of(images: int, alphas: int, sigmas: int | list[float], **options: Any) -> Any:
        batches = list(restore.batches(run, data, "train", images=images, device=work.device))
        return criticality(
            net,
            start,
            batches,
            alphas=alphas,
            sigmas=sigmas,
            tolerance=tolerance,
            relative=relative,
            path=saved,
            batch_norm=batch_norm,  # type: ignore[arg-type]
            precision=precision,
            seed=said["seed"],
            **options,
        )

    found = of(images, alphas, sigmas, draws=draws, search="grid" if grid else "border")
    found.save(work.folder / "criticality.safetensors")
    rows = _scores(found, net)
    if valleys:
        auto = [found.blocks[i] for i in sorted({0, len(found.blocks) // 2, len(found.blocks) - 1})]
        named = auto if valleys == ["auto"] else valleys
        fine = valley_alphas or alphas, valley_sigmas or sigmas
        of_valley = of(valley_images, *fine, draws=min(draws, 2), search="grid", blocks=named)
        of_valley.save(work.folder / "valleys.safetensors")
        rows += _cells(of_valley)
    return rows


def _epochs(run: Artifact, checkpoint: str) -> list[str]:
    """The epochs that were saved on the way from the start to a checkpoint."""
    end = restore.best_epoch(run) if checkpoint == "best" else float("inf")
    return [restore.saved(epoch) for epoch in restore.saved_epochs(run) if 0 < epoch < end]


def _scores(found: Any, net: Any) -> list[dict[str, Any]]:
    """The rows of the scores."""
    from transferscope.models.blocks import blocks, parameters_of

    sizes = {name: p.numel() for name, p in net.named_parameters()}
    weights = {block.name: sum(sizes[name] for name in parameters_of(block, sizes)) for block in blocks(net)}
    rows = []
    for i, row in enumerate(found.table().to_dicts()):
        lost = row["mu"] == float("inf")
        least = float((found.distance[i] / (found.rms[i] * found.sigmas[0])) ** 2)
        rows.append(
            {
                "kind": "score",
                "block": row["block"],
                "mu": least if lost else row["mu"],
                "at_least": lost,
                "mu_low": row["mu_low"],
                "mu_high": None if row["mu_high"] == float("inf") else row["mu_high"],
                "alpha": row["alpha"],
                "sigma": row["sigma"],
                "sigma_relative": row["sigma_relative"],
                "distance": row["distance"],
                "size": weights[row["block"]],
                "evaluations": row["evaluations"],
                "error": found.final_error,
                "own_error": found.own_error,
                "basis": found.batch_norm,
                "precision": found.precision,
            }
        )
    return rows


def _cells(found: Any) -> list[dict[str, Any]]:
    """The rows of the valleys: mean training error at every share of the way and noise level, 0 among them."""
    rows = []
    for b, block in enumerate(found.blocks):
        for a, alpha in enumerate(found.alphas[b]):
            levels = [(0.0, found.bare[b, a]), *zip(found.sigmas, found.error[b, a], strict=True)]
            for sigma, error in levels:
                rows.append(
                    {
                        "kind": "valley",
                        "block": block,
                        "point": a,
                        "alpha": float(alpha),
                        "sigma_relative": float(sigma),
                        "distance": float(found.distance[b]),
                        "error": float(error),
                    }
                )
    return rows
