"""Saving a half-finished run so that it can be killed anywhere and end in the same bytes."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FILE = "resume.safetensors"


@dataclass
class Progress:
    """All that changes while training besides tensors; sums are over the batches done of the epoch under way."""

    epoch: int = 0  # the last one finished
    batch: int = 0  # batches done of the next one
    images: float = 0.0
    loss: float = 0.0
    right: float = 0.0
    seconds: float = 0.0  # spent on those batches
    best: float = -math.inf
    best_epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)


def plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: on the CPU, contiguous, none sharing memory with another."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}


def save(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Everything needed to go on from this batch, in one rename; of the optimiser whatever state it keeps."""
    tensors: dict[str, Tensor] = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    numbers: dict[str, Any] = {}
    for name, p in net.named_parameters():
        for word, value in optimizer.state.get(p, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{word}.{name}"] = value
            elif value is not None:
                numbers[f"{word}.{name}"] = value
    said = {"progress": json.dumps(asdict(progress)), "optimizer": json.dumps(numbers)}
    scratch = folder / f"{FILE}.part"
    save_file(plain(tensors), scratch, metadata=said)
    scratch.replace(folder / FILE)


def load(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Put `net` and `optimizer` back to the last save; None where there is no whole one."""
    try:
        with safe_open(folder / FILE, "pt") as file:
            said = file.metadata()
            progress = Progress(**json.loads(said["progress"]))
            found: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError):
        return None
    net.load_state_dict({name.removeprefix("net."): found.pop(name) for name in [*found] if name.startswith("net.")})
    found |= json.loads(said.get("optimizer", "{}"))  # the first saves held SGD's "momentum.NAME" alone
    parameters = dict(net.named_parameters())
    state: dict[int, dict[str, Any]] = {}
    places = {id(p): n for n, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    for key, value in found.items():
        word, _, name = key.partition(".")
        p = parameters[name]
        if isinstance(value, Tensor) and value.shape == p.shape:  # in the parameter's own memory layout
            value = torch.empty_like(p, dtype=value.dtype).copy_(value)
        state.setdefault(places[id(p)], {})["momentum_buffer" if word == "momentum" else word] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return progress


def clear(folder: Path) -> None:
    """The run is over: leave no save behind."""
    for name in (FILE, f"{FILE}.part"):
        (folder / name).unlink(missing_ok=True)
