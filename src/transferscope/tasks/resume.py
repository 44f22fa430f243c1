"""Saving a half-finished run so that it can be killed anywhere and end in the same bytes."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FILE = "resume.safetensors"
# Beginnings of keys: of the average, of what an optimiser keeps for all parameters, of a group.
AVERAGED, ALL, GROUP = "@averaged", "@state", "@"


@dataclass
class Progress:
    """All that changes while training besides tensors; sums are over the batches done of the epoch under way."""

    epoch: int = 0  # the last one finished
    batch: int = 0  # batches done of the next one
    images: float = 0.0
    loss: float = 0.0
    right: float = 0.0
    seconds: float = 0.0  # spent on those batches
    updates: int = 0  # of the weights, since training began
    best: float = -math.inf
    best_epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)


def plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: on the CPU, contiguous, none sharing memory with another."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}


def save(
    folder: Path,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    averaged: Mapping[str, Tensor] | None = None,
) -> None:
    """Everything needed to go on from this batch, in one rename; of the optimiser whatever state it keeps.

    `averaged` is the moving average of the network's state, if there is one.
    """
    tensors: dict[str, Tensor] = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    tensors |= {f"{AVERAGED}.{name}": tensor for name, tensor in (averaged or {}).items()}
    numbers: dict[str, Any] = {}
    for key, value in _kept(net, optimizer):
        if isinstance(value, Tensor):
            tensors[key] = value
        elif value is not None:
            numbers[key] = value
    said = {"progress": json.dumps(asdict(progress)), "optimizer": json.dumps(numbers)}
    scratch = folder / f"{FILE}.part"
    save_file(plain(tensors), scratch, metadata=said)
    scratch.replace(folder / FILE)


def _kept(net: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Any]]:
    """What an optimiser keeps: of a parameter as "word.parameter", of all as "@state.word", of a group "@0.word"."""
    for name, p in net.named_parameters():
        for word, value in optimizer.state.get(p, {}).items():
            yield f"{word}.{name}", value
    for word, value in optimizer.state.items():
        if isinstance(word, str):
            yield f"{ALL}.{word}", value
    for number, group in enumerate(optimizer.param_groups):
        for word, value in group.items():
            if word != "lr" and (isinstance(value, Tensor) or type(value) in (int, float)):
                yield f"{GROUP}{number}.{word}", value


def load(
    folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, averaged: Mapping[str, Tensor] | None = None
) -> Progress | None:
    """Put `net`, `optimizer` and the tensors of `averaged` back to the last save; None where there is no whole one."""
    try:
        with safe_open(folder / FILE, "pt") as file:
            said = file.metadata()
            progress = Progress(**json.loads(said["progress"]))
            found: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError):
        return None
    net.load_state_dict({name.removeprefix("net."): found.pop(name) for name in [*found] if name.startswith("net.")})
    for name, tensor in (averaged or {}).items():
        tensor.copy_(found.pop(f"{AVERAGED}.{name}"))
    found |= json.loads(said.get("optimizer", "{}"))
    first = "optimizer" not in said  # the first saves held SGD's "momentum.NAME" alone
    parameters = dict(net.named_parameters())
    state: dict[int, dict[str, Any]] = {}
    places = {id(p): n for n, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    loose: dict[str, Any] = {}
    for key, value in found.items():
        word, _, name = key.partition(".")
        if word == ALL:
            loose[name] = value
            continue
        if word.startswith(GROUP):
            optimizer.param_groups[int(word.removeprefix(GROUP))][name] = value
            continue
        p = parameters[name]
        if isinstance(value, Tensor) and value.shape == p.shape:  # in the parameter's own memory layout
            value = torch.empty_like(p, dtype=value.dtype).copy_(value)
        state.setdefault(places[id(p)], {})["momentum_buffer" if first else word] = value
    optimizer.load_state_dict({"state": {**state, **loose}, "param_groups": optimizer.state_dict()["param_groups"]})
    return progress


def clear(folder: Path) -> None:
    """The run is over: leave no save behind."""
    for name in (FILE, f"{FILE}.part"):
        (folder / name).unlink(missing_ok=True)
