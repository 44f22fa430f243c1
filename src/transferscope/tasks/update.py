"""Updates: from the losses of batches to new weights, gradients clipped, and an average of the weights beside."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import get_ema_multi_avg_fn

from transferscope.tasks.process_group import Group
from transferscope.tasks.recipe import Training


class Gradients:
    """The gradients of a network's batches, added up over the `accumulate` batches of an update; an epoch's last update
    may have fewer."""

    def __init__(self, net: nn.Module, recipe: Training) -> None:
        self.accumulate = recipe.accumulate
        self.trained = [p for p in net.parameters() if p.requires_grad]
        self.images = 0  # of the update under way, whose gradients are sums over them

    def first(self, batch: int) -> int:
        """The first batch of the update that a batch (from 0) belongs to; the schedule is read there."""
        return batch - batch % self.accumulate

    def complete(self, batches: int, count: int) -> bool:
        """Whether an update has just been made when so many of an epoch's `count` batches are done: a place to save."""
        return batches % self.accumulate == 0 or batches == count

    def add(self, loss: Tensor, batch: int, count: int, images: int = 1) -> bool:
        """Add the gradient of a batch's mean loss; True at the last batch of an update.

        It is the mean over the images of the update, of which the batch has so many. `batch` counts from 0 in an epoch
        of `count`.
        """
        first, last = batch == self.first(batch), self.complete(batch + 1, count)
        if first:
            for p in self.trained:
                p.grad = None
            self.images = 0
        self.images += images
        torch.autograd.backward(loss if first and last else loss * images)
        if last and not first:
            self._divide()
        return last

    @torch.no_grad()
    def _divide(self) -> None:
        gradients = [p.grad for p in self.trained if p.grad is not None]
        torch._foreach_div_(gradients, float(self.images))


class Update(Gradients):
    """The updates of a network by an optimiser, one every `accumulate` batches; an epoch's last may have fewer.

    `averaged` is the moving average of the network's state where the recipe has an `ema`, else empty. After update n
    (from 1) it is ``d * averaged + (1 - d) * weights`` with ``d = min(ema, (1 + n) / (10 + n))``, as in TensorFlow's
    ExponentialMovingAverage, so that a short run forgets its start. Buffers such as running statistics are averaged
    with it, as in timm's ModelEmaV3; whole numbers are copied.
    """

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer, recipe: Training) -> None:
        super().__init__(net, recipe)
        self.net = net
        self.optimizer, self.clip, self.decay = optimizer, recipe.clip_grad, recipe.ema
        self.group: Group | None = None  # those who have the other shares of every batch
        state = net.state_dict() if self.decay is not None else {}
        self.averaged = {name: tensor.detach().clone() for name, tensor in state.items()}

    def take(self, loss: Tensor, rate: float, batch: int, count: int, done: int, images: int = 1) -> int:
        """`add` a batch; at the last one of an update move the weights.

        `rate` is the learning rate; `done` are the updates so far. Returns how many there are now.
        """
        if not self.add(loss, batch, count, images):
            return done
        if self.group is not None:
            self.group.collect(self.net)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        if self.clip is not None:
            clip_grad_norm_((p for group in self.optimizer.param_groups for p in group["params"]), self.clip)
        self.optimizer.step()
        if self.group is not None:
            self.group.spread(self.net)
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
