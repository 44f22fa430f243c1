"""cifar10:ROOT, the 60,000 pictures of CIFAR-10 in 32 x 32 pixels and ten classes, in the files of the Python version.

ROOT holds the unpacked folder `cifar-10-batches-py`. Its files are pickles, which are read without running them.
"""

from pathlib import Path

from transferscope.data import cifar
from transferscope.data.cifar import Published
from transferscope.data.listing import Listing
from transferscope.data.paths import from_folder

KIND = Published(
    scheme="cifar10",
    folder="cifar-10-batches-py",
    parts={"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
    labels="labels",
    meta="batches.meta",
    names="label_names",
)

absolute = from_folder


def check(rest: str) -> None:
    """A UserError unless ROOT holds the folder of the set."""
    cifar.place(KIND, rest)


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of all files of the set."""
    return cifar.fingerprint(KIND, rest, memo)


def listing(rest: str) -> Listing:
    """The images, named `train/00000`, ..., in the set's own splits."""
    return cifar.listing(KIND, rest)
