"""Examples of shuffled images as a strip for the report, and what chance would score on a target."""

from typing import TYPE_CHECKING, Any

from transferscope.analyses._shared import phrases
from transferscope.analyses.shuffle.results import CHANNELS
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import task
from transferscope.engine.table import ResultTable
from transferscope.engine.task_context import Work
from transferscope.measures import judged
from transferscope.section import Picture, View
from transferscope.tasks import costs

if TYPE_CHECKING:
    import polars as pl

SIDE, GAP = 96, 4  # pixels: of a picture in the strip at most, and between two


NEUTRAL = {"per_image": False, "patch": None, "published": False}


@task("shuffle_examples", version=1, cost=costs.fixed(costs.SMALL), neutral=NEUTRAL)
def examples(
    *,
    data: Artifact,
    blocks: list[int | str],
    seed: int,
    images: int,
    mean: list[float],
    std: list[float],
    per_image: bool = False,
    patch: int | None = None,
    published: bool = False,
    work: Work,
) -> list[dict[str, Any]]:
    """One row: the test metric `chance` of one answer for all images, and `luck`, how far guessing strays from it; and
    the side of the network's patches, where it has some; inputs that are no images are called `things`.

    Of images it writes ``strip.png``: a line for each of some training images, at every block size as the runs of
    `seed` see it. Of texts it writes ``words.json``: class, block and first words of each, at every block size too.
    """
    import numpy as np
    from PIL import Image

    from transferscope.atomic_files import write_json
    from transferscope.data import Squares
    from transferscope.data.batches import Normalisation, eval_batches
    from transferscope.data.shuffle import block_permutation, image_permutations
    from transferscope.data.tokens import Tokens
    from transferscope.tasks.inputs import open_table
    from transferscope.tasks.inputs.images import by_channel

    table = open_table(data.whole())
    chance, luck = judged.chance(table.labels[table.rows["test"]], len(table.classes), table.judged, table.error_scale)
    rows = table.rows["train"][: images if table.labels.ndim == 2 else None]
    if table.labels.ndim == 1:
        rows = rows[_of_every_class(table.labels[rows])[:images]]
    if isinstance(table, Tokens):
        kinds: list[dict[str, Any] | None] = [{"block": b, "seed": seed, "per_example": per_image} for b in blocks]
        said = [
            {"text": table.names[row], "block": "whole" if moved is None else str(moved["block"]), "words": words}
            for moved in [None, *kinds]
            for row, words in zip(rows, table.words(rows, moved=moved), strict=True)
        ]
        write_json(work.folder / "words.json", sorted(said, key=lambda one: one["text"]))
        return [{"chance": chance, "luck": luck, "things": "texts"}]
    if not isinstance(table, Squares):
        return [{"chance": chance, "luck": luck, "things": "inputs"}]
    columns = []
    for block in [*blocks, table.size("eval")] if len(rows) else []:
        options: dict[str, Any] = {"size": table.size("eval"), "b": block, "seed": seed, "channels": table.channels}
        moves = image_permutations(rows, **options) if per_image else block_permutation(**options, published=published)
        how = Normalisation(by_channel(mean, table.channels), by_channel(std, table.channels))
        ((x, _, _),) = eval_batches(
            table,
            rows,
            len(rows),
            labels=table.labels,
            normalisation=how,
            permutation=(lambda _, m=moves: m) if per_image else moves,
        )
        shown = x.permute(0, 2, 3, 1).double().numpy() * how.std + how.mean  # what normalisation did, undone
        shown = shown[..., [0, 1, min(2, table.channels - 1)]]
        columns.append((255 * shown).round().clip(0, 255).astype(np.uint8))
    if columns:
        size = table.size("eval")
        side = SIDE if size > SIDE else size * (SIDE // size)
        step = side + GAP
        sheet = Image.new("RGB", (len(columns) * step - GAP, len(rows) * step - GAP), "white")
        for x_place, pictures in enumerate(columns):
            for y_place, pixels in enumerate(pictures):
                tile = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
                sheet.paste(tile, (x_place * step, y_place * step))
        sheet.save(work.folder / "strip.png", "PNG", optimize=True)
    return [{"chance": chance, "luck": luck, **({"patch": patch} if patch else {})}]


def patches(rows: "pl.DataFrame") -> list[str]:
    """A note on how the blocks lie to the patches that the network cuts images into; none where it cuts none.

    `rows` are the table's: of the examples, and of the runs by block.
    """
    if "patch" not in rows.columns or rows["patch"].drop_nulls().is_empty():
        return []
    patch = int(rows["patch"].drop_nulls()[0])
    sizes = sorted({int(block) for block in rows["block"].drop_nulls().to_list() if block.isdigit()})
    kinds = {
        "keep every patch as it was and move only its place": [b for b in sizes if b % patch == 0],
        "are cut out of patches and change what is in them": [b for b in sizes if b < patch and patch % b == 0],
        "straddle patches": [b for b in sizes if b % patch and patch % b],
    }
    said = [f"blocks of {phrases.listed([*map(str, of)])} px {words}" for words, of in kinds.items() if of]
    return [f"The network cuts images into patches of {patch} px: {'; '.join(said)}."] if said else []


def _of_every_class(labels: Any) -> Any:
    """Places of images, (n,): the first of every class, then the second of every class, and so on."""
    import numpy as np

    by_class = np.argsort(labels, kind="stable")
    own = labels[by_class]
    return by_class[np.lexsort((own, np.arange(len(own)) - np.searchsorted(own, own)))]


def moved_words(table: ResultTable) -> list[View]:
    """The first words of some texts of every target, whole and with their blocks moved."""
    import json

    import polars as pl

    found = []
    for labels, artifact in table.artifacts:
        file = artifact.file("words.json")
        if labels["arm"] is None and file.exists():
            rows = pl.DataFrame(json.loads(file.read_text(encoding="utf-8")))
            caption = f"Training texts as the network reads them, seed {artifact.said['params']['seed']}."
            target = labels["target"]
            found.append(View(f"{target}-words", f"What shuffling leaves of {target}", rows, caption))
    return found


def strips(table: ResultTable) -> list[Picture]:
    """The picture of every target."""
    found = []
    for labels, artifact in table.artifacts:
        strip = artifact.file("strip.png")
        if labels["arm"] is not None or not strip.exists():
            continue
        said = artifact.said["params"]
        shown = ["all values moved" if b == CHANNELS else f"blocks of {b} px" for b in said["blocks"]]
        whose = "every image with a permutation of its own" if said["per_image"] else "one permutation for all images"
        caption = (
            "Training images, one a line, as the network sees them; from left to right: "
            f"{phrases.listed([*shown, 'whole'])}. Seed {said['seed']}, {whose}."
        )
        target = labels["target"]
        found.append(Picture(f"{target}-blocks", f"What shuffling leaves of {target}", strip.read_bytes(), caption))
    return found
