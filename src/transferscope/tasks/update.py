"""Updates: from the losses of batches to new weights, gradients clipped, and an average of the weights beside."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import get_ema_multi_avg_fn

from transferscope.tasks.recipe import Training


class Update:
    """The updates of a network by an optimiser, one every `accumulate` batches; an epoch's last may have fewer.

    `averaged` is the moving average of the network's state where the recipe has an `ema`, else empty. After update n
    (from 1) it is ``d * averaged + (1 - d) * weights`` with ``d = min(ema, (1 + n) / (10 + n))``, as in TensorFlow's
    ExponentialMovingAverage, so that a short run forgets its start. Buffers such as running statistics are averaged
    with it, as in timm's ModelEmaV3; whole numbers are copied.
    """

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer, recipe: Training) -> None:
        self.net, self.optimizer = net, optimizer
        self.accumulate, self.clip, self.decay = recipe.accumulate, recipe.clip_grad, recipe.ema
        state = net.state_dict() if self.decay is not None else {}
        self.images = 0  # of the update under way, whose gradients are sums over them
        self.averaged = {name: tensor.detach().clone() for name, tensor in state.items()}

    def first(self, batch: int) -> int:
        """The first batch of the update that a batch (from 0) belongs to; the schedule is read there."""
        return batch - batch % self.accumulate

    def complete(self, batches: int, count: int) -> bool:
        """Whether an update has just been made when so many of an epoch's `count` batches are done: a place to save."""
        return batches % self.accumulate == 0 or batches == count

    def take(self, loss: Tensor, rate: float, batch: int, count: int, done: int, images: int = 1) -> int:
        """Add the gradient of a batch's mean loss; at the last batch of an update move the weights.

        The gradient is the mean over the images of the update, of which the batch has so many. `batch` counts from 0 in
        an epoch of `count`; `rate` is the learning rate; `done` are the updates so far. Returns how many there are now.
        """
        first, last = batch == self.first(batch), self.complete(batch + 1, count)
        if first:
            self.optimizer.zero_grad(set_to_none=True)
            self.images = 0
        self.images += images
        torch.autograd.backward(loss if first and last else loss * images)
        if not last:
            return done
        if not first:
            gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
            torch._foreach_div_(gradients, float(self.images))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        if self.clip is not None:
            clip_grad_norm_((p for group in self.optimizer.param_groups for p in group["params"]), self.clip)
        self.optimizer.step()
        self._average(done + 1)
        return done + 1

    @torch.no_grad()
    def _average(self, done: int) -> None:
        if self.decay is None:
            return
        state = self.net.state_dict()
        moving = [name for name, tensor in state.items() if tensor.is_floating_point()]
        decay = min(self.decay, (1 + done) / (10 + done))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(_of(self.averaged, moving), _of(state, moving), done)
        for name in state.keys() - set(moving):
            self.averaged[name].copy_(state[name])


def _of(state: dict[str, Tensor], names: Iterable[str]) -> list[Tensor]:
    return [state[name] for name in names]
