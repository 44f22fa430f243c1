"""Lines that proposed studies share, whatever their inputs: how to train, and for how long."""

import numpy as np

from transferscope.data import Listing

SGD = """\
  lr:                     # a list is searched on the validation split, so that each arm gets a fair chance
    random: [0.01, 0.02, 0.05]
    pretrained: [0.002, 0.005, 0.02]
  weight_decay: 1.0e-4
"""
ADAMW = """\
  optimizer: adamw        # the network normalises by layer norm alone, and recipes of such networks take AdamW
  lr:                     # a list is searched on the validation split, so that each arm gets a fair chance
    random: [0.0003, 0.001]
    pretrained: [0.00003, 0.0001, 0.0003]
  weight_decay: 0.05
  decay_norms: false      # nor biases
"""
OPENING = """\
# A transferscope study of {ref}, written by 'transferscope init'.
# Found: {found}
# Change anything; 'transferscope check' says whether it holds together, 'transferscope plan' what it costs.

"""
ARMS = """\
arms: [random, pretrained]
seeds: 3                  # replicates per arm; {{from: 3, to: 8}} adds one at a time until every claim is decided
head: shared              # replicas share the new head's initial values (or: per-seed)

"""
UNLESS_PICTURES = """\
split: {{val: 0.15, test: 0.2, seed: 0}}   # stratified; parts that the data brings along are kept

recipe:
  epochs: {epochs}
  batch_size: {batch}
{training}  schedule: cosine
  warmup: 1               # epochs

analyses:
  transfer: {{}}            # how much better, how much sooner
"""
TRAINING = {"sgd": SGD, "adamw": ADAMW}


def to_train_on(listing: Listing) -> int:
    """About how many examples there will be to train on, by the split that a proposed study makes."""
    if listing.splits:
        return sum(word in ("train", "") for word in listing.splits)
    return round(len(listing.names) * 0.65)


def pace(train: int) -> tuple[int, int]:
    """Epochs and batch size for so many training examples."""
    batch = 32 if train < 4000 else 64 if train < 20000 else 128
    return int(np.clip(round(30_000 / max(train, 1)), 10, 60)), batch


def quoted(text: str) -> str:
    """A text as YAML writes it whatever is in it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
