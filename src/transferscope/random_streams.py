"""Named random streams: every draw of the project is a pure function of a seed and a list of names."""

import hashlib
import json

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """A 64-bit integer that depends on `seed` and every name, in order; the same on every machine."""
    text = json.dumps([seed, *names], separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The generator of one named stream, e.g. ``stream(seed, "augment", epoch)``."""
    return np.random.Generator(np.random.Philox(key=stream_seed(seed, *names)))
