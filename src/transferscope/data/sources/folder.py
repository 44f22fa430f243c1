"""folder:PATH, one subfolder of images per class, optionally below folders of splits such as train/, val/ and test/.

Split folders are known by their names, whatever case and ending (Training, valid, train2017, seg_test), and taken as
given; folders that hold the same class folders and are not named for splits are asked about; otherwise every subfolder
is a class (`folders.layout.understand` has the rules). Images may be nested deeper, and a chain of single folders is
followed. Hidden files, other file types and folders without images are left out, and said. Numpy arrays (.npy) and
DICOM files (.dcm, .dicom) are pictures where there are no others below PATH.
"""

from pathlib import Path

from transferscope.data.folders.asides import asides
from transferscope.data.folders.files import Files, class_root
from transferscope.data.folders.layout import Layout, understand
from transferscope.data.folders.tree import Folder, scan
from transferscope.data.listing import Listing
from transferscope.data.names import NUMBERS, beside
from transferscope.data.paths import from_folder
from transferscope.data.phrases import kinds, listed
from transferscope.data.pictures.decode import ImageFiles
from transferscope.errors import UserError

absolute = from_folder


def check(rest: str) -> None:
    """A UserError unless the folder exists and has subfolders."""
    root = _root(rest)
    if not any(entry.is_dir() and not entry.name.startswith(".") for entry in root.iterdir()):
        raise UserError(_no_classes(root))


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of every image's relative name and bytes, and of the class and split its folder gives it."""
    root = _root(rest)
    return Files.of(root, _understood(root)[1]).fingerprint(memo)


def listing(rest: str) -> Listing:
    """The images below PATH, named by their path relative to it; classes are the union over the splits."""
    root = _root(rest)
    tree, layout = _understood(root)
    images = Files.of(root, layout)
    trained = images.trained
    if missing := [name for name in images.classes if name not in trained]:
        raise UserError(f"Class '{missing[0]}' has no image in {_trained(layout, root)}; {_mend(missing[0], trained)}")
    apart = [folder.name for folder in layout.top.folders if folder.total and beside(folder.name)]
    if len(images.classes) == 1 and apart:
        raise UserError(
            f"'{root}' has a single class ('{images.classes[0]}'); if {listed(apart)} is one too, rename that folder."
        )
    return images.listing(ImageFiles, notes=asides(tree, layout))


def _root(rest: str) -> Path:
    return class_root(rest, "folder", "image folder", "one subfolder")


def _understood(root: Path) -> tuple[Folder, Layout]:
    tree = scan(root)
    if not tree.total and (deep := scan(root, NUMBERS)).total:
        tree = deep
    if lost := list(tree.below("lost")):
        lead = "1 link leads" if len(lost) == 1 else f"{len(lost):,} links lead"
        raise UserError(
            f"{lead} nowhere in '{root}', such as '{lost[0]}' to '{(root / lost[0]).readlink()}': fetch what is linked "
            "to, or remove the link."
        )
    layout = understand(tree, str(root))
    if not layout.places and (tree.pictures or not tree.folders):
        raise UserError(_no_classes(root))
    if not layout.places and tree.rest:
        raise UserError(
            f"No image of a kind that is read was found in '{root}' ({kinds(tree.rest)}): convert them to PNG or JPEG."
        )
    return tree, layout


def _trained(layout: Layout, root: Path) -> str:
    """The training folders, by name."""
    named = [f"'{root / folder.path}'" for folder, word in layout.splits if word == "train"]
    return " or ".join(named) or "train"


def _mend(label: str, trained: set[str]) -> str:
    alike = next((name for name in trained if name.casefold() == label.casefold()), None)
    return f"is it the class '{alike}'?" if alike else "add images or remove the class."


def _no_classes(root: Path) -> str:
    return f"'{root}' has no class folders; put the images of each class into a subfolder of their own."
