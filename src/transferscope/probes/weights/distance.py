"""Distance: how far two networks of one architecture lie apart in weights, whole, per block, and the head by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from transferscope import charts
from transferscope.models.blocks import blocks, parameters_of
from transferscope.models.parametrised import effective, effective_names, finite
from transferscope.models.weights import belongs
from transferscope.models.weights import distance as l2
from transferscope.probes import result
from transferscope.probes.inputs.weights import classifier
from transferscope.probes.weights.combine import Net, alike, opened, same_architecture

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Distance(result.Saved):
    """Euclidean distance between the trainable parameters of a and b (Neyshabur et al. 2020, table 2).

    `body` is over all blocks without the head. Per block (B,), in execution order, the head's tensors left out: `l2`,
    `norm` of b's block, `relative` = l2 / norm (give the start as b), and `size`, its number of parameters. `l2` grows
    with the size of a block; `rms` = l2 / root of size, the way of a single weight, and `relative` do not. `head` is
    the head's distance, NaN where its shapes differ or there is none. Buffers and integer tensors do not count.
    """

    l2: Array
    norm: Array
    size: NDArray[np.int64]
    blocks: tuple[str, ...]
    body: float
    body_norm: float
    head: float
    head_names: tuple[str, ...]

    @property
    def relative(self) -> Array:
        """l2 / norm per block (B,); NaN where b's block is all zero."""
        return np.divide(self.l2, self.norm, out=np.full_like(self.l2, np.nan), where=self.norm > 0)

    @property
    def rms(self) -> Array:
        """Root mean square over the weights of each block of what they moved (B,)."""
        return np.asarray(self.l2 / np.sqrt(self.size))

    @property
    def body_rms(self) -> float | None:
        """Root mean square over all weights of the body of what they moved."""
        return self.body / float(np.sqrt(self.size.sum())) if self.size.sum() else None

    @property
    def body_relative(self) -> float | None:
        """Distance of the body over the norm of b's body."""
        return self.body / self.body_norm if self.body_norm else None

    def table(self) -> pl.DataFrame:
        """One row per block, then "(head)" and "(body)": block, l2, norm, relative, rms, size."""
        columns = zip(self.blocks, self.l2, self.norm, self.relative, self.rms, self.size, strict=True)
        rows = [
            {
                "block": name,
                "l2": float(d),
                "norm": float(n),
                "relative": result.number(r),
                "rms": float(m),
                "size": int(s),
            }
            for name, d, n, r, m, s in columns
        ]
        rows.append({"block": "(head)", "l2": result.number(self.head)})
        rows.append(
            {
                "block": "(body)",
                "l2": self.body,
                "norm": self.body_norm,
                "relative": self.body_relative,
                "rms": self.body_rms,
                "size": int(self.size.sum()),
            }
        )
        numbers = dict.fromkeys(("l2", "norm", "relative", "rms"), pl.Float64)
        return pl.DataFrame(rows, schema={"block": pl.String, **numbers, "size": pl.Int64})

    def chart(self) -> Any:
        """Distance of each block, in execution order."""
        rows = self.table().filter(~pl.col("block").str.starts_with("("))
        return charts.lines(rows, "block", "l2", x_title="block", y_title="L2 distance")


def distance(a: Net, b: Net, *, head: str | Sequence[str] | None = None, like: nn.Module | None = None) -> Distance:
    """L2 distance of the weights of `a` from those of `b`; for distances relative to a start, let `b` be the start.

    `head` names the classifier's module(s) when it is not found by itself (timm's `get_classifier`, else the last
    linear layer); `head=()` counts everything as body. `a` and `b` are networks or state dicts; `like` is a network of
    their form, needed where both are state dicts: its own values do not matter. Raises UserError for networks of
    different architectures, and for weights that are not finite.
    """
    net, states = opened("distance", {"a": a, "b": b}, like)
    heads = classifier(net) if head is None else (head,) if isinstance(head, str) else tuple(head)
    a, b, trained = effective(net, states["a"]), effective(net, states["b"]), effective_names(net)
    in_head = [name for name in trained if belongs(name, heads)]
    body = [name for name in trained if name not in set(in_head)]
    own = effective(net, net.state_dict())
    same_head = all(alike(a, b, name) and name in a for name in in_head)
    finite("distance", in_head, a, b)
    same_architecture("distance", own, {"a": a, "b": b}, body)
    names, inside = [], []
    for block in blocks(net):
        if mine := parameters_of(block, body):
            names.append(block.name)
            inside.append(mine)
    zero = {name: b[name] * 0 for name in body if name in b}
    norms = [l2(b, zero, mine) for mine in inside]
    return Distance(
        l2=np.array([l2(a, b, mine) for mine in inside]),
        norm=np.array(norms),
        size=np.array([sum(b[name].numel() for name in mine) for mine in inside]),
        blocks=tuple(names),
        body=l2(a, b, body),
        body_norm=float(np.linalg.norm(norms)),
        head=l2(a, b, in_head) if in_head and same_head else float("nan"),
        head_names=heads,
    )
