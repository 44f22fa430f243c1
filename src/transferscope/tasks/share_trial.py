"""A trial of shares: whether a network treats images in a share of a batch as in the whole, before a run is spread."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.batch_shares import KEY, Share, WholeBatch
from transferscope.models.build import seeded
from transferscope.models.outputs import logits_of
from transferscope.probes.running import undisturbed

IMAGES = 4
NEAR = 1e-3  # of the largest value: far above rounding in float32, far below what a layer of its own way would change


def try_shares(net: nn.Module, images: Tensor) -> None:
    """Run `net`, in the state of training and left as found, on `images` (n, ...), and on their second half with the
    moments of all. Raises UserError where an image has other outputs there, or a buffer other values."""
    count, found = len(images), list[tuple[Tensor, dict[str, Tensor]]]()
    moments = _Moments()
    for mine in (slice(0, count), slice(count // 2, count)):
        with undisturbed([net], "as found"), torch.no_grad(), seeded(0, images.device):
            with WholeBatch(Share(mine, count), moments):
                out = logits_of(net(images[mine]), mine.stop - mine.start)
            found.append((out, {name: buffer.clone() for name, buffer in net.named_buffers()}))
        moments = _Moments(iter(moments.seen))
    (whole, kept), (half, others) = found
    if not _alike(whole[count // 2 :], half):
        raise UserError(
            f"{KEY}: in training the network gives an image other outputs among some of its batch than among all: it "
            "draws random numbers in a way of its own (dropout inside attention) or mixes images; train with 1."
        )
    for name, buffer in kept.items():
        if not _alike(buffer, others[name]):
            raise UserError(
                f"{KEY}: in training the network keeps '{name}' of its images in a way of its own, so that several "
                "processes would keep different ones; train with 1."
            )


@dataclass
class _Moments:
    """Those of every batch norm on the way: noted, or those of an earlier pass."""

    given: Iterator[Tensor] | None = None
    seen: list[Tensor] = field(default_factory=list)

    def gathered(self, values: Tensor) -> Tensor:
        self.seen.append(next(self.given) if self.given is not None else values)
        return self.seen[-1][None]

    def total(self, values: Tensor) -> Tensor:
        return values


def _alike(one: Tensor, other: Tensor) -> bool:
    if not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one, other, rtol=NEAR, atol=NEAR * float(one.abs().max()), equal_nan=True)
