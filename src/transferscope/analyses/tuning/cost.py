"""What a training run cost: operations, the same on every machine, and seconds, which are not."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transferscope.engine.store import Artifact
from transferscope.shape import Example
from transferscope.tasks import restore

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Cost:
    """Floating-point operations and seconds of all training steps of a run, and how many parameters it trained."""

    flops: float
    seconds: float
    trained: int
    parameters: int


def training_cost(run: Artifact, data: Artifact) -> Cost:
    """What a run on all training images cost; evaluation, and the run it began from, are left out.

    Operations are those of convolutions and matrix products, a multiply-add counting two (see `step_flops`).
    """
    from transferscope.data.table import open_table

    table, said, net = open_table(data.path), restore.said(run), restore.bare(run, data)
    trained = freeze(net, said["trainable"], len(table.classes))
    return Cost(
        flops=said["epochs"] * len(table.rows["train"]) * step_flops(net, table.example("eval")),
        seconds=restore.seconds(run),
        trained=trained,
        parameters=sum(p.numel() for p in net.parameters()),
    )


def freeze(net: "nn.Module", trainable: str, classes: int) -> int:
    """Leave only what a recipe trains open to gradients; how many parameters that is."""
    from transferscope.models.blocks import top_parameters

    names = [name for name, _ in net.named_parameters()]
    kept = set(names) if trainable == "all" else top_parameters(net, trainable, classes)
    for name, p in net.named_parameters():
        p.requires_grad_(name in kept)
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def step_flops(net: "nn.Module", image: Example) -> float:
    """Operations of training on one image like `image`; `net` is left in eval mode.

    A layer costs its forward pass f, another f for the gradient of its weights if they are trained, and another f for
    the gradient of its input if anything before it is. Products of activations (attention) cost 2 f backward. Counted
    from forward passes, because torch's counter takes the backward pass of a grouped convolution for a full one.
    """
    from transferscope.models.operations import forward_flops

    net.eval()
    forward = forward_flops(net, image)
    reached = _reached(net, image)
    total = 0.0
    for module, flops in forward.items():
        weights = [p for p in module.parameters(recurse=False) if p.ndim > 1]
        if weights:
            backward = int(any(p.requires_grad for p in weights)) + int(module in reached)
        else:
            backward = 2 * int(module in reached or any(p.requires_grad for p in module.parameters()))
        total += flops * (1 + backward)
    return total


def _reached(net: "nn.Module", image: Example) -> "set[nn.Module]":
    """The modules whose input needs a gradient."""
    import torch

    found: set[nn.Module] = set()

    def enter(module: "nn.Module", inputs: Any) -> None:
        if any(isinstance(x, torch.Tensor) and x.requires_grad for x in inputs):
            found.add(module)

    hooks = [module.register_forward_pre_hook(enter) for module in net.modules()]
    try:
        net(image.example(1))
    finally:
        for hook in hooks:
            hook.remove()
    return found
