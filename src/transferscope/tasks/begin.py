"""How a training run begins: which images, which labels, which weights, what of them trains, and by what optimiser."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from transferscope.data.augment import Augment
from transferscope.data.batches import Normalisation, Permutation
from transferscope.data.shuffle import block_permutation, image_permutations
from transferscope.data.split import nested_fraction, sample
from transferscope.data.table import Table
from transferscope.engine.work import Work
from transferscope.models import inits
from transferscope.models.blocks import top_parameters
from transferscope.models.build import build_network
from transferscope.models.loaded import Loaded
from transferscope.models.precision import prepare
from transferscope.streams import stream
from transferscope.tasks import optimisers
from transferscope.tasks.schedule import Schedule


@dataclass(frozen=True)
class Start:
    """Where a run starts: an arm (see `models.inits`), or the weights in the file `begin` at the end of `epoch`."""

    network: str
    arm: str
    weights: str | None
    min_share: float
    seed: int
    head_seed: int
    begin: Path | None = None
    epoch: int = 0
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What `tasks.train` was asked for, with the lr search resolved."""

    epochs: int
    batch_size: int
    schedule: Schedule
    momentum: float
    nesterov: bool
    weight_decay: float
    mixup: float
    label_smoothing: float
    augment: Augment | None
    precision: str
    normalisation: Normalisation
    shuffle: dict[str, Any] | None = None
    fraction: float = 1.0
    trainable: str = "all"
    labels: str = "true"
    keep: str = "log"
    evaluate: int | str = "all"
    optimizer: str = optimisers.USUAL


def chosen_rows(table: Table, fraction: float, seed: int) -> dict[str, np.ndarray]:
    """The rows of the table that the run trains on and is tested on, by split."""
    rows = dict(table.rows)
    if fraction < 1:
        rows["train"] = nested_fraction(table.labels, rows["train"], fraction, seed=seed)
    return rows


def watched_rows(
    rows: dict[str, np.ndarray], labels: np.ndarray, metric: str, count: int | str, seed: int
) -> dict[str, np.ndarray]:
    """Those of `rows` that are evaluated after every epoch: a sample of each split, or "all".

    An AUC of a few positives would say nothing, so an eighth of the count are of each answer where there are as many.
    """
    if not isinstance(count, int):
        return rows
    least = count // 8 if metric == "auc" else 0
    return {split: sample(labels, of, count, seed=seed, least=least) for split, of in rows.items()}


def chosen_labels(table: Table, which: str, seed: int) -> np.ndarray:
    """The table's labels; "random": shuffled over the images of each split, so that only memory can learn them."""
    if which == "true":
        return table.labels
    labels = table.labels.copy()
    for split, rows in table.rows.items():
        order = stream(seed, "labels", split).permutation(len(rows))
        labels[rows] = table.labels[rows[order]]
    return labels


def permutation(how: dict[str, Any] | None, size: int, seed: int) -> Permutation | None:
    """The fixed block permutation of a shuffled run, or a function giving every image its own."""
    if how is None:
        return None
    if how.get("per_image"):
        return lambda rows: image_permutations(rows, size, how["block"], seed=seed)
    return block_permutation(size, how["block"], seed=seed)


def network(start: Start, classes: int, precision: str, work: Work) -> tuple[nn.Module, Loaded | None]:
    """The network at its start, ready to compute, and what was loaded into it."""
    net = build_network(start.network, classes, seed=start.seed)
    loaded = inits.start(
        start.arm,
        net,
        network=start.network,
        classes=classes,
        weights=start.weights,
        seed=start.seed,
        head_seed=start.head_seed,
        min_share=start.min_share,
        allow=start.allow,
    )
    if start.begin is not None:
        net.load_state_dict(load_file(start.begin))
    net = prepare(net, work.device)
    if work.options.get("compile"):
        net.compile()  # in place: the names of the weights stay
    return net, loaded


def freeze(net: nn.Module, trainable: str, classes: int) -> list[nn.Module]:
    """Freeze what is not trained; the modules that hold nothing trainable, to be kept in eval mode."""
    if trainable == "all":
        return []
    kept = top_parameters(net, trainable, classes)
    for name, p in net.named_parameters():
        p.requires_grad_(name in kept)
    return [m for m in net.modules() if not any(p.requires_grad for p in m.parameters())]


def optimiser(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of what trains."""
    offered = {
        "lr": recipe.schedule.lr,
        "momentum": recipe.momentum,
        "nesterov": recipe.nesterov,
        "weight_decay": recipe.weight_decay,
    }
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    return optimisers.build(recipe.optimizer, trained, offered)
