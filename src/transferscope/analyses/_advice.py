"""What to do with each block: safe to freeze or to reset, or critical, as tables and as code to paste."""

from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

from transferscope.analyses import _blocks, _pairs
from transferscope.measures.intervals import ENOUGH_SEEDS, Interval, mean_interval
from transferscope.section import View

Advice = Literal["safe", "seems safe", "seems critical", "critical"]
HIGH = 0.3  # log10(1 + 1): a way as long as the noise is wide
STEADY = "Keep the batch norms of frozen modules in eval mode while you train: their statistics would go on moving."


def advice(loss: Interval, threshold: float) -> Advice:
    """Safe where the whole interval lies at or below the threshold, critical where it lies above; a matter of
    appearance ("seems") where it does not, or with fewer than 6 seeds."""
    sure = loss.n >= ENOUGH_SEEDS and loss.low is not None and loss.high is not None
    if loss.mean <= threshold:
        return "safe" if sure and loss.high is not None and loss.high <= threshold else "seems safe"
    return "critical" if sure and loss.low is not None and loss.low > threshold else "seems critical"


def by_loss(target: str, alone: pl.DataFrame, threshold: float) -> View:
    """Every block with what its rewinding alone costs each arm, and what follows."""
    found: dict[str, dict[str, Any]] = {name: {"block": name} for name in _blocks.order(alone)}
    sizes = dict(zip(alone["block"], alone["size"], strict=True))
    columns: dict[str, Any] = {"block": pl.String, "weights": pl.Int64}
    for (arm,), of in alone.group_by("arm", maintain_order=True):
        word = "freeze" if arm == "P-T" else "reset"
        for name, loss in _blocks.intervals(of, "drop").items():
            kind = advice(loss, threshold)
            found[name] |= {
                f"{arm} loses": _pairs.moved(loss, 100).text(1),
                f"{arm}: what to do": f"{kind} to {word}" if "safe" in kind else kind,
            }
        columns |= {f"{arm} loses": pl.String, f"{arm}: what to do": pl.String}
    rows = pl.DataFrame([{"weights": sizes[name], **row} for name, row in found.items()], schema=columns)
    caption = (
        f"Loss in {_pairs.unit(alone['metric'][0])} when the block alone goes back to its start; harmless up to "
        f"{100 * threshold:.1f}. 'Seems': the interval over seeds, or their number, does not settle it."
    )
    return View(f"{target}-advice", f"What to do with each block on {target}", rows, caption)


def frozen(target: str, alone: pl.DataFrame, bottom: pl.DataFrame, threshold: float) -> list[View]:
    """Ready-to-paste code that freezes what the pretrained arm can leave at its start, given its blocks rewound alone
    and together from the bottom; nothing where that is none. The last block, the head, is never among them."""
    modules = dict(zip(alone["block"], alone["modules"], strict=True))
    losses = _blocks.intervals(bottom, "drop")  # none where a network has no score in any seed
    kinds = [advice(losses[name], threshold) if name in losses else "critical" for name in _blocks.order(bottom)]
    sure, seeming = run([kind == "safe" for kind in kinds]), run(["safe" in kind for kind in kinds])
    if not (count := min(sure or seeming, alone["block"].n_unique() - 1)):
        return []
    names = [module for block in _blocks.order(alone)[:count] for module in modules[block].split(", ")]
    said = "is surely harmless" if sure else "seems harmless, which more seeds would settle"
    caption = (
        f"Rewinding the lowest {count} blocks of P-T together {said}. {STEADY} Whether training with them frozen ends "
        "as well is another experiment: the analysis `tuning`."
    )
    lines = pl.DataFrame({"python": freezing(names)})
    return [View(f"{target}-freeze", f"What may stay frozen on {target}", lines, caption)]


def run(fine: list[bool]) -> int:
    """The place of the last True: what is harmless with more blocks is harmless with fewer, up to noise."""
    return max((i + 1 for i, good in enumerate(fine) if good), default=0)


def freezing(modules: Sequence[str]) -> list[str]:
    """Lines of Python that freeze these modules (or parameters) of a network called `net`."""
    names = ", ".join(f'"{name}."' for name in modules)
    return [
        f"frozen = ({names},)",
        'for name, p in net.named_parameters(): p.requires_grad_(not (name + ".").startswith(frozen))',
    ]


def by_criticality(target: str, scores: pl.DataFrame) -> View:
    """Every block with its criticality in each arm, the noise it bears, and what follows."""
    found: dict[str, dict[str, Any]] = {name: {"block": name} for name in _blocks.order(scores)}
    columns: dict[str, Any] = {"block": pl.String}
    for (arm,), of in scores.group_by("arm", maintain_order=True):
        for (block,), rows in of.drop_nulls("value").group_by("block", maintain_order=True):
            noise = rows["sigma_relative"].drop_nulls()
            found[str(block)] |= {
                f"{arm}: criticality": mean_interval(rows["value"].to_numpy()).text(2),
                f"{arm}: noise it bears": f"{_pairs.average(noise):.0%}" if len(noise) else "under the least",
                f"{arm}: what to do": _still(str(arm), rows),
            }
        columns |= dict.fromkeys([f"{arm}: {w}" for w in ("criticality", "noise it bears", "what to do")], pl.String)
    caption = (
        "Criticality as log10(1 + mu per weight). Noise: its standard deviation over the size of the weights, where "
        "the criticality is reached. Safe: the block works at its start in every seed. Critical: its way is longer "
        f"than the noise it bears is wide. 'Seems': fewer than {ENOUGH_SEEDS} seeds, or seeds that disagree."
    )
    table = pl.DataFrame(list(found.values()), schema=columns)
    return View(f"{target}-advice", f"What to do with each block on {target}", table, caption)


def _still(arm: str, rows: pl.DataFrame) -> str:
    """From the share of seeds in which the block works at its start, and whether its way outdoes its noise."""
    word = "freeze" if arm == "P-T" else "reset"
    still, far = rows["mu"] == 0, rows["value"] > HIGH
    seems = "" if rows.height >= ENOUGH_SEEDS and (still.all() or far.all()) else "seems "
    if still.mean() == 1 or (still.any() and not far.any()):
        return f"{seems}safe to {word}"
    if far.mean() > 0.5:  # type: ignore[operator]
        return f"{seems}critical"
    return "in between"
