"""A first study of arrays never seen before: what a file of them holds, and a commented YAML file for it."""

from pathlib import Path

import numpy as np

from transferscope import data
from transferscope.answers import Task, counted
from transferscope.data.phrases import listed
from transferscope.data.sources import parquet
from transferscope.errors import UserError
from transferscope.propose import tables, tasks
from transferscope.propose.lines import ARMS, OPENING, TRAINING, UNLESS_PICTURES, pace, quoted, to_train_on
from transferscope.propose.networks import suited
from transferscope.tasks.inputs import arrays

SOURCES = ("hdf5", "npz", "parquet")  # whose files hold nothing else
TEMPLATE = (
    OPENING
    + """\
input: {{arrays: {{jitter: 0.0, crop: 1.0}}}}   # noise and windows that training sees
targets:
  {target}:{how}

network: {network}
pretrained: {weights}

"""
    + ARMS
    + UNLESS_PICTURES
    + """\
  shuffle: {{}}             # the order of values, or their statistics?
  mistakes: {{}}            # do replicas fail on the same examples?
  similarity: {{}}          # do they compute the same features (CKA)?
  distance: {{}}            # how far did the weights move?
"""
)


def propose(
    ref: str, target: str, beside: Path, network: str | None, weights: str | None, task: Task | None = None
) -> tuple[str, str]:
    """The text of a study called `target` of the arrays of `ref`, to be saved in `beside`, and what was found.

    UserError without a network, which nobody can guess for arrays, or where the file cannot be used.
    """
    absolute = data.absolute(ref, beside.absolute())
    scheme, _, rest = absolute.partition(":")
    columns = parquet.proposed(rest) if scheme == "parquet" else None
    how_read, listing, of_task = tasks.opened(data.Target(ref=ref, columns=columns, task=task), beside)
    first = np.asarray(listing.load(0))
    shape, count = first.shape, len(listing.names)
    said = arrays.look(listing, {"shape": list(shape), "scale": "standard"})
    if network is None:
        raise UserError(
            f"'{ref}' holds arrays of {' x '.join(map(str, shape))} values; say which network takes them: --network "
            "package.module:factory --weights file:PATH."
        )
    how = suited(network, weights, 0, beside)
    found = f"{count:,} {said[0]}, {counted(len(listing.classes), listing.kind)}"
    epochs, batch = pace(to_train_on(listing))
    text = TEMPLATE.format(
        ref=quoted(ref),
        how=tables.written(how_read),
        found=found,
        target=target,
        network=how.network,
        weights=how.weights,
        epochs=epochs,
        batch=batch,
        training=TRAINING[how.optimizer],
    )
    taken = [f"Columns taken for an example: {listed(columns.values or ())}; look them over."] if columns else []
    return text, "\n".join([f"Found {found}.", *taken, *said[1:], *listing.notes, *of_task])
