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
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
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
