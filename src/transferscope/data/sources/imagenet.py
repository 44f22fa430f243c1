"""imagenet:ROOT, the 1,000 classes of ILSVRC 2012 as unpacked: `train/CLASS/IMAGE`, and 50,000 images in `val`.

The validation images, which have the part of test here, lie in class folders, or flat as the archive has them; then the
labels come from `ILSVRC2012_devkit_t12` in ROOT (`meta.mat` and the ground truth of `data`). Classes are WordNet ids in
alphabetical order, as torchvision and timm number them, so that pretrained heads fit.
"""

from collections.abc import Iterator
from pathlib import Path

from transferscope import extras
from transferscope.data import published
from transferscope.data.folders.files import Files
from transferscope.data.listing import Listing
from transferscope.data.paths import from_folder
from transferscope.data.pictures.decode import ImageFiles
from transferscope.errors import UserError

ENDINGS = (".jpeg", ".jpg", ".png")
DEVKIT = Path("ILSVRC2012_devkit_t12") / "data"
TRUTH = DEVKIT / "ILSVRC2012_validation_ground_truth.txt"
META = DEVKIT / "meta.mat"
FLAT = "ILSVRC2012_val_{:08d}"
WRITE = "imagenet:ROOT"

absolute = from_folder


def check(rest: str) -> None:
    """A UserError unless ROOT has `train` and `val`, and labels for `val`."""
    root = _root(rest)
    if not _folders(root / "val"):
        _devkit(root)


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of every image's path and bytes, and of its class and split."""
    return _files(rest).fingerprint(memo)


def listing(rest: str) -> Listing:
    """The images, named by their paths; those of `val` are the test split."""
    images = _files(rest)
    trained = images.trained
    for path, name, _ in images.entries:
        if name not in trained:
            train = images.root / "train"
            raise UserError(f"'{images.root / path}' is of the class '{name}', which has no image in '{train}'.")
    return images.listing(ImageFiles, licence="the terms of ImageNet (Russakovsky et al. 2015)")


def _files(rest: str) -> Files:
    root = _root(rest)
    images = tuple(sorted(_images(root)))
    if not any(split == "test" for *_, split in images):
        raise UserError(
            f"'{root / 'val'}' holds no image, neither in class folders nor flat; unpack its archive there."
        )
    return Files(root, images)


def _root(rest: str) -> Path:
    root, size = published.place("imagenet", rest, WRITE)
    if size is not None:
        raise UserError(f"'imagenet:{rest}': no study drew a part of it; write {WRITE}.")
    for part in ("train", "val"):
        if not (root / part).is_dir():
            raise UserError(f"'imagenet:{rest}': there is no folder '{root / part}'; unpack the archives there.")
    if not _folders(root / "train"):
        raise UserError(
            f"'imagenet:{rest}': '{root / 'train'}' has no class folders; unpack the archive of each class."
        )
    return root


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _pictures(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in ENDINGS)


def _images(root: Path) -> Iterator[tuple[str, str, str]]:
    """(path, class, split) of every image."""
    for part, split in (("train", "train"), ("val", "test")):
        for folder in _folders(root / part):
            for image in _pictures(folder):
                yield f"{part}/{folder.name}/{image.name}", folder.name, split
    flat = _pictures(root / "val")
    if not flat:
        return
    if _folders(root / "val"):
        raise UserError(
            f"'{root / 'val'}' holds class folders and images beside them ('{flat[0].name}'); sort them in."
        )
    truth = _devkit(root)
    if len(truth) != len(flat):
        raise UserError(
            f"'{root / 'val'}' holds {len(flat):,} images, but '{root / TRUTH}' {len(truth):,} labels; unpack both "
            "archives anew."
        )
    named = {image.stem: image for image in flat}
    for number, name in enumerate(truth, 1):  # an image belongs to its label by its number, not by its place
        stem = FLAT.format(number)
        if stem not in named:
            raise UserError(f"'{root / 'val'}' has no {stem}.JPEG; unpack the archive anew.")
        yield f"val/{named[stem].name}", name, "test"


def _devkit(root: Path) -> list[str]:
    """The class of every validation image, by number. UserError where the devkit does not say it."""
    for file in (TRUTH, META):
        if not (root / file).is_file():
            raise UserError(
                f"'{root / 'val'}' has no class folders, and there is no '{root / file}' to say the classes; unpack "
                "ILSVRC2012_devkit_t12.tar.gz there."
            )
    scipy = extras.load("scipy.io", "imagenet", f"'{root / META}', unless val/ has class folders,")
    try:
        synsets = scipy.loadmat(str(root / META), squeeze_me=True)["synsets"]
        named = {int(number): str(name) for number, name in zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)}
    except Exception as error:  # whatever scipy raises of a file that is none
        raise UserError(f"'{root / META}' cannot be read ({type(error).__name__}); unpack the devkit anew.") from None
    found = []
    for line, number in enumerate(published.text(root / TRUTH).split(), 1):
        if not (number.isascii() and number.isdigit()) or int(number) not in named:
            raise UserError(f"{root / TRUTH}:{line}: '{number}' is no class of '{META.name}'; unpack the devkit anew.")
        found.append(named[int(number)])
    return found
