"""How a training run begins: which images, which labels, which weights, what of them trains, and by what optimiser."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from transferscope.answers import OF_TWO
from transferscope.data.split import nested_fraction, sample
from transferscope.data.table import Table
from transferscope.engine.step import Outside
from transferscope.engine.task_context import Work
from transferscope.models import adapters, inits, weights_fingerprint
from transferscope.models.blocks import top_parameters
from transferscope.models.build import build_network
from transferscope.models.load_report import Loaded
from transferscope.models.precision import prepare
from transferscope.random_streams import stream
from transferscope.tasks import optimisers
from transferscope.tasks.outside_files import unchanged
from transferscope.tasks.recipe import Run, Training


@dataclass(frozen=True)
class Start:
    """The files a run starts from: pretrained `weights` as a reference, which are `outside` the store where they are no
    run's, and what another run saved (`begin`)."""

    weights: str | None = None
    outside: Outside | None = None
    begin: Path | None = None


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

    An AUC (or average precision) of a few positives would say nothing, so an eighth of the count are of each answer
    where there are as many.
    """
    if not isinstance(count, int):
        return rows
    least = count // 8 if metric in OF_TWO else 0
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


def network(run: Run, start: Start, classes: int, work: Work) -> tuple[nn.Module, Loaded | None]:
    """The network at its start, ready to compute, and what was loaded into it."""
    net = build_network(run.network, classes, seed=run.seed, drops=run.drops)
    loaded = inits.start(
        run.arm,
        net,
        network=run.network,
        classes=classes,
        weights=start.weights,
        seed=run.seed,
        head_seed=run.head_seed,
        min_share=run.min_share or 0.0,
        allow=run.allow or (),
    )
    if start.outside is not None:
        unchanged(start.outside, weights_fingerprint(start.outside.ref, run.network, work.memo))
    if start.begin is not None:
        net.load_state_dict(load_file(start.begin))
    net = prepare(net, work.device)
    if work.options.get("compile"):
        net.compile()  # in place: the names of the weights stay
    return net, loaded


def freeze(net: nn.Module, trainable: str, classes: int, drop_in: str = "nothing") -> list[nn.Module]:
    """Freeze what is not trained; the modules that hold nothing trainable, to be kept in eval mode.

    Modules without parameters (dropout) are among them, or, with `drop_in` "trained", only those that lie in what is
    frozen or come before all that trains, in the order in which the network was put together.

    Below adapters (see `adapted`) all is trained in a way: what is frozen there is the statistics of norms alone.
    """
    if trainable == "all":
        return []
    if adapters.rank_of(trainable) is not None:
        return [
            m for m in net.modules() if isinstance(m, _BatchNorm) and not any(p.requires_grad for p in m.parameters())
        ]
    kept = top_parameters(net, trainable, classes)
    for name, p in net.named_parameters():
        p.requires_grad_(name in kept)
    if drop_in == "trained":
        return list(_at_rest(net))
    return [m for m in net.modules() if not any(p.requires_grad for p in m.parameters())]


def outermost(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """Those of `modules` that lie in no other of them: what is done to all that lies in them is done to all."""
    inner = {child for module in modules for child in module.children()}
    return [module for module in modules if module not in inner]


def _at_rest(net: nn.Module) -> Iterator[nn.Module]:
    frozen, begun = set[nn.Module](), False
    for module in net.modules():  # a module before those in it
        held = list(module.parameters())
        if module in frozen or not (any(p.requires_grad for p in held) if held else begun):
            frozen.update(module.modules())
            yield module
        begun = begun or any(p.requires_grad for p in module.parameters(recurse=False))


def adapted(net: nn.Module, run: Run, table: Table, device: str) -> adapters.Adapters | None:
    """The low-rank adapters that are trained in the place of what lies below the head; None where none are."""
    rank = adapters.rank_of(run.trainable)
    if rank is None:
        return None
    example = table.example("eval").example(1).to(device)
    return adapters.attach(net, rank, len(table.classes), example=example, seed=run.seed)


def optimiser(net: nn.Module, run: Training) -> torch.optim.Optimizer:
    """The optimiser of what trains, with one learning rate (`run.lr`) that a loop replaces at every step."""
    offered = {field: getattr(run, field) for field in optimisers.OFFERED}
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    made = optimisers.build(run.optimizer, trained, offered)
    optimisers.regroup(made, net, decay_norms=run.decay_norms, layer_decay=run.layer_decay, lr_scale=run.lr_scale)
    return made
