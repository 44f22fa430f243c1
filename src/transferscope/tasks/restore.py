"""Restore what a training run left: the files of its folder by their names, its network, its images in fixed order."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope import answers
from transferscope.engine.artifact import Artifact
from transferscope.engine.integrity import TIMING
from transferscope.random_streams import stream
from transferscope.tasks import inputs

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from transferscope.models.load_report import Loaded
    from transferscope.probes.inputs.given import Batch

EPOCH = "epoch-"
FILES = {"start": f"{EPOCH}0000", "end": "final"}


def said(run: Artifact) -> dict[str, Any]:
    """The parameters of a finished `train` step: network, mean, std, precision, seed, ..."""
    return dict(run.said["params"])


def weights(run: Artifact, at: str = "end") -> "dict[str, Tensor]":
    """The state dict of a run at its "start", its "end", its "best" epoch on val, or a saved epoch ("epoch-0004")."""
    from safetensors.torch import load_file

    return dict(load_file(file(run, at)))


def file(run: Artifact, at: str = "end") -> Path:
    """Where the weights lie that `weights` reads."""
    return run.file(f"{FILES.get(at, at)}.safetensors")


def saved(epoch: int) -> str:
    """The name under which a run saves its weights after `epoch`."""
    return f"{EPOCH}{epoch:04d}"


def is_between(at: str) -> bool:
    """Whether weights are those of an epoch after the start, by a name such as ``epoch-0004``."""
    return at.startswith(EPOCH) and at != FILES["start"]


def saved_epochs(run: Artifact) -> list[int]:
    """The epochs after which a run saved its weights by number, in order, the start (0) among them."""
    return sorted(int(name.removeprefix(EPOCH).split(".")[0]) for name in run.names(f"{EPOCH}*.safetensors"))


def best_epoch(run: Artifact) -> int:
    """The epoch of the weights "best", counted from 1."""
    return int(_summary(run)["best_epoch"])


def loaded(run: Artifact) -> "Loaded | None":
    """What the run found in the pretrained weights; None where it started without any."""
    from transferscope.models.load_report import Loaded

    found = _summary(run)["loaded"]
    return Loaded.read(found) if found else None


def frozen_once(run: Artifact) -> bool:
    """Whether what was frozen was computed once, and not for every batch."""
    return bool(_summary(run).get("frozen_once"))


def outputs(run: Artifact, split: str = "test", at: str = "final") -> "np.ndarray":
    """The logits (images, classes) of a split, "val" or "test", in the order of its rows; `at` is "final" or "best"."""
    return run.arrays(f"predictions-{at}")[split]


def seconds(run: Artifact) -> float:
    """Of all training steps of a run; evaluation is left out. FileNotFoundError where the store no longer has them."""
    return float(sum(epoch["train_seconds"] for epoch in _read(run, TIMING)))


def timing(step: Artifact) -> Any:
    """What any step told of its seconds, as JSON; None where the store no longer has it."""
    try:
        return _read(step, TIMING)
    except FileNotFoundError:
        return None


def _summary(run: Artifact) -> dict[str, Any]:
    return dict(_read(run, "run.json"))


def _read(step: Artifact, name: str) -> Any:
    return json.loads(step.file(name).read_text(encoding="utf-8"))


def bare(run: Artifact, data: Artifact) -> "nn.Module":
    """The run's network with values of no meaning: for its blocks and names, or for a state to be loaded."""
    from transferscope.models.build import build_network

    return build_network(said(run)["network"], len(inputs.open_table(data.whole()).classes), seed=0)


def network(run: Artifact, data: Artifact, at: str = "end", *, device: str = "cpu") -> "nn.Module":
    """The run's network with its weights at `at`, laid out as in training, in eval mode."""
    from transferscope.models.precision import prepare

    net = bare(run, data)
    net.load_state_dict(weights(run, at))
    return prepare(net, device).eval()


def judging(data: Artifact, judged: str = "") -> str:
    """What judges networks between and beside those trained on a target: `judged`, where its study says it, else as
    `answers.walking` has it."""
    table = inputs.open_table(data.whole())
    return judged or answers.walking(table.judged, len(table.classes), table.multilabel)


def deviation(data: Artifact, judged: str = "") -> dict[str, float]:
    """What rows say beside their scores where these are errors: the deviation of the numbers, as a training has it."""
    import numpy as np

    spread = inputs.open_table(data.whole()).spread
    return {"deviation": float(np.mean(spread))} if judged and answers.metric(judged).error else {}


def batches(
    run: Artifact,
    data: Artifact,
    split: str = "test",
    *,
    size: int = 128,
    images: int | None = None,
    device: str = "cpu",
    judged: str | None = None,
) -> "Iterator[Batch]":
    """Batches (images, labels, rows) of a split as the run evaluated them, in one fixed shuffled order.

    `judged` is the metric that they bring in place of the target's own.

    At most `images` of them, in batches of equal length (give or take one) near `size`: none is too short.
    """
    import numpy as np

    from transferscope.probes.inputs.given import Batch

    kind = inputs.of_table(data.whole())
    how = said(run)
    fed = inputs.Fed(tuple(how["mean"]), tuple(how["std"]), prepare=tuple(how.get("prepare") or ()))
    table = kind.open_table(data.path)
    metric = judged or table.judged
    scale = table.spread if answers.metric(metric).error else None
    rows = stream(0, "probe", split).permutation(table.rows[split])[:images]
    for part in np.array_split(rows, max(1, round(len(rows) / size))):
        for x, y, ids in kind.evaluation(table, part, table.labels, fed, batch_size=len(part), device=device):
            yield Batch(x, y, ids, table.multilabel, metric, scale)
