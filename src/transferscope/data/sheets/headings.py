"""The names that people give to the columns of a table of images, and what each name says the column is."""

import re

PATHS = (
    *("path", "imagepath", "filepath", "filename", "file", "image", "imagefile", "imagename", "imageid", "imageindex"),
    *("imagefilename", "imagefilepath", "img", "imgpath", "imgfile", "imgname", "imgid", "fname", "picture", "photo"),
    *("name", "id", "uuid", "sopinstanceuid"),
)
LABELS = (
    *("label", "labels", "findinglabels", "findinglabel", "class", "classes", "classname", "classlabel", "classid"),
    *("target", "targets", "dx", "diagnosis", "diagnoses", "finding", "findings", "category", "categories", "disease"),
    *("pathology", "labelname", "labelid", "categoryname", "categoryid", "species", "breed", "variety", "grade"),
    *("severity", "level", "emotion", "benignmalignant", "groundtruth", "tag", "tags"),
)
FIRST_LABELS = LABELS[:4]  # beside which no other name is asked about
SPLITS = ("split", "splits", "datasplit", "dataset", "subset", "partition", "set", "usage", "phase", "fold", "folds")
FOLDS = ("split", "splits", "datasplit", "fold", "folds")  # names of a column that is never passed over
GROUPS = (  # what must stay on one side of a split, the largest first
    *(
        "group",
        "groups",
        "patient",
        "pat",
        "pid",
        "mrn",
        "subject",
        "person",
        "participant",
        "individual",
        "donor",
        "animal",
    ),
    *("mouse", "case", "studyinstance", "study", "examination", "exam", "accession", "specimen", "slide", "lesion"),
)
_ID = r"(id|ids|uid|no|nr|num|number|name|code|key|index)?"
# Words for whom or how a picture was taken: a 0/1 column of such a name is not what is seen on it.
ABOUT = frozenset(
    (
        *(
            "female",
            "male",
            "sex",
            "gender",
            "age",
            "race",
            "ethnicity",
            "smoker",
            "smoking",
            "bmi",
            "weight",
            "height",
        ),
        *("pregnant", "insurance", "deceased", "died", "view", "frontal", "lateral", "ap", "pa", "portable", "left"),
        *(
            "right",
            "eye",
            "site",
            "hospital",
            "scanner",
            "device",
            "camera",
            "manufacturer",
            "contrast",
            "train",
            "test",
        ),
        *("training", "val", "valid", "validation", "labeled", "labelled", "reviewed", "verified", "duplicate"),
        *("excluded", "quality"),
    )
)

_ANY_GROUP = re.compile(f"(?:{'|'.join(GROUPS)})s?{_ID}")


def plain(name: str) -> str:
    """A name in small letters and digits: "Image Index" and image_index are the same."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def words(name: str) -> list[str]:
    """The words of a name, in small letters: isFemale, is_female and "Is Female" have the same."""
    return re.findall(r"[a-z]+|\d+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())


def group_rank(name: str) -> int | None:
    """The place of a name among those of groups, the largest (the patient) first; None when it is none."""
    short = plain(name)
    if not _ANY_GROUP.fullmatch(short):  # of the 100,000 columns that a table may have
        return None
    found = [place for place, word in enumerate(GROUPS) if re.fullmatch(word + "s?" + _ID, short)]
    return found[0] if found else None


def is_id(name: str) -> bool:
    """Does a name end as those of ids do: lesion_id, scanID, series uid, accession_number?"""
    last = (words(name) or [""])[-1]
    return last in ("id", "ids", "uid", "uids", "guid", "number", "no", "nr", "accession", "barcode", "serial")


def of_split(name: str) -> bool:
    """Does a name tell of a split: is_valid, train_test, subset?"""
    return plain(name) in SPLITS or not {"train", "training", "val", "valid", "validation", "test"}.isdisjoint(
        words(name)
    )


def about(name: str) -> bool:
    """Does a name tell of the person or the picture's making, rather than of what is seen?"""
    return not ABOUT.isdisjoint(words(name))
