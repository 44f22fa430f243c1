"""text: texts as rows of token numbers, cut once by the tokenizer of the network or its weights.

Padding is -1, behind a text; networks of transformers get their mask from it. Training and evaluation read a text
alike; blocks of tokens inside each text are what a shuffle moves.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from transferscope.engine.step import Outside, Step, task
from transferscope.engine.task_context import Work
from transferscope.errors import UserError, legible
from transferscope.input_shape import Example
from transferscope.strict_models import Strict
from transferscope.tasks import costs
from transferscope.tasks.inputs import Asked, Fed

if TYPE_CHECKING:
    import numpy as np
    import torch

    from transferscope.data.epoch_order import Batch, Epoch
    from transferscope.data.listing import Listing
    from transferscope.data.tokens import Tokens
    from transferscope.tasks.recipe import Run

LOOKED = 200  # texts that `look` tokenises
UNAUGMENTED = True  # no run of texts is told of an augmentation, so that shuffled and usual runs are compared at once
SHOWN = 60  # characters of a text, of which `look` shows the beginning


class Options(Strict):
    """How texts are cut into tokens."""

    tokenizer: str | None = None
    """A tokenizer.json, a folder with one, a name in the hub's cache, or `package:minilm-l6`; null for the one that
    comes with the weights, else with the network."""
    max_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """Tokens that are kept of a text, the tokenizer's own among them; the rest of longer ones is cut off."""


@task("text", version=2, cost=costs.decoding)
def tokenise(
    *,
    source: Outside,
    tokenizer: Outside,
    vocabulary: int,
    max_length: int,
    val: float,
    test: float,
    split_seed: int,
    work: Work,
) -> list[dict[str, Any]]:
    """Keep the tokens of the texts of `source` in the work folder; one row per split and class with its number.

    UserError when more than 1% of the texts cannot be read, or a class has no training text.
    """
    from transferscope.data import open_listing, source_fingerprint
    from transferscope.data.tokens import build
    from transferscope.tasks.outside_files import unchanged

    build(
        open_listing(source.ref),
        work.folder,
        tokenizer=Path(tokenizer.ref),
        max_length=max_length,
        split=(val, test, split_seed),
        tell=work.go_on,
    )
    unchanged(source, source_fingerprint(source.ref, work.memo))
    unchanged(tokenizer, _fingerprint(Path(tokenizer.ref)))
    return open_table(work.folder).census()


def settled(options: Mapping[str, Any], network: str, weights: str | None, folder: Path) -> dict[str, Any]:
    """The options with the tokenizer that comes with the weights or the network, where none is said."""
    from transferscope.models.tokenizers import own_tokenizer, tokenizer_file

    said = options.get("tokenizer")
    if said is None:
        said = own_tokenizer(network, weights, folder)
    elif isinstance(said, str) and not said.startswith("package:"):
        said = str(tokenizer_file(said, folder))
    return {**options, "tokenizer": said} if said is not None else dict(options)


def table(source: Outside, asked: Asked) -> Step:
    """The step that cuts a source's texts into tokens. UserError for a source of images, and without a tokenizer."""
    from transferscope.data import open_listing
    from transferscope.data.tokens import reader
    from transferscope.models.tokenizers import tokenizer_file

    listing = open_listing(source.ref)
    if listing.holds != "texts":
        raise UserError(f"input: text: '{listing.ref}' holds {listing.holds}; remove the key, or give texts.")
    if asked.recipe.mixup > 0:
        raise UserError("recipe.mixup: it blends inputs, and tokens cannot be blended; set it to 0.")
    options = asked.options if isinstance(asked.options, Options) else Options()
    if options.tokenizer is None:
        raise UserError(
            "input: text: neither the weights nor the network bring a tokenizer; name one, input: {text: {tokenizer: "
            "FOLDER}}."
        )
    file = tokenizer_file(options.tokenizer)
    return tokenise.step(
        source=source,
        tokenizer=Outside(str(file), _fingerprint(file)),
        vocabulary=reader(file).get_vocab_size(),
        max_length=options.max_length,
        val=asked.val,
        test=asked.test,
        split_seed=asked.split_seed,
    )


def examples(params: Mapping[str, Any]) -> dict[str, Example]:
    """The same in training and in evaluation; where all texts are shorter they have fewer tokens."""
    return dict.fromkeys(("train", "eval"), Example((params["max_length"],), "int32", params["vocabulary"]))


def stored_bytes(params: Mapping[str, Any]) -> int:
    """Of one text."""
    return examples(params)["eval"].bytes


def look(listing: "Listing", params: Mapping[str, Any]) -> list[str]:
    """How long some of the texts are, how one begins, and what is odd about them. UserError for many unreadable."""
    from transferscope.data.pictures.survey import refuse_unreadable
    from transferscope.data.tokens import lengths_of, told_lengths

    count = len(listing.names)
    places = [*range(0, count, max(1, count // LOOKED))]
    lengths, failed = lengths_of(listing, Path(params["tokenizer"].ref), params["max_length"], places)
    unread = [(listing.names[place], failed[place]) for place in sorted(failed)]
    refuse_unreadable(unread, count, f"texts of '{listing.ref}'")
    if not len(lengths):
        raise UserError(f"None of {len(places)} texts looked at in '{listing.ref}' holds a token.")
    first = next(place for place in places if place not in failed)
    begins = " ".join(listing.load(first).split()).replace('"', "'")
    said = [
        told_lengths(lengths, params["max_length"]),
        f"'{listing.names[first]}' begins \"{legible(begins[:SHOWN])}{'...' if len(begins) > SHOWN else ''}\"",
    ]
    if unread:
        said.append(
            f"{len(unread)} of {len(places)} texts looked at cannot be read, such as '{unread[0][0]}' ({unread[0][1]})."
        )
    if listing.groups is None and (twice := _repeated(listing)):
        said.append(f"{twice:,} texts repeat another word for word, perhaps on both sides of the split: remove them.")
    return said


def open_table(folder: Path) -> "Tokens":
    """What `tokenise` kept."""
    from transferscope.data.tokens import open_tokens

    return open_tokens(folder)


def training(
    table: "Tokens", rows: "np.ndarray", labels: "np.ndarray", run: "Run", *, epoch: int, start: int, device: str
) -> "Epoch":
    """Every text as evaluation reads it, in another order every epoch, texts of like length in one batch (`buckets`).

    Where all of the network is trained, a batch is as long as its longest text, which changes no answer and is quicker;
    what is frozen is computed once, for texts of one length.
    """
    from transferscope.data.buckets import bucketed
    from transferscope.data.epoch_order import Epoch

    if run.mixup > 0:
        raise UserError("recipe.mixup: it blends inputs, and tokens cannot be blended; set it to 0.")
    fed = Fed(run.mean, run.std, run.shuffle, run.seed, trimmed=run.trainable == "all")

    def feed(order: "np.ndarray") -> Any:
        return lambda part: _fed(table, order[part], fed, device)

    def arrange(order: "np.ndarray") -> "np.ndarray":
        return bucketed(order, table.lengths[order], run.batch_size, seed=run.seed, epoch=epoch)

    return Epoch(rows, labels, feed, run.batch_size, run.seed, epoch, start, device, arrange=arrange)


def evaluation(
    table: "Tokens", rows: "np.ndarray", labels: "np.ndarray", fed: Fed, *, batch_size: int, device: str
) -> "Iterator[Batch]":
    """Every text, its blocks moved where the run is shuffled."""
    import torch

    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        yield _fed(table, part, fed, device), torch.from_numpy(labels[part]).to(device), part


def quickest(table: "Tokens", rows: "np.ndarray") -> "np.ndarray":
    """By length."""
    from transferscope.data.buckets import by_length

    return by_length(table.lengths[rows])


def looks(run: "Run") -> int | None:
    """1: a text is always the same."""
    return 1


def blocks(example: Example) -> list[int]:
    """The lengths of blocks that a shuffle can move: any, since the last block of a text may be shorter."""
    return [*range(1, example.shape[-1] + 1)]


def _fed(table: "Tokens", rows: "np.ndarray", fed: Fed, device: str) -> "torch.Tensor":
    import numpy as np
    import torch

    from transferscope.data.tokens import blocks_moved

    if fed.shuffle is None:
        found = table.tokens[rows]
    else:
        per_example = bool(fed.shuffle.get("per_image"))
        found = blocks_moved(table, rows, fed.shuffle["block"], seed=fed.seed, per_example=per_example)
    if fed.trimmed:
        found = found[:, : int(table.lengths[rows].max(initial=1))]
    return torch.from_numpy(np.asarray(found, dtype=np.int64)).to(device)


def _fingerprint(file: Path) -> str:
    from transferscope.data.fingerprint import file_digest

    return file_digest(str(file))


def _repeated(listing: "Listing") -> int:
    """How many texts are the same as an earlier one."""
    from transferscope.data.fingerprint import text_fingerprint

    seen: set[str] = set()
    texts = 0
    for index in range(len(listing.names)):
        try:
            seen.add(text_fingerprint([listing.load(index)]))
        except (OSError, ValueError):
            continue
        texts += 1
    return texts - len(seen)
