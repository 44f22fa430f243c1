"""Batch norm's running statistics, estimated anew: needed wherever weights were averaged, moved or replaced."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from transferscope.errors import UserError


@dataclass
class _Pooled:
    """Mean and sum of squared deviations per channel over everything seen, merged batch by batch (Chan et al. 1979)."""

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, count: int, mean: Tensor, squares: Tensor) -> None:
        total = self.count + count
        gap = mean - self.mean.to(mean.device)
        self.squares = self.squares.to(mean.device) + squares + gap * gap * (self.count * count / total)
        self.mean = self.mean.to(mean.device) + gap * (count / total)
        self.count = total


def _layers(net: nn.Module) -> dict[str, _BatchNorm]:
    return {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def has_batch_norm(net: nn.Module) -> bool:
    """Whether `net` keeps running statistics."""
    return bool(_layers(net))


def refresh_batch_norm(net: nn.Module, batches: Iterable[Tensor]) -> int:
    """Set every running mean and variance to that of all values seen over `batches`; the number of batches.

    Pooled over the examples, not averaged over batches: a short last batch weighs what it holds, and the variance is
    the unbiased one of the whole. Each batch (on the network's device) is normalised by its own statistics on the way,
    as in training; all other layers run in eval mode, so dropout is off. Weights, training flags and momenta are left
    as found; on an exception the statistics are too. Raises UserError where there are no batches.
    """
    layers = _layers(net)
    if not layers:
        return 0
    pooled = {name: _Pooled() for name in layers}
    before = {name: tensor.clone() for name, tensor in net.named_buffers()}
    training = {module: module.training for module in net.modules()}
    momenta = {name: layer.momentum for name, layer in layers.items()}

    def reader(name: str) -> Callable[[_BatchNorm, tuple[Tensor, ...], Tensor], None]:
        def read(layer: _BatchNorm, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            # With momentum 1 the layer has just stored this batch's own mean and unbiased variance.
            assert layer.running_mean is not None and layer.running_var is not None
            count = inputs[0].numel() // layer.num_features
            squares = layer.running_var.to(torch.float64) * (count - 1)
            pooled[name].add(count, layer.running_mean.to(torch.float64), squares)

        return read

    seen = 0
    hooks = [layer.register_forward_hook(reader(name)) for name, layer in layers.items()]
    finished = False
    try:
        net.eval()
        for layer in layers.values():
            layer.train()
            layer.momentum = 1.0
            layer.reset_running_stats()
        with torch.no_grad():
            for batch in batches:
                net(batch)
                seen += 1
        if not seen:
            raise UserError("batch norm: no batches were given to estimate the statistics from.")
        for name, layer in layers.items():
            assert layer.running_mean is not None and layer.running_var is not None
            if pooled[name].count:
                layer.running_mean.copy_(pooled[name].mean)
                layer.running_var.copy_(pooled[name].squares / max(pooled[name].count - 1, 1))
            else:  # never called: nothing is known about it
                layer.running_mean.copy_(before[_join(name, "running_mean")])
                layer.running_var.copy_(before[_join(name, "running_var")])
        finished = True
    finally:
        for hook in hooks:
            hook.remove()
        for module, flag in training.items():
            module.training = flag
        for name, layer in layers.items():
            layer.momentum = momenta[name]
        if not finished:
            with torch.no_grad():
                for name, tensor in net.named_buffers():
                    tensor.copy_(before[name])
    return seen


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
