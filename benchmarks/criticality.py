"""Module criticality of every block, one thread: ours against naive full passes over the same grid.

Run `python benchmarks/criticality.py` (about an hour, most of it for the exhaustive grids; `--images 300 --width 0.25
--steps 60 --alphas 6 --sigmas 5 --draws 3 --repeats 1 --no-grid` for a look).
A ResNet-18 of timm at 64 px learns to tell made-up images apart, from random values ("scratch") and once more from what
came of it, on other classes ("fine-tuned"); the start of each run is the start of its criticality. Naive is what the
published procedure does: for every block, alpha, sigma and draw put the weights together, load them, and run a full
float32 pass over all images, which are in memory in batches. Its cost for the grid is extrapolated from `--sample`
cells of every block. Ours computes in bfloat16 where the processor has it, else in float32, for which the bar of all
together is not meant. Bars: prefix reuse alone 2x per pass (float32), 6x per cell with all that precision "bfloat16"
does, 100x for the score of every block; and the same mu as the exhaustive grid for 95% of the blocks, one grid step
for the rest. The exhaustive grid comes from our own cells; the sample says how far they are from naive ones.
Printed are medians over repeats and their range; seconds are of the processor.

`--study transferscope-quickstart/study.yaml` takes the trained networks of a finished study instead (`--runs 3`: the
first three, arms in turn), with its own images and its grid of criticality, and prints for each the seconds of the
score of every block and of the exhaustive grid in the same precision, and how far the scores are apart.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn

from machine import natural, say
from transferscope import analyses
from transferscope.engine.store import Store
from transferscope.models.blocks import blocks, parameters_of
from transferscope.models.norm import refresh_batch_norm
from transferscope.probes.blocks.criticality import Criticality, criticality
from transferscope.probes.passes.prefix import Prefix
from transferscope.random_streams import stream
from transferscope.study import Study
from transferscope.tasks import restore

CLASSES, SIZE, TOLERANCE = 9, 64, 0.01
Batches = list[tuple[Tensor, Tensor]]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A trained network, the state it started from, and its training images."""

    word: str
    net: nn.Module
    start: State
    data: Batches


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy gratings: classes are pairs of orientation and colour; `seed` also turns them."""
    rng = stream(seed, "images")
    y = np.arange(count) % CLASSES
    turn, grid = 0.4 * seed + np.pi * (y % 3) / 3, np.linspace(-1, 1, SIZE)
    frequency = 8 + 4 * rng.random(count)
    along = np.cos(turn)[:, None, None] * grid[None, :, None] + np.sin(turn)[:, None, None] * grid[None, None, :]
    wave = np.sin(frequency[:, None, None] * along + 6.3 * rng.random(count)[:, None, None])
    x = rng.normal(0, 1.0, (count, 3, SIZE, SIZE))
    x[np.arange(count), y // 3] += 0.9 * wave
    order = rng.permutation(count)
    return torch.from_numpy(x[order]).float(), torch.from_numpy(y[order])


def train(net: nn.Module, x: Tensor, y: Tensor, steps: int, rate: float) -> None:
    optimiser = torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    net.train()
    for _ in range(steps):
        rows = torch.randint(len(x), (32,), generator=generator)
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    refresh_batch_norm(net, x.split(100))
    net.eval()


def cases(given: argparse.Namespace) -> list[Case]:
    channels = tuple(int(c * given.width) for c in (64, 128, 256, 512))
    torch.manual_seed(0)
    net = timm.create_model("resnet18", num_classes=CLASSES, channels=channels, stem_width=channels[0])
    found = []
    for word, seed, steps, rate in (
        ("scratch", 0, given.steps, 0.05),
        ("fine-tuned", 1, given.steps // 2, 0.005),
    ):
        x, y = images(given.images, seed)
        start = copy.deepcopy(net.state_dict())
        train(net, x, y, steps, rate)
        data = list(zip(x.split(given.batch), y.split(given.batch), strict=True))
        found.append(Case(word, copy.deepcopy(net), start, data))
    return found


def naive_cell(
    case: Case, net: nn.Module, names: Sequence[str], block: str, alpha: float, sigma: float, draws: int
) -> int:
    """Wrong answers over all draws and images: new weights and full passes for every draw."""
    wrong, final = 0, case.net.state_dict()
    for draw in range(draws):
        state = dict(final)
        for name in names:
            noise = stream(0, "criticality", block, draw, name).standard_normal(final[name].numel(), dtype=np.float32)
            middle = (1 - alpha) * case.start[name] + alpha * final[name]
            state[name] = middle + sigma * torch.from_numpy(noise).view(final[name].shape)
        net.load_state_dict(state)
        with torch.no_grad():
            wrong += sum(int((net(x).argmax(1) != y).sum()) for x, y in case.data)
    return wrong


def naive(case: Case, grid: Criticality, given: argparse.Namespace) -> tuple[float, float]:
    """(processor seconds for one cell, mean over the sample; largest difference of its errors from the grid's)."""
    net, cut = copy.deepcopy(case.net).eval(), {block.name: block for block in blocks(case.net)}
    trained = [name for name, _ in net.named_parameters()]
    rng, gaps, seconds = stream(0, "sample"), [0.0], []
    for b, name in enumerate(grid.blocks):
        for _ in range(given.sample):
            a, s = int(rng.integers(given.alphas)), int(rng.integers(given.sigmas))
            sigma = float(grid.sigmas[s] * grid.rms[b])
            began = time.process_time()
            names = parameters_of(cut[name], trained)
            wrong = naive_cell(case, net, names, name, float(grid.alphas[b, a]), sigma, given.draws)
            seconds.append(time.process_time() - began)
            if not np.isnan(grid.error[b, a, s]):
                gaps.append(abs(wrong / given.draws / given.images - float(grid.error[b, a, s])))
    return statistics.mean(seconds), max(gaps)


def ours(case: Case, given: argparse.Namespace, **options: object) -> tuple[float, Criticality]:
    began = time.process_time()
    found = criticality(
        case.net,
        case.start,
        case.data,
        alphas=given.alphas,
        sigmas=given.sigmas,
        draws=given.draws,
        tolerance=TOLERANCE,
        batch_norm="as found",  # as the naive cells have it
        **options,  # type: ignore[arg-type]
    )
    return time.process_time() - began, found


def steps_apart(a: Criticality, b: Criticality) -> np.ndarray:
    """Grid steps between two results' scores, per block: of noise; of the way where one is 0 or noise is the same."""
    step = np.log(a.sigmas[1] / a.sigmas[0]) if len(a.sigmas) > 1 else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.abs(np.log(a.mu / b.mu)) / 2 / step
    way = np.abs(np.nan_to_num(a.alpha) - np.nan_to_num(b.alpha)) * (a.alphas.shape[1] - 1)
    free = (a.mu == 0) | (b.mu == 0) | (a.sigma == b.sigma)
    return np.where(a.mu == b.mu, 0.0, np.fmin(noise, np.where(free, way, np.inf)))


def reuse(case: Case) -> float:
    """How many times cheaper passes that start at their block are, one variant of every block, float32."""
    prefix, seconds = Prefix(case.net, case.data), [0.0, 0.0]
    for block in prefix.blocks:
        own = case.net.state_dict()
        state = {name: own[name] * 1.01 for name in prefix.names(block)}
        prefix.logits(block, state)  # keeps what can be kept
        for place, where in enumerate((None, block)):
            began = time.process_time()
            prefix.logits(where, state)
            seconds[place] += time.process_time() - began
    return seconds[0] / seconds[1]


def cells(case: Case, given: argparse.Namespace, precision: str) -> float:
    """Processor seconds for one cell of ours, mean over all blocks, the making of the prefixes among them."""
    few = argparse.Namespace(**{**vars(given), "alphas": 2, "sigmas": 3})
    seconds, found = ours(case, few, search="grid", precision=precision)
    bare = found.mu.size * 2 / given.draws  # the points without noise, one pass each
    return seconds / (found.evaluations.sum() + bare)


def on_study(given: argparse.Namespace) -> None:
    """The scores of a finished study's networks from few cells, beside those of the exhaustive grid."""
    study = Study.load(given.study)
    store, options = Store(given.study.parent / "store"), analyses.chosen(study)["criticality"].options
    every = [(target, arm, seed) for target in study.targets for seed in study.seeds for arm in study.arms]
    for target, arm, seed in every[: given.runs]:
        run, data = store.get(study.run(target, arm, seed)), store.get(study.data(target))
        net, start = restore.network(run, data, "final"), restore.weights(run, "start")
        batches = list(restore.batches(run, data, "train", images=given.images))
        found, seconds = {}, {}
        for search in ("border", *(() if given.no_grid else ("grid",))):
            began = time.process_time()
            found[search] = criticality(
                net,
                start,
                batches,
                alphas=options.alphas,
                sigmas=options.sigmas,
                draws=options.draws,
                tolerance=options.tolerance,
                search=search,  # type: ignore[arg-type]
                seed=seed,
            )
            seconds[search] = time.process_time() - began
        few = found["border"]
        size = f"{few.alphas.shape[1]} alphas x {len(few.sigmas)} sigmas x {few.draws} draws"
        print(
            f"{target}, {arm}, seed {seed}: {few.samples} images, {len(few.blocks)} blocks x {size}: "
            f"{seconds['border']:.1f} s, {few.evaluations.sum() * few.draws:.0f} passes",
            flush=True,
        )
        if given.no_grid:
            continue
        apart = steps_apart(few, found["grid"])
        same, near = int((apart == 0).sum()), int((apart <= 1 + 1e-9).sum())
        print(
            f"  exhaustive {seconds['grid']:.1f} s; the same mu {same} of {len(apart)}, within a grid step {near}",
            flush=True,
        )
        for name, own, whole, gap in zip(few.blocks, few.mu, found["grid"].mu, apart, strict=True):
            if gap > 0:
                print(f"    {name:14} mu {own:.4g}, exhaustive {whole:.4g}: {gap:.2f} steps", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--alphas", type=int, default=11)
    parser.add_argument("--sigmas", type=int, default=9)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--sample", type=int, default=1, help="naive cells timed per block")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--grid-precision", default=natural(), choices=("float32", "bfloat16"))
    parser.add_argument("--no-grid", action="store_true", help="spare the exhaustive grid, and so the agreement")
    parser.add_argument("--study", type=Path, help="a finished study with criticality, in place of made-up cases")
    parser.add_argument("--runs", type=int, default=3, help="how many networks of the study")
    parser.add_argument("--cases", nargs="*", default=["scratch", "fine-tuned"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.study:
        say("float32")
        on_study(given)
        return
    say(natural())
    for case in cases(given):
        if case.word not in given.cases:
            continue
        search = "border" if given.no_grid else "grid"
        whole = ours(case, given, search=search, precision=given.grid_precision)[1]
        size = whole.alphas.shape[1] * len(whole.sigmas) * len(whole.blocks)
        print(
            f"{case.word}: {given.images} images, width {given.width:g}, {len(whole.blocks)} blocks x {given.alphas} "
            f"alphas x {given.sigmas} sigmas x {given.draws} draws = {size * given.draws} passes, training error "
            f"{whole.final_error:.3f}, {given.repeats} repeats",
            flush=True,
        )
        found: dict[str, list[float]] = {}
        for _ in range(given.repeats):
            plain, gap = naive(case, whole, given)
            exact, quick = cells(case, given, "float32"), cells(case, given, natural())
            alone = reuse(case)
            seconds, border = ours(case, given, precision=natural())
            apart = steps_apart(border, whole)
            for word, value in (
                ("naive, s a cell", plain),
                ("prefix reuse alone, x per pass (bar 2)", alone),
                ("our float32 cells, noise kept as well, x per cell", plain / exact),
                ("all together, x per cell (bar 6)", plain / quick),
                ("score of every block, s", seconds),
                ("score of every block, x naive grid (bar 100)", plain * size / seconds),
                ("cells evaluated a block", float(border.evaluations.mean())),
                ("largest gap of an error from naive", gap),
                (
                    "share of blocks with the grid's mu (bar 0.95)",
                    float("nan") if given.no_grid else (apart == 0).mean(),
                ),
                ("grid steps of the others at most (bar 1)", float("nan") if given.no_grid else apart.max()),
            ):
                found.setdefault(word, []).append(float(value))
        for word, values in found.items():
            spread = f"({min(values):.4g} to {max(values):.4g})"
            print(f"  {word:50}{statistics.median(values):10.4g} {spread}", flush=True)
        frame = whole.table().select("block", "mu", "alpha", "sigma_relative")
        for (name, mu, alpha, level), own in zip(frame.rows(), border.mu, strict=True):
            print(f"    {name:12} mu {mu:12.4g} (alpha {alpha}, sigma {level} x rms)   border {own:12.4g}")


if __name__ == "__main__":
    main()
