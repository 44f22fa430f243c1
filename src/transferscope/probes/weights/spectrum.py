"""Spectrum: singular values of every weight matrix of two networks, and how far their leading directions are shared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.measures import spectrum as measures
from transferscope.models.blocks import blocks
from transferscope.models.outputs import answering
from transferscope.models.parametrised import effective, effective_names, finite
from transferscope.models.weights import belongs
from transferscope.probes import result
from transferscope.probes.inputs.given import batch_of
from transferscope.probes.running import fed, undisturbed
from transferscope.probes.weights.combine import Net, opened

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum(result.Saved):
    """Spectra of the W weight matrices that networks a and b share, in execution order of their blocks.

    `values_a`, `values_b`: from the weight's name to its singular values, descending. Per weight (W,): `rank_a`,
    `rank_b` effective ranks; `k` the dimension of the compared subspaces; `overlap` of the top-k right singular
    subspaces (directions of the input), in [0, 1], NaN where a rank is below k; `expected` its mean for random
    subspaces. `operator` tells whether the values are those of the convolution operators.
    """

    values_a: Mapping[str, Array]
    values_b: Mapping[str, Array]
    rank_a: Array
    rank_b: Array
    k: NDArray[np.int64]
    overlap: Array
    expected: Array
    weights: tuple[str, ...]
    blocks: tuple[str, ...]
    operator: bool = False

    @property
    def norm_a(self) -> Array:
        """Largest singular value of each weight of a (W,)."""
        return np.array([self.values_a[name][0] for name in self.weights])

    @property
    def norm_b(self) -> Array:
        """Largest singular value of each weight of b (W,)."""
        return np.array([self.values_b[name][0] for name in self.weights])

    def table(self) -> pl.DataFrame:
        """One row per weight: weight, block, norm_a, norm_b, rank_a, rank_b, k, overlap, expected, excess.

        `excess` = (overlap - expected) / (1 - expected): 0 for random subspaces, 1 for equal ones.
        """
        columns = zip(
            self.weights,
            self.blocks,
            self.norm_a,
            self.norm_b,
            self.rank_a,
            self.rank_b,
            self.k,
            self.overlap,
            self.expected,
            strict=True,
        )
        rows = [
            {
                "weight": w,
                "block": block,
                "norm_a": float(na),
                "norm_b": float(nb),
                "rank_a": float(ra),
                "rank_b": float(rb),
                "k": int(k),
                "overlap": result.number(o),
                "expected": float(e),
                "excess": result.number((o - e) / (1 - e)) if e < 1 else None,
            }
            for w, block, na, nb, ra, rb, k, o, e in columns
        ]
        numbers = dict.fromkeys(("norm_a", "norm_b", "rank_a", "rank_b"), pl.Float64)
        shared = dict.fromkeys(("overlap", "expected", "excess"), pl.Float64)
        return pl.DataFrame(rows, schema={"weight": pl.String, "block": pl.String, **numbers, "k": pl.Int64, **shared})

    def chart(self) -> Any:
        """Overlap of the leading directions, weight by weight, beside what random subspaces would have."""
        rows = self.table().drop_nulls("overlap")
        both = [
            rows.select("weight", pl.lit(word).alias("what"), pl.col(column).alias("overlap"))
            for column, word in (("overlap", "of a and b"), ("expected", "of random subspaces"))
        ]
        return charts.lines(pl.concat(both), "weight", "overlap", "what", y_title="overlap of leading directions")


def spectrum(a: Net, b: Net, *, k: int = 10, operator: Tensor | None = None, like: nn.Module | None = None) -> Spectrum:
    """Spectra of all weights with two or more dimensions (under weight norm, spectral norm or pruning: of the weights
    that the network computes with), convolutions as (out, in kh kw) matrices, in float64.

    The subspaces compared have `k` dimensions, but at most a quarter of the weight's smaller side. With `operator`, a
    batch of inputs, the values of each ordinary convolution are instead those of the operator it is on inputs of the
    size it meets in `a` (circular padding, stride 1: Sedghi, Gupta & Long 2019); subspaces stay those of the matrix.
    Weights that are single rows or columns have no spectrum. `a` and `b` are networks or state dicts; `like` is a
    network of their form, needed where both are state dicts: its own values do not matter. Raises UserError for
    networks that share no weight.
    """
    net, states = opened("spectrum", {"a": a, "b": b}, like)
    if k < 1:
        raise UserError(f"spectrum: k must be at least 1, not {k}.")
    sizes = _sizes(net, operator) if operator is not None else {}
    a, b = effective(net, states["a"]), effective(net, states["b"])
    names = [n for n in effective_names(net) if n in a and n in b and a[n].shape == b[n].shape]
    names = [name for name in names if a[name].ndim > 1 and min(a[name].flatten(1).shape) > 1]
    if not names:
        raise UserError("spectrum: the two networks share no weight matrix of equal name and shape.")
    finite("spectrum", names, a, b)
    cut = blocks(net)
    place = {name: next((block.name for block in cut if belongs(name, block.prefixes)), "") for name in names}
    values: list[dict[str, Array]] = [{}, {}]
    ks: list[int] = []
    shared: list[float] = []
    chance: list[float] = []
    for name in names:
        for found, state in zip(values, (a, b), strict=True):
            weight = state[name].detach().cpu()
            size = sizes.get(name)
            found[name] = measures.conv_singular_values(weight, *size) if size else measures.singular_values(weight)
        smaller = min(a[name].flatten(1).shape)
        ks.append(min(k, max(1, smaller // 4)))
        (of,) = measures.overlaps(a[name].cpu(), b[name].cpu(), [ks[-1]])
        shared.append(np.nan if of.value is None else of.value)
        chance.append(of.expected)
    return Spectrum(
        values_a=values[0],
        values_b=values[1],
        rank_a=np.array([measures.effective_rank(values[0][name]) for name in names]),
        rank_b=np.array([measures.effective_rank(values[1][name]) for name in names]),
        k=np.array(ks),
        overlap=np.array(shared),
        expected=np.array(chance),
        weights=tuple(names),
        blocks=tuple(place[name] for name in names),
        operator=bool(sizes),
    )


def _sizes(net: nn.Module, example: Tensor) -> dict[str, tuple[int, int, int]]:
    """Height and width of the inputs each convolution meets on `example`, and its groups."""
    found: dict[str, tuple[int, int, int]] = {}
    handles = []
    try:
        for name, module in net.named_modules():
            if isinstance(module, nn.Conv2d):

                def read(module: nn.Conv2d, inputs: tuple[Tensor, ...], name: str = name) -> None:
                    found[f"{name}.weight"] = (inputs[0].shape[2], inputs[0].shape[3], module.groups)

                handles.append(module.register_forward_pre_hook(read))
        with undisturbed([net], "eval"), torch.no_grad():
            x = fed(batch_of(example, "operator").x[:1], net)
            with answering(x, "operator"):
                net(x)
    finally:
        for handle in handles:
            handle.remove()
    return found
