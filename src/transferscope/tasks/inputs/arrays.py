"""arrays: numbers of one shape, such as signals, spectra, feature vectors and lines of a table, kept as float32.

Training may add noise to them and cut windows out of them; blocks along the last axis are what a shuffle moves.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from transferscope.engine.step import Outside, Step, task
from transferscope.engine.task_context import Work
from transferscope.errors import UserError
from transferscope.input_shape import Example
from transferscope.strict_models import Real, Strict
from transferscope.tasks import costs
from transferscope.tasks.inputs import Asked, Fed

if TYPE_CHECKING:
    import numpy as np
    import torch

    from transferscope.data.arrays import Arrays
    from transferscope.data.epoch_order import Batch, Epoch
    from transferscope.data.listing import Listing
    from transferscope.tasks.recipe import Run


class Options(Strict):
    """How values are scaled, and what training does to them."""

    scale: Literal["standard", "none"] = "standard"
    """`standard` takes the mean of every channel over the training examples off and divides by its deviation, `none`
    leaves values as they are."""
    jitter: Annotated[Real, Field(ge=0)] = 0.0
    """Standard deviation of the noise that training adds to every scaled value."""
    crop: Annotated[Real, Field(gt=0, le=1)] = 1.0
    """Least share of the last axis that training keeps: a window, stretched back to the whole length."""


TRAINING = ("jitter", "crop")  # options that a training run is told; the others are the table's


@task("arrays", version=1, cost=costs.decoding)
def gather(
    *, source: Outside, shape: list[int], scale: str, val: float, test: float, split_seed: int, work: Work
) -> list[dict[str, Any]]:
    """Keep the arrays of `source`, all of `shape`, in the work folder; one row per split and class with its number.

    UserError names the first array that is of another shape or not finite.
    """
    from transferscope.data import open_listing, source_fingerprint
    from transferscope.data.arrays import build
    from transferscope.tasks.outside_files import unchanged

    listing = open_listing(source.ref)
    build(listing, work.folder, shape=tuple(shape), scale=scale, split=(val, test, split_seed), tell=work.go_on)
    unchanged(source, source_fingerprint(source.ref, work.memo))
    return open_table(work.folder).census()


def table(source: Outside, asked: Asked) -> Step:
    """The step that keeps a source's arrays; the first one's shape is that of all. UserError for a source of images."""
    from transferscope.data import open_listing

    listing = open_listing(source.ref)
    if listing.holds != "arrays":
        raise UserError(f"input: arrays: '{listing.ref}' holds {listing.holds}; remove the key, or give arrays.")
    shape = [int(side) for side in listing.load(0).shape]
    if not 1 <= len(shape) <= 3 or 0 in shape:
        raise UserError(
            f"'{listing.ref}' has arrays of shape {shape}; one example is (values,), (channels, "
            "places) or (channels, rows, columns)."
        )
    options = asked.options if isinstance(asked.options, Options) else Options()
    return gather.step(
        source=source, shape=shape, scale=options.scale, val=asked.val, test=asked.test, split_seed=asked.split_seed
    )


def examples(params: Mapping[str, Any]) -> dict[str, Example]:
    """The same in training and in evaluation."""
    return dict.fromkeys(("train", "eval"), Example(tuple(params["shape"]), "float32"))


def stored_bytes(params: Mapping[str, Any]) -> int:
    """Of one array."""
    return examples(params)["eval"].bytes


def look(listing: "Listing", params: Mapping[str, Any]) -> list[str]:
    """Some of the arrays, which must be finite and of one shape; and what is odd about their values."""
    import numpy as np

    from transferscope.data.arrays import sound

    places = sorted({*range(0, len(listing.names), max(1, len(listing.names) // 100))})
    seen = np.stack([sound(listing, index, tuple(params["shape"])) for index in places])
    low, high = float(seen.min()), float(seen.max())
    if low == high:
        raise UserError(f"All of {len(places)} arrays looked at in '{listing.ref}' hold nothing but {low:g}.")
    said = [f"arrays of {' x '.join(map(str, params['shape']))} values, from {low:.4g} to {high:.4g}"]
    if params["scale"] == "none" and max(abs(low), abs(high)) > 100:
        said.append("values are far from 0 and are fed as they are: consider scale: standard")
    return said


def open_table(folder: Path) -> "Arrays":
    """What `gather` kept."""
    from transferscope.data.arrays import open_arrays

    return open_arrays(folder)


def training(
    table: "Arrays", rows: "np.ndarray", labels: "np.ndarray", run: "Run", *, epoch: int, start: int, device: str
) -> "Epoch":
    """Every array altered as its row and the epoch say, then shuffled where the run is."""
    from transferscope.data.arrays import Altered
    from transferscope.data.epoch_order import Epoch

    fed = Fed(run.mean, run.std, run.shuffle, run.seed)
    altered = Altered(**(run.input or {}))
    seeds = {"seed": run.seed, "epoch": epoch}

    def feed(order: "np.ndarray") -> Any:
        return lambda part: _fed(table, order[part], fed, device, altered, seeds)

    return Epoch(rows, labels, feed, run.batch_size, run.seed, epoch, start, device)


def evaluation(
    table: "Arrays", rows: "np.ndarray", labels: "np.ndarray", fed: Fed, *, batch_size: int, device: str
) -> "Iterator[Batch]":
    """Every array scaled, and shuffled where the run is."""
    import torch

    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        yield _fed(table, part, fed, device), torch.from_numpy(labels[part]).to(device), part


def looks(run: "Run") -> int | None:
    """1 where training alters nothing; else every epoch does so anew."""
    return None if run.input else 1


def blocks(example: Example) -> list[int]:
    """The sides of blocks that a shuffle can move: what divides the last axis."""
    from transferscope.data.shuffle import block_sizes

    return block_sizes(example.shape[-1])


def _fed(
    table: "Arrays",
    rows: "np.ndarray",
    fed: Fed,
    device: str,
    altered: Any = None,
    seeds: Mapping[str, int] | None = None,
) -> "torch.Tensor":
    import numpy as np
    import torch

    from transferscope.data.arrays import Altered, moved, scaled

    values = scaled(table, rows)
    if altered is not None and altered != Altered():
        values = np.stack([altered(one, int(row), **(seeds or {})) for one, row in zip(values, rows, strict=True)])
    if fed.shuffle is not None:
        per_example = bool(fed.shuffle.get("per_image"))
        values = moved(values, rows, fed.shuffle["block"], seed=fed.seed, per_example=per_example)
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)
