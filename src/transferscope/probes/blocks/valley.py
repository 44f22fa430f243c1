"""One block's valley on the training samples: points, noise, the error of a cell, and cells stopped when clear."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferscope.devices import exact
from transferscope.measures.cell_error import Spread, Tally, excess_interval, spread
from transferscope.measures.valley import Best, border, draws_verdict, pooled_deviation, score, verdict, within
from transferscope.models.weights import distance
from transferscope.probes.blocks.errors import Answers, NoisyCell
from transferscope.random_streams import stream

NEAR = 0.08  # cells whose error is so near what is allowed tell how far draws differ there
MORE = 0.2  # of the cells that the score takes, as many are evaluated for its interval, and what is begun ends
Array = NDArray[np.float64]
State = Mapping[str, Tensor]


class BlockGrid:
    """The grid of one block: `points` (the block's tensors from start to final), relative noise `levels` (S,)."""

    def __init__(
        self,
        answers: Answers,
        block: str,
        points: Sequence[State],
        levels: Array,
        draws: int,
        limit: float,
        seed: int,
        memory: int,
        growth: float = 1.0,
    ) -> None:
        self.answers, self.block, self.points, self.draws = answers, block, points, draws
        self.limit, self.seed, self.total = limit, seed, draws * answers.size
        final, names = points[-1], list(points[-1])
        self.reach = np.array([distance(point, points[0], names) for point in points])
        self.rms = _rms(final)
        self.sigma = levels * self.rms
        size = draws * sum(tensor.numel() * 4 for tensor in final.values())
        self._holds = size <= memory  # all draws' noise, and all draws' weights of a cell
        self._noise: dict[int, State] = {}
        self.error = np.full((len(points), len(levels)), np.nan)
        self.seen = np.zeros_like(self.error)
        self.bare = np.full(len(points), np.nan)
        self._apart: list[list[int]] = []  # errors under every draw of the cells near the border
        self._growth = growth
        self._above = limit / self.total - growth * answers.wrong / answers.size  # the excess that is allowed
        self._known: dict[tuple[int, int], bool] = {}
        self.tallies: dict[tuple[int, int], Tally] = {}
        self._spare = 0.0

    def noise(self, draw: int) -> State:
        """Standard normal noise for the block's tensors: of seed, block, draw and name alone."""
        if draw in self._noise:
            return self._noise[draw]
        made: dict[str, Tensor] = {}
        for name, like in self.points[-1].items():
            source = stream(self.seed, "criticality", self.block, draw, name)
            values = source.standard_normal(like.numel(), dtype=np.float32).reshape(tuple(like.shape))
            made[name] = torch.from_numpy(values).to(like.device)
        if self._holds:
            self._noise[draw] = made
        return made

    def under(self, row: int, column: int, draw: int) -> NoisyCell:
        """The weights of a cell under one draw, ready to run."""
        noise, sigma = self.noise(draw), float(self.sigma[column])
        state = {name: point.add(noise[name].to(point.dtype), alpha=sigma) for name, point in self.points[row].items()}
        return self.answers.cell(self.block, state)

    def cell(self, row: int, column: int) -> bool:
        """A cell in full: every draw on every sample."""
        wrong = 0
        for draw in range(self.draws):
            under = self.under(row, column, draw)
            wrong += sum(self._piece(row, column, draw, under, i)[0] for i in range(len(self.answers.before)))
        self.error[row, column], self.seen[row, column] = wrong / self.total, 1.0
        self._known[row, column] = within(wrong, self.limit)
        return self._known[row, column]

    def _piece(
        self, row: int, column: int, draw: int, under: NoisyCell, number: int, enough: float = np.inf
    ) -> tuple[int, int]:
        """Wrong answers of a cell on a batch, and those that differ from the network's own in being right; counted."""
        answers = self.answers
        wrong, before, count = answers.of(under, number, enough), answers.before[number], len(answers.known[number])
        flips = int((wrong != before).sum())
        excess = (wrong - self._growth * before).reshape(count, -1).sum(1)
        images = sum(map(len, answers.known))
        tally = self.tallies.setdefault((row, column), Tally(self.draws, images))
        tally.add(draw, answers.parts[number], excess, answers.known[number], flips)
        return int(wrong.sum()), flips

    def holds(self, row: int, column: int) -> bool:
        """A cell until it is clear."""
        known = self._by_draws(row, column) if self.answers.at_once else self._by_pieces(row, column)
        self._known[row, column] = known
        return known

    def _by_draws(self, row: int, column: int) -> bool:
        """Draw by draw, where all answers under one come at once."""
        wrong: list[int] = []
        known: bool | None = None
        while known is None:
            under = self.under(row, column, len(wrong))
            draw = len(wrong)
            wrong.append(sum(self._piece(row, column, draw, under, i)[0] for i in range(len(self.answers.before))))
            known = draws_verdict(
                wrong,
                draws=self.draws,
                size=self.answers.size,
                limit=self.limit,
                deviation=pooled_deviation(self._apart),
            )
        share = float(np.mean(wrong)) / self.answers.size
        self.error[row, column], self.seen[row, column] = share, len(wrong) / self.draws
        if abs(share - self.limit / self.total) <= NEAR:
            self._apart.append(wrong)
        return known

    def _by_pieces(self, row: int, column: int) -> bool:
        """Pieces (draw, batch) in an order that mixes both."""
        before, count = self.answers.before, len(self.answers.before)
        order = stream(self.seed, "criticality", self.block, "order").permutation(count)
        held: dict[int, NoisyCell] = {}
        rows: list[tuple[int, int, int, int]] = []
        known: bool | None = None
        for piece in range(self.draws * count):
            turn, draw = divmod(piece, self.draws)
            number = int(order[(draw + turn) % count])
            under = held.get(draw) or self.under(row, column, draw)
            if self._holds:
                held[draw] = under
            last = piece == self.draws * count - 1
            enough = np.inf if last else self.limit - sum(r[0] for r in rows)
            wrong, flips = self._piece(row, column, draw, under, number, enough)
            rows.append((wrong, int(before[number].sum()), flips, before[number].size))
            columns = list(zip(*rows, strict=True))
            known = verdict(*columns, total=self.total, at_start=self.draws * self.answers.wrong, limit=self.limit)
            if known is not None:
                break
        seen = sum(r[3] for r in rows)
        self.error[row, column] = sum(r[0] for r in rows) / seen
        self.seen[row, column] = seen / self.total
        return bool(known)

    def border_cells(self) -> dict[str, Any]:
        """The score from the cells that decide it, and its interval from some more."""
        best = border(self.reach, self.sigma, self.holds)
        self._spare = MORE * float(self.seen.sum())
        least = border(self.reach, self.sigma, self._may_hold)
        most = border(self.reach, self.sigma, self._surely_holds)
        return self._row(best, least, most)

    def _excess(self, row: int, column: int) -> tuple[float, float] | None:
        """Between what the excess of a cell lies, in full where that is needed; None where that costs too much."""
        if (row, column) not in self._known:
            if self._spare <= 0:
                return None
            self.holds(row, column)
            self._spare -= float(self.seen[row, column])
        return excess_interval(self.tallies[row, column], self._spread())

    def _spread(self) -> Spread:
        """How far draws differ near what is allowed."""
        return spread([cell for cell in self.tallies.values() if abs(cell.excess - self._above) <= NEAR])

    def _may_hold(self, row: int, column: int) -> bool:
        """Whether a cell is not shown to exceed what is allowed."""
        found = self._excess(row, column)
        return found is None or self._known[row, column] or found[0] <= self._above

    def _surely_holds(self, row: int, column: int) -> bool:
        """Whether a cell is shown to hold, by all draws: of the first ones some few agree by luck."""
        found = self._excess(row, column)
        if found is None or not self._known[row, column]:
            return False
        if self.seen[row, column] < 1 and self.answers.at_once and self._spare > 0:
            self._spare -= 1 - float(self.seen[row, column])
            for draw in range(round(self.seen[row, column] * self.draws), self.draws):
                under = self.under(row, column, draw)
                for number in range(len(self.answers.before)):
                    self._piece(row, column, draw, under, number)
            self.seen[row, column] = 1.0
            tally = self.tallies[row, column]
            self.error[row, column] = tally.excess + self._growth * self.answers.wrong / self.answers.size
            found = excess_interval(tally, self._spread())
        return (self.seen[row, column] == 1 or not self.answers.at_once) and found[1] <= self._above

    def every_cell(self) -> dict[str, Any]:
        """The score from every cell, and the error without noise at every point."""
        for row, point in enumerate(self.points):
            bare = self.answers.cell(self.block, point)
            wrong = sum(int(self.answers.of(bare, i).sum()) for i in range(len(self.answers.before)))
            self.bare[row] = wrong / self.answers.size
        found = []
        rows, columns = range(len(self.points)), range(len(self.sigma))
        for row in rows:
            for column in columns:
                self.cell(row, column)
        for holds in (lambda r, c: self._known[r, c], self._may_hold, self._surely_holds):
            good = [[holds(row, column) for column in columns] for row in rows]
            found.append(score(good, self.reach, self.sigma))
        return self._row(*found)

    def _row(self, best: Best, least: Best, most: Best) -> dict[str, Any]:
        way = self.reach[-1]
        alphas = self.reach / way if way else np.linspace(0, 1, len(self.reach))
        there = best.row >= 0
        return {
            "mu": best.mu,
            "mu_low": min(least.mu, best.mu),
            "mu_high": max(most.mu, best.mu),
            "alpha": alphas[best.row] if there else np.nan,
            "sigma": self.sigma[best.column] if there else np.nan,
            "distance": way,
            "rms": self.rms,
            "alphas": alphas,
            "error": self.error,
            "seen": self.seen,
            "bare": self.bare,
        }


def points_of(
    names: Sequence[str], start: State, final: State, steps: Array, route: Sequence[State] | None
) -> list[dict[str, Tensor]]:
    """The named tensors at every step of the straight way, or along a route, in the final tensors' type and place."""

    def part(state: State) -> dict[str, Tensor]:
        return {name: state[name].detach().to(final[name]).clone() for name in names}

    if route is not None:
        return [part(state) for state in route]
    ends = part(start), part(final)
    return [
        ends[int(step)] if step in (0, 1) else {n: torch.lerp(ends[0][n], ends[1][n], float(step)) for n in names}
        for step in steps
    ]


def _rms(state: State) -> float:
    """Root mean square of the tensors of two or more dimensions (of all where there are none); 1 where that is 0."""
    matrices = [t for t in state.values() if t.ndim > 1] or list(state.values())
    squares = sum(float(exact(t).square().sum()) for t in matrices)
    return float(np.sqrt(squares / sum(t.numel() for t in matrices))) or 1.0
