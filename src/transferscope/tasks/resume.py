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
    """Everything needed to go on from this batch, in one rename."""
    momenta = {
        f"momentum.{name}": buffer
        for name, p in net.named_parameters()
        if (buffer := optimizer.state.get(p, {}).get("momentum_buffer")) is not None
    }
    weights = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    scratch = folder / f"{FILE}.part"
    save_file(plain({**weights, **momenta}), scratch, metadata={"progress": json.dumps(asdict(progress))})
    scratch.replace(folder / FILE)


def load(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Put `net` and `optimizer` back to the last save; None where there is no whole one."""
    try:
        with safe_open(folder / FILE, "pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError):
        return None
    net.load_state_dict({name.removeprefix("net."): t for name, t in state.items() if name.startswith("net.")})
    for name, p in net.named_parameters():
        if (momentum := state.get(f"momentum.{name}")) is not None:
            buffer = torch.empty_like(p)  # in the parameter's own memory layout
            optimizer.state[p]["momentum_buffer"] = buffer.copy_(momentum)
    return progress


def clear(folder: Path) -> None:
    """The run is over: leave no save behind."""
    for name in (FILE, f"{FILE}.part"):
        (folder / name).unlink(missing_ok=True)
