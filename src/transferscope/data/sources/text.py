"""text:PATH, one subfolder of .txt files per class, optionally below folders of splits such as train/, val/ and test/.

Folders are understood as those of images are (`folders.layout.understand` has the rules). A file is UTF-8, or what its
byte-order mark says; files of another encoding and empty ones are left out and counted.
"""

from pathlib import Path

from transferscope import input_nouns
from transferscope.data.folders.asides import asides
from transferscope.data.folders.files import Files, class_root
from transferscope.data.folders.layout import Layout, understand
from transferscope.data.folders.tree import Folder, scan
from transferscope.data.listing import Listing
from transferscope.data.paths import from_folder
from transferscope.data.texts import TextFiles
from transferscope.errors import UserError

READ = frozenset((".txt",))

absolute = from_folder


def recognised(path: Path) -> Path | None:
    """A folder that holds .txt files and no pictures."""
    return path if path.is_dir() and scan(path, READ).total and not scan(path).total else None


def check(rest: str) -> None:
    """A UserError unless the folder exists and has subfolders."""
    root = _root(rest)
    if not any(entry.is_dir() and not entry.name.startswith(".") for entry in root.iterdir()):
        raise UserError(_no_classes(root))


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of every text's relative name and bytes, and of the class and split its folder gives it."""
    root = _root(rest)
    return Files.of(root, _understood(root)[1]).fingerprint(memo)


def listing(rest: str) -> Listing:
    """The texts below PATH, named by their path relative to it; classes are the union over the splits."""
    root = _root(rest)
    tree, layout = _understood(root)
    texts = Files.of(root, layout)
    if missing := sorted(set(texts.classes) - texts.trained):
        raise UserError(f"Class '{missing[0]}' of '{root}' has no text for training; add texts or remove the class.")
    return texts.listing(TextFiles, notes=tuple(map(input_nouns.of_texts, asides(tree, layout))), holds="texts")


def _root(rest: str) -> Path:
    return class_root(rest, "text", "folder of texts", "one subfolder of .txt files")


def _understood(root: Path) -> tuple[Folder, Layout]:
    tree = scan(root, READ)
    if lost := list(tree.below("lost")):
        raise UserError(f"The link '{lost[0]}' in '{root}' leads nowhere: fetch what it links to, or remove it.")
    try:
        layout = understand(tree, str(root))
    except UserError as error:
        raise UserError(input_nouns.of_texts(str(error))) from None
    if not layout.places:
        raise UserError(_no_classes(root))
    return tree, layout


def _no_classes(root: Path) -> str:
    return f"'{root}' has no class folders; put the .txt files of each class into a subfolder of their own."
