"""Shares of a batch: threads with some rows each get outputs, gradients and running statistics of one with all."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from transferscope.errors import UserError
from transferscope.models.batch_shares import Share, WholeBatch, share

IMAGES = 7


class Peer:
    """One of several threads that meet at a barrier."""

    def __init__(self, number: int, seen: dict[int, Tensor], barrier: threading.Barrier) -> None:
        self.number, self.seen, self.barrier = number, seen, barrier

    def gathered(self, values: Tensor) -> Tensor:
        self.seen[self.number] = values
        self.barrier.wait()
        found = torch.stack([self.seen[number] for number in range(self.barrier.parties)])
        self.barrier.wait()
        return found

    def total(self, values: Tensor) -> Tensor:
        return self.gathered(values).sum(0)


class Standardised(nn.Conv2d):
    """Weights standardised by batch norm, as timm does it: no norm of images."""

    def forward(self, x: Tensor) -> Tensor:
        weight = nn.functional.batch_norm(self.weight.flatten(1)[None], None, None, training=True, momentum=0.0)
        return self._conv_forward(x, weight.view_as(self.weight), self.bias)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.BatchNorm2d(3, affine=False),
            nn.Conv2d(3, 4, 3, stride=2),
            nn.BatchNorm2d(4),
            Standardised(4, 6, 2),
            nn.BatchNorm2d(6, momentum=None),
            nn.Flatten(),
            nn.Linear(24, 8, bias=False),
            nn.BatchNorm1d(8),
            nn.Linear(8, 2),
        )
    return net.double().to(memory_format=torch.channels_last)


def images() -> Tensor:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(IMAGES, 3, 7, 7, dtype=torch.float64, generator=draw)
    return (x * 3 + 5).to(memory_format=torch.channels_last)  # far from 0: moments have to be taken in two passes


def stepped(net: nn.Module, x: Tensor, y: Tensor, weight: float = 1.0) -> tuple[Tensor, Tensor]:
    """Outputs of a training pass, and the gradient of the summed loss by the images."""
    x = x.clone().requires_grad_()
    out = net(x)
    (nn.functional.cross_entropy(out, y, reduction="sum") * weight).backward()
    assert x.grad is not None
    return out.detach(), x.grad


@pytest.mark.parametrize("count", [2, 3, 9], ids=["2", "3", "more than there are images"])
def test_shares_together_are_the_whole(count: int) -> None:
    x, y, whole = images(), torch.arange(IMAGES) % 2, network()
    outputs, gradient = stepped(whole, x, y)
    nets, seen, barrier = [network() for _ in range(count)], dict[int, Tensor](), threading.Barrier(count, timeout=20)

    def run(number: int) -> tuple[Tensor, Tensor]:
        mine = share(IMAGES, number, count)
        with WholeBatch(mine, Peer(number, seen, barrier)):
            return stepped(nets[number], x[mine.rows], y[mine.rows], float(mine.counts))

    with ThreadPoolExecutor(count) as threads:
        found = list(threads.map(run, range(count)))
    near = {"rtol": 1e-10, "atol": 1e-12}  # float64
    shares = [share(IMAGES, number, count) for number in range(count)]
    assert sum(len(one) for one in shares if one.counts) == IMAGES
    for one, (out, by_images) in zip(shares, found, strict=True):
        torch.testing.assert_close(out, outputs[one.rows], **near)
        torch.testing.assert_close(by_images, gradient[one.rows] * one.counts, **near)
    for net in nets:
        torch.testing.assert_close(dict(net.named_buffers()), dict(whole.named_buffers()), **near)
    for name, p in whole.named_parameters():
        every = [dict(net.named_parameters())[name].grad for net in nets]
        torch.testing.assert_close(sum(every), p.grad, **near)


def test_what_is_drawn_is_that_of_the_whole_batch() -> None:
    """The same bits, for the same seed, whatever draws and wherever the share begins."""
    net = nn.Sequential(nn.Dropout(0.4), nn.Dropout2d(0.3), StochasticDepth(0.5, "row")).train()
    x, mine = images(), Share(slice(2, 5), IMAGES)
    torch.manual_seed(3)
    whole = net(x)
    torch.manual_seed(3)
    with WholeBatch(mine, _nobody()):
        own = net(x[mine.rows])
    assert 0 < int((whole == 0).sum()) < whole.numel() and torch.equal(own, whole[mine.rows])
    with WholeBatch(mine, _nobody()):
        assert torch.equal(net.eval()(x[mine.rows]), x[mine.rows])


def test_what_is_drawn_for_anything_but_images_is_refused() -> None:
    with WholeBatch(Share(slice(0, 2), 4), _nobody()), pytest.raises(UserError, match=r"gpus_per_run.*\(5, 2\).*train"):
        nn.Dropout(0.5)(torch.ones(5, 2))


def test_batch_norm_refuses_one_value_a_channel_as_torch_does() -> None:
    one: Callable[[Tensor], Tensor] = nn.BatchNorm1d(3)
    with WholeBatch(Share(slice(0, 1), 1), _nobody()), pytest.raises(ValueError, match="more than 1 value per channel"):
        one(torch.ones(1, 3))


def _nobody() -> Peer:
    return Peer(0, {}, threading.Barrier(1))
