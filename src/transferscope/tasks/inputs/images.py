"""images: pictures as squares of red, green and blue, or of other bands, decoded once into a table.

Training crops and flips them; evaluation sees the centre. Blocks of pixels are what a shuffle moves.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.engine.step import Outside, Step, task
from transferscope.engine.task_context import Work
from transferscope.errors import UserError
from transferscope.input_shape import Example, picture
from transferscope.registry import apart
from transferscope.tasks import costs
from transferscope.tasks.inputs import Asked, Fed

if TYPE_CHECKING:
    import numpy as np

    from transferscope.data.augment import CropAndFlip
    from transferscope.data.batches import Batches, Permutation
    from transferscope.data.epoch_order import Batch
    from transferscope.data.listing import Listing
    from transferscope.data.pictures.squares import Squares
    from transferscope.tasks.augment import Augment
    from transferscope.tasks.recipe import Run


@task("ingest", version=2, neutral={"fit": "crop", "channels": 3, "depth": 8, "jpeg": None}, cost=costs.decoding)
def ingest(
    *,
    source: Outside,
    train_size: int,
    eval_size: int,
    interpolation: str,
    crop: float,
    val: float,
    test: float,
    split_seed: int,
    fit: str = "crop",
    channels: int = 3,
    depth: int | str = 8,
    jpeg: int | None = None,
    work: Work,
) -> list[dict[str, Any]]:
    """Build the image table of `source` in the work folder; one row per split and class with its number of images.

    UserError when more than 1% of the images cannot be read, or a class has no training image.
    """
    from transferscope.data import build, open_listing, source_fingerprint
    from transferscope.tasks.outside_files import unchanged

    streamed = {"auto": None, "mapped": False, "streamed": True}[work.options.get("table", "auto")]
    build(
        open_listing(source.ref),
        work.folder,
        train_size=train_size,
        eval_size=eval_size,
        interpolation=interpolation,
        crop=crop,
        val=val,
        test=test,
        split_seed=split_seed,
        fit=fit,
        jpeg=jpeg,
        cores=work.cores,
        streamed=streamed,
        tell=work.go_on,
    )
    unchanged(source, source_fingerprint(source.ref, work.memo))
    return open_table(work.folder).census()


def examples(params: Mapping[str, Any]) -> dict[str, Example]:
    """What a training and an evaluation image ("train", "eval") of the table are like, from the step's parameters."""
    from transferscope.data.pictures.depth import DTYPES

    how = params.get("channels", 3), DTYPES[params.get("depth", 8)]
    return {which: picture(params[f"{which}_size"], *how) for which in ("train", "eval")}


def stored_bytes(params: Mapping[str, Any]) -> int:
    """Of one image in the table, from the step's parameters: twice an image where evaluation sees another square."""
    from transferscope.data.pictures.render import Geometry

    sizes = (params["train_size"], params["eval_size"], params["interpolation"], params["crop"])
    how = {name: params[name] for name in ("channels", "depth", "jpeg") if name in params}
    return Geometry(*sizes, **how).image_bytes


def table(source: Outside, asked: Asked) -> Step:
    """The step that decodes a source: without augmentation at `image_size` alone, else larger for crops too."""
    from transferscope.data.target import channels_fed

    size, recipe, how = asked.image_size, asked.recipe, apart(source.ref)[1]
    usual = asked.preprocessing["interpolation"]
    kept = {"channels": channels_fed(how.get("channels")), "depth": how.get("depth", 8)}
    if recipe.table_jpeg is not None and kept != {"channels": 3, "depth": 8}:
        raise UserError(
            f"recipe.table_jpeg: JPEGs hold red, green and blue of 8 bits, and of '{source.ref}' other pixels are "
            "kept; leave it out."
        )
    return ingest.step(
        source=source,
        train_size=size if recipe.augment is None else recipe.table_size or round(1.5 * size),
        eval_size=size,
        interpolation=usual if recipe.interpolation == "auto" else recipe.interpolation,
        crop=recipe.crop,
        val=asked.val,
        test=asked.test,
        split_seed=asked.split_seed,
        fit=recipe.fit,
        **kept,
        jpeg=recipe.table_jpeg,
    )


def look(listing: "Listing", params: Mapping[str, Any]) -> list[str]:
    """What some of the images tell: one of every kind of file at least is opened and decoded."""
    from transferscope.data.pictures.blank import try_out
    from transferscope.data.pictures.survey import refuse_dark, survey, unreadable

    if listing.holds != "images":
        kind = "text" if listing.holds == "texts" else listing.holds
        raise UserError(f"'{listing.ref}' holds {listing.holds}, no pictures; write 'input: {kind}'.")
    found = survey(listing, params["fit"])
    unread = unreadable(found, listing)
    tried = try_out(listing, found, params["train_size"], params["interpolation"], params["fit"])
    refuse_dark(found)
    values = (f"{found.values}.",) if found.values else ()
    return [*values, *found.notes, *unread, *tried]


def open_table(folder: Path) -> "Squares":
    """What `ingest` wrote."""
    from transferscope.data import open_squares

    return open_squares(folder)


def training(
    table: "Squares",
    rows: "np.ndarray",
    labels: "np.ndarray",
    run: "Run",
    *,
    epoch: int,
    start: int,
    device: str,
) -> "Batches":
    """Crops of the training images, altered and mixed as the recipe lists, or where nothing is augmented the images as
    evaluation sees them.

    With `views` they are those of the first epochs, so many, by turns.
    """
    from transferscope.data.batches import Batches, Normalisation
    from transferscope.tasks.augmented import augmented

    shown = epoch if run.views is None else (epoch - 1) % run.views + 1
    then = run.augment.then if run.augment else ()
    after = augmented((*then, *(run.prepare or ())), seed=run.seed, epoch=shown)
    return Batches(
        table,
        rows,
        labels,
        size=table.size("eval"),
        batch_size=run.batch_size,
        seed=run.seed,
        epoch=epoch,
        look=shown,
        augment=crop(run.augment),
        normalisation=Normalisation(by_channel(run.mean, table.channels), by_channel(run.std, table.channels)),
        permutation=permutation(run.shuffle, table, run.seed),
        start_batch=start,
        device=device,
        alter=after.altered if after.alters else None,
        mix=partial(after.mixed, classes=len(table.classes)) if after.mixes else None,
    )


def looks(run: "Run") -> int | None:
    """1 where nothing is augmented, the number of `views` where they are counted; else every epoch is made anew."""
    return 1 if run.augment is None else None if run.augment.mixing else run.views


def evaluation(
    table: "Squares", rows: "np.ndarray", labels: "np.ndarray", fed: Fed, *, batch_size: int, device: str
) -> "Iterator[Batch]":
    """The centre of every image, normalised, shuffled where the run is."""
    from transferscope.data.batches import Normalisation, eval_batches
    from transferscope.tasks.augmented import augmented

    prepared = augmented(fed.prepare, seed=0, epoch=0).altered if fed.prepare else None
    return eval_batches(
        table,
        rows,
        batch_size,
        labels=labels,
        normalisation=Normalisation(by_channel(fed.mean, table.channels), by_channel(fed.std, table.channels)),
        permutation=permutation(fed.shuffle, table, fed.seed),
        device=device,
        alter=prepared,
    )


def blocks(example: Example) -> list[int]:
    """The sides of blocks that a shuffle can move: what divides the side of a picture."""
    from transferscope.data.shuffle import block_sizes

    return block_sizes(example.shape[-1])


def crop(augment: "Augment | None") -> "CropAndFlip | None":
    """What the recipe's augmentation does to training images."""
    from transferscope.data.augment import CropAndFlip

    if augment is None:
        return None
    return CropAndFlip(augment.scale, augment.ratio, 0.5 if augment.flip else 0.0, augment.interpolation)


def by_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """The `values` of red, green and blue for so many channels, repeated as an adapted first layer has its weights."""
    return tuple(values[channel % len(values)] for channel in range(channels))


def permutation(how: Mapping[str, Any] | None, table: "Squares", seed: int) -> "Permutation | None":
    """The fixed block permutation of a shuffled run, or a function giving every image its own."""
    from transferscope.data.shuffle import block_permutation, image_permutations

    if how is None:
        return None
    size, channels = table.size("eval"), table.channels
    if how.get("per_image"):
        return lambda rows: image_permutations(rows, size, how["block"], seed=seed, channels=channels)
    published = bool(how.get("published"))
    return block_permutation(size, how["block"], seed=seed, channels=channels, published=published)
