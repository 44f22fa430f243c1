"""ingest: decode every image of a target once, into a memory-mapped table that all workers share."""

from collections.abc import Mapping
from typing import Any

from transferscope.engine.step import Outside, task
from transferscope.engine.work import Interrupted, Work
from transferscope.shape import Example, picture
from transferscope.tasks import costs


@task("ingest", version=2, cost=costs.decoding)
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
    work: Work,
) -> list[dict[str, Any]]:
    """Build the image table of `source` in the work folder; one row per split and class with its number of images.

    UserError when more than 1% of the images cannot be read, or a class has no training image.
    """

    def tell(**said: Any) -> None:
        if work.stopping():
            raise Interrupted
        work.tell(**said)

    from transferscope.data import open_listing
    from transferscope.data.table import build, open_table

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
        cores=work.cores,
        streamed=streamed,
        tell=tell,
    )
    return open_table(work.folder).census()


def examples(params: Mapping[str, Any]) -> dict[str, Example]:
    """What a training and an evaluation image ("train", "eval") of the table are like, from the step's parameters."""
    return {which: picture(params[f"{which}_size"]) for which in ("train", "eval")}


def stored_bytes(params: Mapping[str, Any]) -> int:
    """Of one image in the table, from the step's parameters: twice an image where evaluation sees another square."""
    from transferscope.data.pictures.render import Geometry

    return Geometry(params["train_size"], params["eval_size"], params["interpolation"], params["crop"]).image_bytes
