"""cifar100:ROOT, the 60,000 pictures of CIFAR-100 in 32 x 32 pixels and its hundred fine classes, as published.

ROOT holds the unpacked folder `cifar-100-python`. Its files are pickles, which are read without running them.
"""

from pathlib import Path

from transferscope.data import cifar
from transferscope.data.cifar import Published
from transferscope.data.listing import Listing
from transferscope.data.paths import from_folder

KIND = Published(
    scheme="cifar100",
    folder="cifar-100-python",
    parts={"train": ("train",), "test": ("test",)},
    labels="fine_labels",
    meta="meta",
    names="fine_label_names",
    md5={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
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
