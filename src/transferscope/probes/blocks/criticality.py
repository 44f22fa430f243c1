"""Module criticality: how far, and through how narrow a valley, each block had to move from its start.

It is long because half of it says what the fields of the result and the parameters mean.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope import charts, progress
from transferscope.errors import UserError
from transferscope.models.blocks import Block
from transferscope.models.floats import given_in, precision_words, wide_state
from transferscope.models.norm import has_batch_norm
from transferscope.probes import result
from transferscope.probes.batch_norm import BatchNorm, known, statistics_words
from transferscope.probes.blocks.errors import Answers
from transferscope.probes.blocks.running_statistics import Anew
from transferscope.probes.blocks.valley import BlockGrid, points_of
from transferscope.probes.inputs.labelled import joined, portioned
from transferscope.probes.inputs.samples import unpacked
from transferscope.probes.passes.prefix import Prefix
from transferscope.probes.running import Copy, device_of, fed, precision_notes
from transferscope.probes.weights.combine import Net, opened, same_architecture

Array = NDArray[np.float64]
Search = Literal["border", "grid"]
SPAN = 100.0  # the largest noise level over the least


@dataclass(frozen=True)
class Criticality(result.Saved):
    """Criticality of B blocks on a grid of A points between start and final weights and S noise levels.

    Per block (B,): `mu` = least alpha^2 D^2 / sigma^2 over feasible cells (Chatterji et al. 2020), those that hold as
    all of less noise at their point do, infinite where even the least noise is too much; `alpha` and `sigma` of the
    cell that gives it (NaN where none does); `distance` D from start to final weights; `rms` of the block's weights
    (its tensors of two or more dimensions), the unit of `sigmas`. `alphas` (B, A) is each point's distance from the
    start over D; `sigmas` (S,) are relative, times `rms` absolute. `error` (B, A, S): mean training error under noise,
    over the part `seen` (B, A, S) in [0, 1] of all draws and samples, NaN where that is 0; a cell holds up to
    `allowed`; of cells that are clear early it is an estimate. `bare` (B, A): error without noise, NaN unless search is
    "grid". `mu_low` and `mu_high` (B,): between what mu on all training images and over all draws lies, see
    `criticality`; NaN in results saved before they were known. `final_error` is that of the final network. `batch_norm`
    says which running statistics it and every cell have; `own_error` is its error with those it came with. `notes`:
    blocks that needed full passes, and why.
    """

    mu: Array
    alpha: Array
    sigma: Array
    distance: Array
    rms: Array
    alphas: Array
    sigmas: Array
    error: Array
    seen: Array
    bare: Array
    blocks: tuple[str, ...]
    final_error: float
    allowed: float
    samples: int
    draws: int
    search: str
    path: str
    batch_norm: str
    notes: tuple[str, ...]
    precision: str = ""  # "" and NaN: of results saved before these were known
    own_error: float = float("nan")
    mu_low: Array = field(default_factory=lambda: np.empty(0))
    mu_high: Array = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        for name in ("mu_low", "mu_high"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(len(self.mu), np.nan))

    @property
    def network(self) -> float:
        """Criticality of the network: the sum over its blocks. Most of it is that of a block or two: see `largest`."""
        return float(self.mu.sum())

    @property
    def largest(self) -> tuple[str, float]:
        """The block with the largest mu, and its share of the network's (NaN where the sum is 0 or infinite)."""
        i, total = int(self.mu.argmax()), self.network
        return self.blocks[i], float(self.mu[i] / total) if 0 < total < float("inf") else float("nan")

    @property
    def sigma_relative(self) -> Array:
        """Noise of the deciding cell over the root mean square of the block's weights (B,)."""
        return self.sigma / self.rms

    @property
    def evaluations(self) -> Array:
        """What was evaluated per block (B,), in whole cells (all draws on all samples)."""
        return np.asarray(self.seen.sum((1, 2)))

    def table(self) -> pl.DataFrame:
        """One row per block: block, mu, root (of mu: the way in widths of noise), alpha, sigma, sigma_relative,
        distance, evaluations, mu_low, mu_high; mu and root are infinite and the cell null where no cell is feasible."""
        columns = (self.alpha, self.sigma, self.sigma_relative, self.distance, self.evaluations)
        names = ("alpha", "sigma", "sigma_relative", "distance", "evaluations", "mu_low", "mu_high")
        every = (*columns, self.mu_low, self.mu_high)
        found = {
            name: [float(v) if v == np.inf else result.number(v) for v in column]
            for name, column in zip(names, every, strict=True)
        }
        return pl.DataFrame(
            {"block": list(self.blocks), "mu": self.mu, "root": np.sqrt(self.mu), **found},
            schema_overrides=dict.fromkeys(names, pl.Float64),
        )

    def chart(self) -> Any:
        """Bars of the root of mu; where no cell is feasible, of the least value it can have."""
        least = np.sqrt(self.mu)
        lost = ~np.isfinite(least)
        least[lost] = (self.distance / (self.rms * self.sigmas[0]))[lost]
        names = [f"{name} (at least)" if gone else name for name, gone in zip(self.blocks, lost, strict=True)]
        rows = pl.DataFrame({"block": names, "root": least})
        title = "way from the start, in widths of the noise it bears (root of criticality)"
        return charts.bars(rows, "block", "root", value_title=title, category_title="block")

    def valley(self, block: str) -> Any:
        """Heat map of a block's training error, noise mirrored about 0 (Neyshabur et al. 2020, fig. 6).

        Raises UserError for a block that was not measured.
        """
        if block not in self.blocks:
            raise UserError(f"blocks: '{block}' was not measured; there are {', '.join(self.blocks)}.")
        i = self.blocks.index(block)
        levels = [*(-self.sigmas[::-1]), 0.0, *self.sigmas]
        cells = np.concatenate([self.error[i][:, ::-1], self.bare[i][:, None], self.error[i]], axis=1)
        rows = [
            {"way": f"{self.alphas[i, a]:.2f}", "noise": f"{levels[s]:.3g}", "error": result.number(cells[a, s])}
            for s in reversed(range(len(levels)))
            for a in range(cells.shape[0])
        ]
        table = pl.DataFrame(rows, schema={"way": pl.String, "noise": pl.String, "error": pl.Float64})
        if table["error"].drop_nulls().is_empty():
            raise UserError(f"blocks: no cell of '{block}' was evaluated; use search='grid' to see its valley.")
        return charts.heat(
            table,
            "way",
            "noise",
            "error",
            percent=True,
            x_title="share of the way from start (0) to final weights (1)",
            y_title="noise over the size of the weights",
            value_title="training error",
        )


def criticality(
    net: Net,
    start: Net,
    batches: Iterable[Any],
    *,
    blocks: str | Sequence[str] | None = None,
    alphas: int | Sequence[float] = 11,
    sigmas: int | Sequence[float] = 11,
    sigma_max: float = 1.0,
    draws: int = 10,
    tolerance: float = 0.01,
    relative: bool = False,
    path: Sequence[Mapping[str, Tensor]] | None = None,
    search: Search = "border",
    batch_norm: BatchNorm = "refresh",
    statistics: Iterable[Any] | None = None,
    precision: str = "float32",
    memory: int = 2**30,
    seed: int = 0,
    cut: Sequence[Block] | None = None,
    like: nn.Module | None = None,
) -> Criticality:
    """Criticality of every block of `net` (or those in `blocks`), which moved from `start`.

    In every cell the block's trainable parameters are (1 - alpha) start + alpha final + N(0, sigma^2), all other blocks
    final (Chatterji et al. 2020; Neyshabur et al. 2020, figs. 5 and 6). Instead of the direct way, `path` gives state
    dicts saved in training, in order; start and final are put at its ends, and a point counts by its distance from the
    start. `alphas` and `sigmas`: how many, or which; 0 and 1 are always among the alphas. Sigma is relative to the root
    mean square of the block's final weights; a number of sigmas are spaced evenly in ratio from `sigma_max` / 100 to
    `sigma_max`. The `draws` of noise are the same for all cells: of seed, block, draw and tensor name alone.

    A cell holds where the mean error over draws and samples is at most the final error + `tolerance`, or with
    `relative` at most the final error * (1 + `tolerance`) + 1 / samples, and is feasible where all cells of less noise
    at its point hold too: of few draws and samples some cell outside the valley holds by luck. `batches` are training
    batches with labels. Errors are wrong answers; those of multi-label tasks are counted per label.

    `mu_low` is the least alpha^2 D^2 / sigma^2 over cells that are not shown to exceed what is allowed, as all of less
    noise at their point are not, `mu_high` that over cells shown to hold, infinite where none is: 95% for each cell,
    with draws and images as samples of more (`measures.cell_error`). They bracket mu as the grid has it, which is known
    to a step of the grid. Of one draw nothing is shown; with few images against `tolerance` often nothing holds for
    sure. The border search spends about 30% more on them and takes cells that it did not reach as open.

    `search` "border" evaluates the cells that decide the score, each until it is clear (z = 3; between draws by how far
    the draws of the block's cells near the border differ); "grid" all of them, completely. A block that did not move
    scores 0. `batch_norm` "refresh": running statistics are estimated anew for every point, level and draw, and for the
    final error, from the batches or from the images of `statistics`, with the variance that batch norm divides by in
    training, so that on few images one pass gives both; "as found": those of the final network everywhere, so that what
    a cell loses is in part a misfit of the norms behind it. `precision` "bfloat16" can be faster, but single samples
    differ and move a score by a step of the grid; the network is run as a copy, with float32 weights where they are of
    half precision. `memory` (bytes) bounds the activations that are kept; noise takes up to half as much again. Heads
    count as blocks, from the values that `start` has for them. `net` and `start` are networks or state dicts; `like` is
    a network of the form of `net`, needed where both are state dicts: its own values do not matter. Nothing given is
    changed. Raises UserError for states of another architecture, unknown blocks, missing labels and values out of
    range.
    """
    _check(draws, tolerance, relative, search, batch_norm, sigma_max)
    levels = _levels(sigmas, sigma_max)
    steps = _steps(alphas)
    form, states = opened("criticality", {"net": net, "start": start}, like)
    given = wide_state(states["start"])
    notes, words, device = precision_notes({"net": form}), precision_words(precision, given_in(form)), device_of(form)
    twin = Copy(form, device).net
    if net is not form:
        same_architecture("criticality", twin, {"net": states["net"]})
        twin.load_state_dict(states["net"])
    net = twin
    own = {name: p.detach() for name, p in net.named_parameters()}
    refresh = batch_norm == "refresh" and has_batch_norm(net)
    prefix = Prefix(net, batches, cut, precision=precision, memory=memory // (2 if refresh else 1), seed=seed)
    chosen = (
        prefix.blocks
        if blocks is None
        else [prefix.block(b) for b in ([blocks] if isinstance(blocks, str) else blocks)]
    )
    chosen = [block for block in prefix.blocks if block in chosen and prefix.names(block)]
    if not chosen:
        raise UserError("blocks: none was asked for that has weights to move; leave 'blocks' out to measure all.")
    route = None if path is None else [given, *map(wide_state, path), own]
    ends = {"net": own, "start": given, **{f"checkpoint {i} of path": s for i, s in enumerate(path or [], 1)}}
    same_architecture("criticality", own, ends, [name for block in chosen for name in prefix.names(block)])
    answers = found = Answers(prefix)
    images, anew = "", None
    if refresh:
        x = [fed(b.x, net) for b in (prefix.batches if statistics is None else unpacked(statistics, "statistics"))]
        whole = joined(x, "statistics", device)
        of = "evaluated" if statistics is None else "given as statistics"
        images = f"on {'the ' if statistics is None else ''}{len(whole)} images {of}"
        anew = Anew(prefix, portioned(whole, device), precision, biased=True)
        answers = Answers(prefix, anew, guesses=statistics is None)
    if answers.lost:
        raise UserError(f"network: its outputs for {answers.lost} of {prefix.samples} samples are NaN or infinite.")
    total = answers.size * draws
    limit = draws * (
        answers.wrong * (1 + tolerance) + answers.size / prefix.samples
        if relative
        else answers.wrong + tolerance * answers.size
    )
    rows: list[dict[str, Any]] = []
    with (anew or prefix).open():
        for block in progress.over(chosen, "criticality of blocks"):
            names = prefix.names(block)
            grid = BlockGrid(
                answers,
                block.name,
                points_of(names, given, own, steps, route),
                levels,
                draws,
                limit,
                seed,
                memory // 4,
                1 + tolerance if relative else 1.0,
            )
            rows.append(grid.every_cell() if search == "grid" else grid.border_cells())
    stacked = {name: np.stack([np.asarray(row[name], dtype=np.float64) for row in rows]) for name in rows[0]}
    return Criticality(
        **stacked,
        sigmas=levels,
        blocks=tuple(block.name for block in chosen),
        final_error=answers.wrong / answers.size,
        allowed=limit / total,
        samples=prefix.samples,
        draws=draws,
        search=search,
        path="direct" if path is None else "optimisation",
        batch_norm=statistics_words("blocks", batch_norm, has_batch_norm(net), images),
        notes=(*notes, *found.notes, *(f"{name}: {why}" for name, why in prefix.why.items())),
        precision=words,
        own_error=found.wrong / found.size,
    )


def _check(draws: int, tolerance: float, relative: bool, search: str, batch_norm: str, sigma_max: float) -> None:
    if draws < 1:
        raise UserError(f"draws: {draws} draws of noise say nothing; give 1 or more.")
    if not (0 <= tolerance < 1) or (tolerance == 0 and not relative):
        raise UserError(f"tolerance: {tolerance:g} should lie above 0 and below 1 (0 is allowed with relative=True).")
    if search not in ("border", "grid"):
        raise UserError(f"search: '{search}' is neither 'border' nor 'grid'.")
    known("blocks", batch_norm)
    if not 0 < sigma_max < float("inf"):
        raise UserError(f"sigma_max: {sigma_max:g} should be above 0.")


def _levels(sigmas: int | Sequence[float], sigma_max: float) -> Array:
    if isinstance(sigmas, int):
        if sigmas < 1:
            raise UserError(f"sigmas: {sigmas} noise levels say nothing; give 1 or more.")
        return np.geomspace(sigma_max / SPAN, sigma_max, sigmas) if sigmas > 1 else np.array([sigma_max])
    levels = np.unique(np.asarray(list(sigmas), dtype=np.float64))
    if not len(levels) or not bool(np.isfinite(levels).all()) or levels[0] <= 0:
        raise UserError("sigmas: noise levels should be numbers above 0.")
    return levels


def _steps(alphas: int | Sequence[float]) -> Array:
    if isinstance(alphas, int):
        if alphas < 2:
            raise UserError(f"alphas: {alphas} is too few; the start and the final weights are two.")
        return np.linspace(0, 1, alphas)
    steps = np.unique(np.asarray(list(alphas), dtype=np.float64))
    if not len(steps) or not (steps[0] >= 0 and steps[-1] <= 1):
        raise UserError("alphas: points on the way should be numbers from 0 to 1.")
    return np.unique([0.0, *steps, 1.0])
