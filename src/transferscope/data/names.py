"""What folder and file names mean by themselves: splits, things beside the pictures, kinds of files."""

import re

PICTURES = frozenset(  # the endings of files that are opened; whether Pillow can read each is told when it is opened
    (
        *(".apng", ".avif", ".avifs", ".bmp", ".bw", ".cur", ".dds", ".dib", ".gif", ".icb", ".icns", ".ico", ".im"),
        *(".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".msp", ".pbm"),
        *(".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".ras", ".rgb", ".rgba", ".sgi", ".tga"),
        *(".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm", ".xpm"),
    )
)
NUMBERS = frozenset((".npy", ".dcm", ".dicom"))  # pictures as numbers: read where none of the others lies in a folder
# Endings of files that hold pictures, or films and volumes, of kinds that are not read. A file without an ending counts
# too: scanners write DICOM so.
UNREAD = frozenset(
    (
        *("", ".3fr", ".ai", ".arw", ".avi", ".bil", ".bsq", ".cr2", ".cr3", ".czi", ".dat", ".dcm", ".dicom"),
        *(".dng", ".emf", ".eps", ".exr", ".fit", ".fits", ".fts", ".h5", ".hdf", ".hdf5", ".hdr", ".heic", ".heif"),
        *(".ima", ".img", ".ims", ".jls", ".jxl", ".jxr", ".lif", ".mat", ".mha", ".mhd", ".mkv", ".mov"),
        *(".mp4", ".mpeg", ".mpg", ".mrxs", ".nc", ".nd2", ".ndpi", ".nef", ".nii", ".nii.gz", ".npy", ".npz"),
        *(".nrrd", ".oib", ".oif", ".orf", ".pcd", ".pdf", ".pef", ".pic", ".raf", ".raw", ".rw2", ".scn"),
        *(".svg", ".svgz", ".svs", ".tfrecord", ".vsi", ".webm", ".wdp", ".wmf", ".wmv", ".xcf", ".zarr"),
    )
)
NOISE = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"))  # what file managers leave behind
PLAIN = frozenset(
    ("readme", "license", "licence", "copying", "makefile", "changelog", "authors", "notice", "checksums")
)

SPLITS = {
    **dict.fromkeys(("train", "training", "trained", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "development"), "val"),
    **dict.fromkeys(("eval", "evaluation"), "eval"),  # val, or test where there is another val
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}
LABELS = ("label", "labels", "y", "class")  # columns and fields that name the class, the likeliest first
GENERAL = frozenset(  # words that say no more than "a folder of pictures"
    (
        *(
            "set",
            "sets",
            "data",
            "dataset",
            "folder",
            "folders",
            "files",
            "split",
            "splits",
            "part",
            "subset",
            "samples",
        ),
        *("image", "images", "img", "imgs", "picture", "pictures", "pics", "photo", "photos", "jpg", "jpeg", "png"),
    )
)
BESIDE = frozenset(  # folders that lie beside pictures and are no class
    (
        *("unlabeled", "unlabelled", "unlabel", "unsup", "unsupervised", "nolabel", "nolabels"),
        *("annotation", "annotations", "annot", "annots", "labels", "masks", "groundtruth", "gt", "metadata", "macosx"),
    )
)
FOLD = re.compile(r"k?(fold|cv|split)s?", re.IGNORECASE)


def kind_of(file: str) -> str:
    """A file's ending in lower case, the dot included; '' without one (a number, as in the names that scanners give, is
    none); '-' for hidden files and what file managers leave behind."""
    low = file.lower()
    if low.startswith(".") or low in NOISE:
        return "-"
    stem, dot, ending = low.rpartition(".")
    if not dot or not stem or len(ending) > 8 or not ending.isalnum() or ending.isdigit():
        return ".txt" if low in PLAIN else ""
    return ".nii.gz" if low.endswith(".nii.gz") else f".{ending}"


def words_of(name: str) -> tuple[str, ...]:
    """The words of a folder name in lower case: `trainSet_2017` gives train, set, 2017; `trainset` gives train, set."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", name)
    words = []
    for word in re.split(r"[\W_]+", parted.lower()):
        whole = re.fullmatch(r"(.+?)(sets?|data|dataset|images|imgs)", word)
        words += [*whole.groups()] if whole and whole[1] in SPLITS else [word] if word else []
    return tuple(words)


def split_of(name: str) -> tuple[str, tuple[str, ...]] | None:
    """The split that a name holds (train, val, eval, test), and its other words but numbers and general ones.

    `Training` gives train and (); `seg_train` train and (seg,); None for a name with no such word, or with two.
    """
    words = words_of(name)
    splits = {SPLITS[word] for word in words if word in SPLITS}
    if len(splits) != 1:
        return None
    rest = tuple(w for w in words if w not in SPLITS and w not in GENERAL and not w.isdigit())
    return splits.pop(), rest


def split_word(name: str) -> str:
    """The split, train, val or test, that a name by itself says, eval being val; "" for one that says none."""
    found = split_of(name)
    return found[0].replace("eval", "val") if found else ""


def beside(name: str) -> bool:
    """Does the name say that the folder holds no class: `unlabeled`, `annotations`, `train_masks`, `__MACOSX`?"""
    words = [w for w in words_of(name) if w not in GENERAL and w not in SPLITS and not w.isdigit()]
    return bool(words) and (all(word in BESIDE for word in words) or "".join(words) in BESIDE)


def fold(name: str) -> bool:
    """Is the folder named like a fold of a cross-validation: `fold_0`, `fold1`, `Fold 3`, `cv-2`?"""
    words = words_of(name)
    return len(words) == 2 and bool(FOLD.fullmatch(words[0])) and words[1].isdigit()
