"""Tables as people have them: what each column is taken for, how its cells are read, and what is asked instead."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transferscope.data import Target, open_listing, source_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.sheets.given import split_word
from transferscope.data.sheets.sheet import read
from transferscope.data.sheets.understood import understood
from transferscope.data.target import Columns
from transferscope.errors import UserError
from transferscope.registry import apart

COUNT = 24
MARKS = ("mass", "nodule")


@pytest.fixture(autouse=True)
def films(tmp_path: Path) -> Path:
    """24 grey images x/000.png, ... below the table's folder."""
    (tmp_path / "x").mkdir()
    for number in range(COUNT):
        Image.new("L", (4, 4), number).save(tmp_path / f"x/{number:03}.png")
    return tmp_path


def path(i: int) -> str:
    return f"x/{i:03}.png"


def sheet(folder: Path, header: str, row: Callable[[int], str], rows: int = COUNT, name: str = "t.csv") -> Path:
    file = folder / name
    file.write_text("\n".join([header, *map(row, range(rows))]) + "\n", encoding="utf-8")
    return file


def listing(file: Path, **options: Any) -> Listing:
    return open_listing(Target(ref=f"csv:{file}", **options).reference)


# header, a row, and what is understood: path, labels, group, split, classes, one label an image?
READ: dict[str, tuple[str, Callable[[int], str], tuple[Any, ...]]] = {
    "plain": ("path,label", lambda i: f"{path(i)},{'ab'[i % 2]}", ("path", "label", None, None, "ab", True)),
    "capitals": ("Path,Label", lambda i: f"{path(i)},{'ab'[i % 2]}", ("Path", "Label", None, None, "ab", True)),
    "ids without suffix": ("image_id,dx", lambda i: f"{i:03},{i % 2}", ("image_id", "dx", None, None, "01", True)),
    "another suffix": ("file,class", lambda i: f"x/{i:03}.JPG,{i % 2}", ("file", "class", None, None, "01", True)),
    "someone's folders": (
        "path,label",
        lambda i: f"/kaggle/input/films/{path(i)},{'ab'[i % 2]}",
        ("path", "label", None, None, "ab", True),
    ),
    "backslashes": ("path,label", lambda i: rf"x\{i:03}.png,{i % 2}", ("path", "label", None, None, "01", True)),
    "paths of no known name": (
        "which,label",
        lambda i: f"{path(i)},{i % 2}",
        ("which", "label", None, None, "01", True),
    ),
    "patients": (
        "path,label,Patient ID",
        lambda i: f"{path(i)},{i % 2},{i // 4}",
        ("path", "label", "Patient ID", None, "01", True),
    ),
    "the largest unit": (
        "image,dx,lesion_id,patient_id",
        lambda i: f"{path(i)},{i % 2},l{i // 2},p{i // 4}",
        ("image", "dx", "patient_id", None, "01", True),
    ),
    "words for splits": (
        "path,label,Usage",
        lambda i: f"{path(i)},{i % 2},{('Training', 'Testing', 'valid', '')[i % 4]}",
        ("path", "label", None, "Usage", "01", True),
    ),
    "one hot": (
        "image,MEL,NV,UNK",
        lambda i: f"{i:03},{float(i % 2)},{float(1 - i % 2)},0.0",
        ("image", ("MEL", "NV", "UNK"), None, None, ("MEL", "NV"), True),
    ),
    "numbers however written": (
        "path,mass,nodule",
        lambda i: f"{path(i)},{('1.00', '0e0', '-0')[i % 3]},{('+1', '0')[i % 2]}",
        ("path", MARKS, None, None, MARKS, False),
    ),
    "truth values": (
        "path,mass,nodule",
        lambda i: f"{path(i)},{i % 2 == 0},{i % 3 == 0}",
        ("path", MARKS, None, None, MARKS, False),
    ),
    "yes and no": (
        "path,mass,nodule",
        lambda i: f"{path(i)},{('yes', 'No')[i % 2]},{('y', 'n', '')[i % 3]}",
        ("path", MARKS, None, None, MARKS, False),
    ),
    "row numbers": (
        ",path,mass,nodule",
        lambda i: f"{i},{path(i)},{i % 2},{i % 3 // 2}",
        ("path", MARKS, None, None, MARKS, False),
    ),
    "other columns": (
        "path,mass,nodule,age,sex,report",
        lambda i: f"{path(i)},{i % 2},{i % 3 // 2},{40 + i}.0,{'MF'[i % 2]},the {i}th report",
        ("path", MARKS, None, None, MARKS, False),
    ),
    "a single column of 0 and 1": (
        "id,has_cactus",
        lambda i: f"{i:03}.png,{i % 2}",
        ("id", "has_cactus", None, None, "01", True),
    ),
    "a number and a name": (
        "path,class_id,class_name",
        lambda i: f"{path(i)},{i % 2},{'ab'[i % 2]}",
        ("path", "class_name", None, None, "ab", True),
    ),
    "levels": ("path,level", lambda i: f"{path(i)},{i % 3}", ("path", "level", None, None, "012", True)),
    "a lesion that is a label": (
        "path,Lesion,Edema",
        lambda i: f"{path(i)},{i % 2},{i % 3 // 2}",
        ("path", ("Lesion", "Edema"), None, None, ("Lesion", "Edema"), False),
    ),
    "bars": (
        "path,label",
        lambda i: f"{path(i)},{('a', 'b|a', 'No Finding', 'c| b')[i % 4]}",
        ("path", "label", None, None, "abc", False),
    ),
    "semicolons": (
        "path,label",
        lambda i: f"{path(i)},{('a', 'b; a', 'b')[i % 3]}",
        ("path", "label", None, None, "ab", False),
    ),
    "commas in quotes": (
        "path,label",
        lambda i: f'{path(i)},"{("a", "b, a", "b")[i % 3]}"',
        ("path", "label", None, None, "ab", False),
    ),
    "blanks": (
        "path,label",
        lambda i: f"{path(i)},{('scab', 'rust scab', 'rust', 'no finding')[i % 4]}",
        ("path", "label", None, None, ("rust", "scab"), False),
    ),
    "numbers with blanks": (
        "Id,Target",
        lambda i: f"{i:03},{('16 0', '5', '7 16')[i % 3]}",
        ("Id", "Target", None, None, ("0", "16", "5", "7"), False),
    ),
    "lists": (
        "path,label",
        lambda i: f"{path(i)},\"['a', '{'bc'[i % 2]}']\"",
        ("path", "label", None, None, "abc", False),
    ),
    "names of several words": (
        "path,label",
        lambda i: f"{path(i)},{('basal cell', 'basal layer', 'squamous cell')[i % 3]}",
        ("path", "label", None, None, ("basal cell", "basal layer", "squamous cell"), True),
    ),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_understood(case: str, films: Path) -> None:
    header, row, (where, labels, group, split, classes, single) = READ[case]
    seen = understood(sheet(films, header, row), Columns())
    columns = (labels,) if isinstance(labels, str) else labels
    assert (seen.roles.path, seen.roles.labels) == (where, columns)
    assert (seen.roles.group, seen.roles.split) == (group, split)
    assert seen.read.classes == tuple(classes) and (seen.read.labels.ndim == 1) == single
    assert [Path(file).name for file in seen.files] == [f"{i:03}.png" for i in range(COUNT)]


def test_labels_of_several_are_the_cells(films: Path) -> None:
    """Against the obvious way, cell by cell."""
    header, row, _ = READ["bars"]
    cells = [row(i).partition(",")[2] for i in range(COUNT)]
    want = [[int(name in [p.strip() for p in cell.split("|")]) for name in "abc"] for cell in cells]
    found = listing(sheet(films, header, row))
    assert found.labels.dtype == np.uint8 and found.labels.tolist() == want
    assert "6 images carry none of them ('No Finding')" in found.notes[0]


def test_a_column_is_never_dropped_without_a_word(films: Path) -> None:
    header, row, _ = READ["other columns"]
    said = " ".join(listing(sheet(films, header, row)).notes)
    assert all(f"'{name}'" in said for name in ("age", "sex", "report", "mass", "nodule"))
    said = " ".join(listing(sheet(films, "path,label,scan_id", lambda i: f"{path(i)},{i % 2},s{i // 4}")).notes)
    assert "'scan_id' (it repeats as an id does: if its 6 values are patients" in said and "columns.group" in said
    said = " ".join(listing(sheet(films, "path,label,who", lambda i: f"{path(i)},{i % 2},n{i // 2}")).notes)
    assert "'who' (it repeats as an id does" in said, "also without a name that says so"
    assert "row" in listing(sheet(films, *READ["row numbers"][:2])).notes[0]


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("path,mass,pus,female", lambda i: f"{path(i)},{i % 2},{i % 3 // 2},{i % 2}", ("Is 'female'", "beside 'mass'")),
        ("path,isMale", lambda i: f"{path(i)},{i % 2}", ("Is 'isMale'", "a label?")),
        ("path,a,b,is_train", lambda i: f"{path(i)},{i % 2},{i % 3 // 2},{i % 2}", ("Is 'is_train'",)),
        ("path,label", lambda i: f"{path(i)},{i / 7:.3f}", ("24 different numbers", "no classes")),
        ("path,label", lambda i: f"{path(i)},{30 + i}", ("24 different numbers", "no classes")),
        ("path,label", lambda i: f"{path(i)},finding number {i}", ("24 different texts", "no classes")),
        ("path,age", lambda i: f"{path(i)},{30 + i}", ("no column 'label'", "'age'")),
        ("path,diagnosis,target", lambda i: f"{path(i)},{'abc'[i % 3]},{i % 2}", ("may each be the label",)),
        ("path,label,fold", lambda i: f"{path(i)},{i % 2},{i % 5}", ("'fold'", "no splits", "columns.split: null")),
        ("path,label,split", lambda i: f"{path(i)},{i % 2},fold_{i % 5}", ("'split'", "no splits")),
        ("path,label,split", lambda i: f"{path(i)},{i % 2},{'train' if i else 'tset'}", ("Line 2", "'tset'", "'test'")),
        ("path,mass,nodule", lambda i: f"{path(i)},{i % 2},{'O' if i == 7 else i % 2}", ("Line 9", "'O'", "0 or 1")),
        (
            "path,label,patient,split",
            lambda i: f"{path(i)},{i % 2},p{i // 4},{('train', 'test')[i % 2]}",
            ("'p0'", "'patient'", "both 'train' and 'test'", "columns.group: null"),
        ),
        ("path,label", lambda i: f"{path(i // 2)},{i % 2}", ("Line 3", "lists 'x/000.png' again", "line 2")),
        ("path,label", lambda i: f"{path(i)},{'nan' if i == 3 else i % 2}", ("Line 5", "empty label")),
        ("x/000.png,a", lambda i: f"{path(i)},{i % 2}", ("first line", "line of names")),
        ("What I collected\npath,label", lambda i: f"{path(i)},{i % 2}", ("Line 2", "title?")),
        ("path,label", lambda i: f"{path(i)},{i % 2}{',more' if i == 5 else ''}", ("Line 7", "3 cells")),
        ("path,label,x,x", lambda i: f"{path(i)},{i % 2},1,2", ("'x' twice",)),
        ("path,p,q", lambda i: f"{path(i)},{i / 24},{1 - i / 24}", ("no column 'label'", "'p', 'q'")),
    ],
)
def test_a_question_in_one_sentence(
    header: str, row: Callable[[int], str], words: tuple[str, ...], films: Path
) -> None:
    with pytest.raises(UserError) as caught:
        listing(sheet(films, header, row))
    said = str(caught.value)
    assert all(word in said for word in words) and "\n" not in said, said


# what a study says


def test_a_mapping_names_the_columns(films: Path) -> None:
    file = sheet(
        films, "a,b,c,d,label", lambda i: f"{path(i)},{'xy'[i % 2]},{i // 4},{('train', 'dev', 'test')[i // 8]},z"
    )
    seen = listing(file, columns={"path": "a", "label": "b", "group": "c", "split": "d"})
    assert seen.classes == ("x", "y") and seen.groups and seen.groups[:5] == ("0", "0", "0", "0", "1")
    assert seen.splits == ("train",) * 8 + ("val",) * 8 + ("test",) * 8
    with pytest.raises(UserError, match=r"columns\.label: the table .* has no column 'lable'; did you mean 'label'"):
        listing(file, columns={"label": "lable"})
    with pytest.raises(UserError, match=r"'b' .* is named twice"):
        listing(file, columns={"path": "a", "label": "b", "group": "b"})


def test_null_says_that_there_is_none(films: Path) -> None:
    file = sheet(films, "path,label,patient,fold", lambda i: f"{path(i)},{i % 2},{i // 4},{i % 5}")
    seen = listing(file, columns={"group": None, "split": None})
    assert seen.groups is None and seen.splits is None


def test_female_is_a_label_where_it_is_said(films: Path) -> None:
    file = sheet(films, "path,mass,female", lambda i: f"{path(i)},{i % 2},{i % 3 // 2}")
    assert listing(file, columns={"label": ["female", "mass"]}).classes == ("female", "mass")


def test_uncertain_cells_by_rule(films: Path) -> None:
    """Blank is 0; -1 is what `uncertain` says: 0 unless told, for all labels or for each."""
    marks = ["1.0", "0.0", "", "-1.0", "-1"]
    file = sheet(films, "path,mass,nodule", lambda i: f"{path(i)},{marks[i % 5]},{marks[i % 3]}")
    for rule, ones in ((None, (0, 0)), (0, (0, 0)), (1, (1, 1)), ({"mass": 1}, (1, 0))):
        value = [{"1.0": 1, "-1.0": one, "-1": one} for one in ones]
        want = [[value[0].get(marks[i % 5], 0), value[1].get(marks[i % 3], 0)] for i in range(COUNT)]
        assert listing(file, uncertain=rule).labels.tolist() == want, rule
    notes = " ".join(listing(file, uncertain={"mass": 1}).notes)
    assert "blank cells of the label columns count as 0" in notes and "9 uncertain cells (-1) count as 1" in notes
    with pytest.raises(UserError, match=r"uncertain: 'mas' is no label .* did you mean 'mass'"):
        listing(file, uncertain={"mas": 1})


def test_one_column_of_0_and_1_with_a_rule(films: Path) -> None:
    file = sheet(films, "Path,Edema", lambda i: f"{path(i)},{('1.0', '0.0', '-1.0', '')[i % 4]}")
    with pytest.raises(UserError, match=r"Line 5 .* say uncertain: 0 to count what is blank as 0"):
        listing(file)
    seen = listing(file, uncertain=1)
    assert seen.classes == ("0", "1") and seen.labels.tolist() == [1, 0, 1, 0] * 6


def test_parts_that_do_not_stand_alone_are_named(films: Path) -> None:
    seen = listing(sheet(films, "path,label", lambda i: f"{path(i)},{('a;b', 'a', 'c')[i % 3]}"))
    assert seen.classes == ("a", "a;b", "c") and "'a;b' in 'label' is a class of its own" in seen.notes[0]


def test_images_in_a_folder_of_their_own(films: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    file = sheet(tmp_path / "tables", "image,label", lambda i: f"{i:03},{i % 2}")
    with pytest.raises(UserError, match=r"24 image\(s\) that do not exist, the first being '000'"):
        listing(file)
    assert len(listing(file, images=str(films / "x")).names) == COUNT
    with pytest.raises(UserError, match=r"images: the folder .* does not exist"):
        listing(file, images=str(films / "y"))


def test_a_name_that_fits_two_files(films: Path) -> None:
    (films / "y").mkdir()
    Image.new("L", (4, 4)).save(films / "y/003.jpg")
    with pytest.raises(UserError, match=r"'003' may be 'x/003.png' or 'y/003.jpg'"):
        listing(sheet(films, "image,label", lambda i: f"{i:03},{i % 2}"))
    assert len(listing(sheet(films, "image,label", lambda i: f"{path(i)},{i % 2}")).names) == COUNT


def test_an_image_listed_again(films: Path) -> None:
    file = sheet(films, "path,label", lambda i: f"{('', './')[i % 2]}{path(i // 2)},{i // 2 % 2}")
    seen = listing(file)
    assert len(seen.names) == COUNT // 2 and "12 rows repeat an image" in seen.notes[0]


# official files


def test_nih_chest_films_as_published(tmp_path: Path) -> None:
    """Data_Entry_2017.csv with its empty last column and its comma in a name, images_001/images/, the two lists."""
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    names = [f"{i // 3:08}_{i % 3:03}.png" for i in range(24)]
    labels = ["Cardiomegaly", "No Finding", "Effusion|Mass", "Mass"]
    lines = [f"{n},{labels[i % 4]},{i % 3},{i // 3},058Y,M,PA,2682,2749,0.143,0.143," for i, n in enumerate(names)]
    (tmp_path / "Data_Entry_2017.csv").write_text("\r\n".join([header, *lines, ""]))
    for place, name in enumerate(names):
        folder = tmp_path / f"images_{1 + place % 2:03}/images"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / name)
    alone = listing(tmp_path / "Data_Entry_2017.csv")
    (tmp_path / "train_val_list.txt").write_text("\n".join(names[:18]))
    (tmp_path / "test_list.txt").write_text("\r\n".join(names[18:]) + "\n")
    seen = listing(tmp_path / "Data_Entry_2017.csv")
    assert seen.names == tuple(names) and seen.classes == ("Cardiomegaly", "Effusion", "Mass")
    assert seen.labels[:4].tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert seen.groups == tuple(str(i // 3) for i in range(24))
    assert alone.splits is None and seen.splits == ("train",) * 18 + ("test",) * 6
    assert listing(tmp_path / "Data_Entry_2017.csv", columns={"split": None}).splits is None
    assert "'Patient Age'" in seen.notes[0] and "group is 'Patient ID'" in seen.notes[0]
    first = source_fingerprint(f"csv:{tmp_path / 'Data_Entry_2017.csv'}")
    (tmp_path / "test_list.txt").write_text("\n".join(names[15:]))
    with pytest.raises(UserError, match="which the train list names too"):
        listing(tmp_path / "Data_Entry_2017.csv")
    (tmp_path / "train_val_list.txt").write_text("\n".join(names[:15]))
    assert source_fingerprint(f"csv:{tmp_path / 'Data_Entry_2017.csv'}") != first, "lists are part of the identity"


CHEXPERT = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)


def chexpert(folder: Path) -> Path:
    """train.csv as published: paths that start one folder higher, patients in them, 1.0, 0.0, -1.0 and blanks."""
    root = folder / "CheXpert-v1.0-small"
    lines = ["Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(CHEXPERT)]
    cells = ["1.0", "", "-1.0", "0.0", ""]
    for i in range(30):
        file = f"CheXpert-v1.0-small/train/patient{i // 3 + 1:05}/study1/view{i % 3 + 1}_frontal.jpg"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / file)
        marks = ",".join(cells[(i + k) % 5] for k in range(14))
        lines.append(f"{file},{'Female' if i % 2 else 'Male'},{40 + i},Frontal,{'AP' if i % 3 else ''},{marks}")
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    return root / "train.csv"


def test_chexpert_as_published(tmp_path: Path) -> None:
    file = chexpert(tmp_path)
    seen = listing(file)
    assert seen.classes == CHEXPERT and seen.labels.shape == (30, 14)
    assert seen.groups is not None and seen.groups[:4] == ("patient00001",) * 3 + ("patient00002",)
    want = [[int((i + k) % 5 == 0) for k in range(14)] for i in range(30)]
    order = sorted(range(30), key=lambda i: f"patient{i // 3 + 1:05}/study1/view{i % 3 + 1}")
    assert seen.labels.tolist() == [want[i] for i in order]
    said = " ".join(seen.notes)
    assert "group is the patient that 'Path' names" in said and "84 uncertain cells (-1) count as 0" in said
    assert listing(file, columns={"group": None}).groups is None
    moved = tmp_path / "CheXpert-v1.0-small"
    moved.rename(tmp_path / "renamed")
    assert listing(tmp_path / "renamed/train.csv").groups == seen.groups, "without the folder that is not there"


# text


@pytest.mark.parametrize(
    ("encoding", "separator", "end"),
    [
        ("utf-8", ",", "\n"),
        ("utf-8-sig", ";", "\r\n"),
        ("utf-16", "\t", "\r\n"),
        ("utf-16-le", ",", "\n"),
        ("latin-1", ";", "\n"),
        ("cp1252", "|", "\r"),
        ("utf-8", "\t", "\r\n"),
    ],
)
def test_any_encoding_separator_and_line_end(encoding: str, separator: str, end: str, films: Path) -> None:
    lines = [("path", "label"), *((path(i), ("größe", '"a; b, c"')[i % 2]) for i in range(COUNT))]
    text = end.join(separator.join(line) for line in lines) + end
    (films / "t.csv").write_bytes(text.encode(encoding))
    seen = listing(films / "t.csv")
    assert seen.classes == ("a; b, c", "größe") and len(seen.names) == COUNT
    assert bool(seen.notes) == (encoding in ("latin-1", "cp1252")), "a guess is said"


def test_what_surrounds_a_table(films: Path) -> None:
    rows = [f"{path(i)};{i % 2}" for i in range(COUNT)]
    for before, after in ((["sep=;"], []), (["", ""], ["", ";"]), (["# of 2020"], [])):
        (films / "t.csv").write_text("\n".join([*before, "path;label", *rows, *after]) + "\n")
        assert len(listing(films / "t.csv").names) == COUNT
        assert read(films / "t.csv").lines[0] == len(before) + 2, "the number of the line in the file"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04...", "workbook"),
        (b"\x1f\x8b...", "compressed"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\xff", "text"),
        (b"", "No image"),
        (b"path,label\n", "No image"),
    ],
)
def test_what_is_no_table(content: bytes, words: str, films: Path) -> None:
    (films / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=words):
        listing(films / "t.csv")


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("Training", "train"),
        ("TRAIN", "train"),
        ("valid", "val"),
        ("Validation ", "val"),
        ("dev", "val"),
        ("test_set", "test"),
        ("Testing", "test"),
        ("PrivateTest", "test"),
        ("0", None),
        ("fold_1", None),
        ("cat", None),
    ],
)
def test_words_for_splits(text: str, split: str | None) -> None:
    assert split_word(text) == split


# identity


def test_a_table_read_as_ever_keeps_its_fingerprint(tmp_path: Path) -> None:
    """Frozen from the first release: results of such tables are found again, also with the same columns written out."""
    for i in range(4):
        (tmp_path / f"images/{i}.png").parent.mkdir(exist_ok=True)
        (tmp_path / f"images/{i}.png").write_bytes(bytes([i]) * 10)
    tables = {
        "path,label\nimages/1.png,a\nimages/0.png,b\n": "2c625262d098d109c2250caebe1b0b61",
        "split;path;group;label\ntrain;images/3.png;p;x\ntest;images/0.png;q;y\n;images/2.png;;x\nval;images/1.png;r;"
        "y\n": "861d14ebbc07efadbfa1cb8310e5590c",
        "path,oedema,mass\nimages/0.png,0,1\nimages/1.png,1,1\n": "64dd4b2c2280def6fb4990528d8b2771",
    }
    for text, digest in tables.items():
        (tmp_path / "t.csv").write_text(text)
        assert source_fingerprint(f"csv:{tmp_path / 't.csv'}") == digest
        columns = understood(tmp_path / "t.csv", Columns()).roles.columns()
        assert source_fingerprint(Target(ref=f"csv:{tmp_path / 't.csv'}", columns=columns).reference) == digest


def test_a_table_read_otherwise_has_another_fingerprint(films: Path) -> None:
    file = sheet(films, "path,label,other,patient", lambda i: f"{path(i)},{i % 2},{i % 3},{i // 4}")
    said: list[dict[str, Any]] = [
        {},
        {"group": None},
        {"label": "other"},
        {"group": "other"},
        {"label": ["label"], "group": None},
    ]
    prints = [source_fingerprint(Target(ref=f"csv:{file}", columns=columns).reference) for columns in said]
    assert len(set(prints)) == 4 and prints[1] == prints[4], "two say the same"
    marks = sheet(films, "path,mass,nodule", lambda i: f"{path(i)},{(1, -1, 0)[i % 3]},{i % 2}", name="m.csv")
    rules = [source_fingerprint(Target(ref=f"csv:{marks}", uncertain=rule).reference) for rule in (0, 1, {"mass": 1})]
    assert len(set(rules)) == 3


def test_options_travel_with_the_reference() -> None:
    target = Target(ref="csv:a?b.csv", columns={"path": "x", "group": None}, uncertain={"Edema": 1})
    ref, options = apart(target.reference)
    assert ref == "csv:a?b.csv" and options == {"columns": {"path": "x", "group": None}, "uncertain": {"Edema": 1}}
    assert Target(ref=ref, **options) == target
    assert Target(ref="digits").reference == "digits" and apart("folder:what?") == ("folder:what?", {})
    with pytest.raises(UserError, match="columns: the source 'digits' of 'digits' knows nothing of it"):
        open_listing(Target(ref="digits", columns={"path": "x"}).reference)
