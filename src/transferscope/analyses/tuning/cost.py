"""What a training run cost: operations, the same on every machine, and seconds, which are not."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transferscope.engine.artifact import Artifact
from transferscope.input_shape import Example
from transferscope.tasks import restore

if TYPE_CHECKING:
    from torch import nn

    from transferscope.models.adapters import Adapters


@dataclass(frozen=True)
class Cost:
    """Floating-point operations and seconds of all training steps of a run, and how many parameters it trained."""

    flops: float
    seconds: float
    trained: int
    parameters: int


def training_cost(run: Artifact, data: Artifact, *, looks: int | None = None) -> Cost:
    """What a run on all training images cost; evaluation, and the run it began from, are left out.

    Operations are those of convolutions and matrix products, a multiply-add counting two (see `step_flops`). What was
    frozen and computed once costs a forward pass for each of the `looks` at an image, however many epochs there were.
    """
    from transferscope.tasks.inputs import open_table

    table, said, net = open_table(data.whole()), restore.said(run), restore.bare(run, data)
    whole, image = sum(p.numel() for p in net.parameters()), table.example("eval")
    adapted = adapters(net, said["trainable"], len(table.classes), image)
    trained = freeze(net, said["trainable"], len(table.classes))
    step = step_flops(net, image, adapted)
    spared = below_flops(net, said["trainable"], len(table.classes), image) if looks and restore.frozen_once(run) else 0
    passes = said["epochs"] * step - (said["epochs"] - (looks or 0)) * spared
    return Cost(
        flops=len(table.rows["train"]) * passes,
        seconds=restore.seconds(run),
        trained=trained,
        parameters=whole,
    )


def adapters(net: "nn.Module", trainable: str, classes: int, image: Example) -> "Adapters | None":
    """The adapters that a recipe trains, now standing on `net`; None where it trains none."""
    from transferscope.models.adapters import attach, rank_of

    rank = rank_of(trainable)
    return None if rank is None else attach(net, rank, classes, example=image.example(1), seed=0)


def freeze(net: "nn.Module", trainable: str, classes: int) -> int:
    """Leave only what a recipe trains open to gradients; how many parameters that is. Adapters have seen to it."""
    from transferscope.models.adapters import rank_of
    from transferscope.models.blocks import top_parameters

    if rank_of(trainable) is not None:
        return sum(p.numel() for p in net.parameters() if p.requires_grad)
    names = [name for name, _ in net.named_parameters()]
    kept = set(names) if trainable == "all" else top_parameters(net, trainable, classes)
    for name, p in net.named_parameters():
        p.requires_grad_(name in kept)
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def below_flops(net: "nn.Module", trainable: str, classes: int, image: Example) -> float:
    """Operations on one image of the part of `net` that need not be computed again while `trainable` is trained."""
    from transferscope.models.operations import forward_flops
    from transferscope.tasks import frozen, run_setup

    part = frozen.frozen_part(net, run_setup.freeze(net, trainable, classes), image.example(2), "float32")
    if part is None:
        return 0.0
    whole = sum(forward_flops(net, image).values())
    with part.answered(part.returned(image.example(1))):
        return whole - sum(forward_flops(net, image).values())


def step_flops(net: "nn.Module", image: Example, adapted: "Adapters | None" = None) -> float:
    """Operations of training on one image like `image`; `net` is left in eval mode.

    A layer costs its forward pass f, another f for the gradient of its weights if they are trained, and another f for
    the gradient of its input if anything before it is. Products of activations (attention) cost 2 f backward. Counted
    from forward passes, because torch's counter takes the backward pass of a grouped convolution for a full one.

    An adapter beside a layer is two layers more, of f rank / outputs and f rank / fan-in. To make the weight of one
    that does not stand beside its layer, once a batch, is not counted.
    """
    from transferscope.models.operations import forward_flops

    net.eval()
    with adapted.merged() if adapted else nullcontext():
        forward = forward_flops(net, image)
    reached = _reached(net, image)
    total, beside = 0.0, {place.owner: place for place in adapted.places if place.beside} if adapted else {}
    for module, flops in forward.items():
        if (place := beside.get(module)) is not None:
            (rank, fan_in), outputs = place.factors[0].shape, len(place.factors[1])
            back = int(module in reached)
            total += flops * (1 + back) + flops * rank / outputs * (2 + back) + flops * rank / fan_in * 3
            continue
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
