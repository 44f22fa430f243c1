"""Restore what a training run left: its weights, its network at the start or the end, and its images in fixed order."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from transferscope.engine.store import Artifact
from transferscope.streams import stream

if TYPE_CHECKING:
    from torch import Tensor, nn

    from transferscope.probes.inputs.given import Batch

FILES = {"start": "epoch-0000", "end": "final"}


def said(run: Artifact) -> dict[str, Any]:
    """The parameters of a finished `train` step: network, mean, std, precision, seed, ..."""
    return dict(run.said["params"])


def weights(run: Artifact, at: str = "end") -> "dict[str, Tensor]":
    """The state dict of a run at its "start", its "end", its "best" epoch on val, or a saved epoch ("epoch-0004")."""
    from safetensors.torch import load_file

    return dict(load_file(run.path / f"{FILES.get(at, at)}.safetensors"))


def bare(run: Artifact, data: Artifact) -> "nn.Module":
    """The run's network with values of no meaning: for its blocks and names, or for a state to be loaded."""
    from transferscope.data.table import open_table
    from transferscope.models.build import build_network

    return build_network(said(run)["network"], len(open_table(data.path).classes), seed=0)


def network(run: Artifact, data: Artifact, at: str = "end", *, device: str = "cpu") -> "nn.Module":
    """The run's network with its weights at `at`, laid out as in training, in eval mode."""
    from transferscope.models.precision import prepare

    net = bare(run, data)
    net.load_state_dict(weights(run, at))
    return prepare(net, said(run)["precision"], device).eval()


def batches(
    run: Artifact,
    data: Artifact,
    split: str = "test",
    *,
    size: int = 128,
    images: int | None = None,
    device: str = "cpu",
) -> "Iterator[Batch]":
    """Batches (images, labels, rows) of a split as the run evaluated them, in one fixed shuffled order.

    At most `images` of them, in batches of equal length (give or take one) near `size`: none is too short.
    """
    import numpy as np

    from transferscope.data.batches import Normalisation, eval_batches
    from transferscope.data.table import open_table
    from transferscope.probes.inputs.given import Batch

    table = open_table(data.path)
    how = Normalisation(tuple(said(run)["mean"]), tuple(said(run)["std"]))
    rows = stream(0, "probe", split).permutation(table.rows[split])[:images]
    for part in np.array_split(rows, max(1, round(len(rows) / size))):
        for x, y, ids in eval_batches(table, part, len(part), labels=table.labels, normalisation=how, device=device):
            yield Batch(x, y, ids, table.multilabel)
