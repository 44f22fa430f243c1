"""Files of arrays: read a piece at a time in any order, never whole; what they lack or hold amiss is one sentence."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from transferscope import data
from transferscope.data import arrays
from transferscope.errors import UserError

h5py = pytest.importorskip("h5py")
X = np.random.default_rng(0).standard_normal((60, 2, 6)).astype(np.float32)
Y = np.array(["a", "b"])[np.arange(60) % 2]


def columns(**more: Any) -> dict[str, Any]:
    return {"x": pl.Series(X.tolist(), dtype=pl.List(pl.List(pl.Float32))), "label": Y.tolist(), **more}


def parquet_of(folder: Path, table: dict[str, Any]) -> str:
    pl.DataFrame(table, strict=False).write_parquet(folder / "a.parquet")
    return f"parquet:{folder / 'a.parquet'}"


def hdf5_of(folder: Path, parts: dict[str, Any], **how: Any) -> str:
    with h5py.File(folder / "a.h5", "w") as file:
        for name, part in parts.items():
            file.create_dataset(name, data=part, **(how if name == "x" else {}))
    return f"hdf5:{folder / 'a.h5'}"


def npz_of(folder: Path, **parts: np.ndarray) -> str:
    np.savez(folder / "a.npz", **parts)
    return f"npz:{folder / 'a.npz'}"


def compressed(folder: Path) -> str:
    np.savez_compressed(folder / "a.npz", x=X, y=Y)
    return f"npz:{folder / 'a.npz'}"


WAYS = {
    "npz": lambda folder: npz_of(folder, x=X, y=Y),
    "npz, compressed": compressed,
    "npz, Fortran's order": lambda folder: npz_of(folder, x=np.asfortranarray(X), y=Y),
    "parquet, lists": lambda folder: parquet_of(folder, columns()),
    "parquet, arrays": lambda folder: parquet_of(
        folder, columns(x=pl.Series(X.tolist(), dtype=pl.Array(pl.Float32, (2, 6))))
    ),
    "hdf5": lambda folder: hdf5_of(folder, {"x": X, "y": Y.tolist()}),
    "hdf5, packed": lambda folder: hdf5_of(folder, {"x": X, "y": Y.tolist()}, chunks=(9, 2, 6), compression="gzip"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("piece", [1, 7 * X[0].nbytes, 1 << 24])
def test_the_same_arrays_in_any_order(tmp_path: Path, way: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("npz", "parquet", "hdf5"):
        target = f"transferscope.data.sources.{module}.rows_at_once"
        monkeypatch.setattr(target, lambda shape, dtype, most=0: max(1, piece // X[0].nbytes))
    listing = data.open_listing(WAYS[way](tmp_path))
    assert listing.classes == ("a", "b") and listing.labels.tolist() == [0, 1] * 30 and listing.holds == "arrays"
    for index in (*range(60), 59, 0, 31, 30, 3):
        assert np.array_equal(listing.load(index), X[index])


def test_examples_may_be_larger_than_memory(tmp_path: Path) -> None:
    """Of 128 MB of examples no more than some pieces are held at once, compressed or not."""
    x = np.zeros((512, 256, 256), dtype=np.float32)
    y = np.arange(512) % 2
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "big.npz", x=x, y=y)
        tracemalloc.start()
        listing = data.open_listing(f"npz:{tmp_path / 'big.npz'}")
        for index in range(512):
            assert listing.load(index).shape == (256, 256)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < x.nbytes / 2


def test_what_was_damaged_on_the_disk_is_no_example(tmp_path: Path) -> None:
    """The check sum of an archive counts though it is read in pieces, some of which were looked at before."""
    x = np.random.default_rng(0).standard_normal((600, 100)).astype(np.float32)
    ref, file = npz_of(tmp_path, x=x, y=np.arange(600) % 2), tmp_path / "a.npz"
    content = bytearray(file.read_bytes())
    content[content.index(x[300].tobytes()) + 5] ^= 1
    file.write_bytes(bytes(content))
    listing = data.open_listing(ref)
    with pytest.raises(UserError, match=r"x cannot be read \(Bad CRC-32"):
        arrays.build(listing, tmp_path, shape=(100,), scale="none", split=(0.2, 0.2, 0), tell=lambda **_: None)


def test_numbers_in_columns_are_chosen_by_name_and_pattern(tmp_path: Path) -> None:
    bands = {f"band_{place}": X[:, 0, place] for place in range(4)}
    table = {"id": np.arange(60), **bands, "age": np.arange(60), "kind": Y.tolist(), "group": np.arange(60) // 3}
    ref = parquet_of(tmp_path, table)
    with pytest.raises(UserError, match=r"has no column 'label' \(it has 'id', .*name it with columns.label"):
        data.open_listing(ref)
    with pytest.raises(UserError, match=r"has no column of arrays; name .*\(columns of numbers: 'id', 'band_0'"):
        data.open_listing(ref + '?{"columns":{"label":["kind"]}}')
    listing = data.open_listing(ref + '?{"columns":{"label":["kind"],"values":["band_*","age"]}}')
    assert np.allclose(listing.load(7), [*X[7, 0, :4], 7]) and listing.groups is not None
    assert listing.groups[:4] == ("0", "0", "0", "1") and listing.splits is None
    assert data.open_listing(ref + '?{"columns":{"group":null,"label":"kind","values":"age"}}').groups is None


def test_which_column_is_what_is_part_of_the_identity(tmp_path: Path) -> None:
    table = columns(other=Y[::-1].tolist())
    ref = parquet_of(tmp_path, table)
    said = [ref + options for options in ("", '?{"columns":{"label":["label"]}}', '?{"columns":{"label":["other"]}}')]
    first, same, other = (data.source_fingerprint(one) for one in said)
    assert first == same != other


def test_several_labels_are_called_by_their_columns(tmp_path: Path) -> None:
    table = columns(edema=[0, 1] * 30, mass=[1, 0, 0] * 20)
    listing = data.open_listing(parquet_of(tmp_path, table) + '?{"columns":{"label":["edema","mass"]}}')
    assert listing.multilabel and listing.classes == ("edema", "mass") and listing.labels[3].tolist() == [1, 1]


def test_datasets_may_be_called_otherwise(tmp_path: Path) -> None:
    parts = {"scans/data": X, "scans/diagnosis": Y.tolist(), "split": ["train", "val", "test"] * 20}
    ref = hdf5_of(tmp_path, parts)
    listing = data.open_listing(ref + '?{"columns":{"values":["scans/data"],"label":["scans/diagnosis"]}}')
    assert listing.splits is not None and listing.splits[:3] == ("train", "val", "test")
    assert np.array_equal(listing.load(4), X[4])
    with pytest.raises(UserError, match=r"has no dataset 'x' \(it has scans/data, .*name it with columns.values"):
        data.open_listing(ref)


def ragged(place: int) -> list[Any]:
    cells = X.tolist()
    cells[place] = [cells[place][0], cells[place][1][:4]]
    return cells


def linked(folder: Path) -> str:
    hdf5_of(folder, {"x": X})
    (folder / "a.h5").rename(folder / "other.h5")
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"], file["y"] = h5py.ExternalLink("other.h5", "x"), np.arange(60) % 2
    return f"hdf5:{folder / 'a.h5'}"


def cut(folder: Path, ref: str) -> str:
    file = Path(ref.partition(":")[2])
    file.write_bytes(file.read_bytes()[:-900])
    return ref


BAD = {
    "ragged": (lambda f: parquet_of(f, columns(x=ragged(41))), "row 41 of 'x' has 4 values where the first has 6"),
    "empty row": (lambda f: parquet_of(f, columns(x=[None, *X.tolist()[1:]])), "row 0 of 'x' has 0 values"),
    "words in lists": (lambda f: parquet_of(f, columns(x=[["a", "b"]] * 60)), "give numbers of shape"),
    "two of arrays": (lambda f: parquet_of(f, columns(z=X.tolist())), "has several columns of arrays ('x', 'z')"),
    "no such column": (
        lambda f: parquet_of(f, columns()) + '?{"columns":{"group":"patient"}}',
        "columns.group: ",
    ),
    "no such values": (
        lambda f: parquet_of(f, columns()) + '?{"columns":{"values":["band_*"]}}',
        "has no column 'band_*' besides labels",
    ),
    "a path": (lambda f: parquet_of(f, columns()) + '?{"columns":{"path":"x"}}', "columns.path: "),
    "no label in a row": (
        lambda f: parquet_of(f, columns(label=["a"] * 29 + [None] + ["b"] * 30)),
        "row 29 of 'label' is empty",
    ),
    "label out of range": (
        lambda f: (
            parquet_of(f, columns(mass=[0, 1, 2] * 20, cyst=[0, 1, 1] * 20)) + '?{"columns":{"label":["mass","cyst"]}}'
        ),
        "mass and cyst holds 2 among labels of 0 and 1",
    ),
    "a number to predict": (lambda f: parquet_of(f, columns(label=X[:, 0, 0])), "label is float32 of shape (60,)"),
    "no table": (lambda f: npz_of(f, x=X).replace("npz:", "parquet:"), "cannot be read as a Parquet table"),
    "cut short": (lambda f: cut(f, parquet_of(f, columns())), "cannot be read as a Parquet table"),
    "no y": (lambda f: hdf5_of(f, {"x": X, "labels": Y.tolist()}), "has no dataset 'y' (it has labels, x)"),
    "a group for x": (lambda f: hdf5_of(f, {"x/data": X, "y": Y.tolist()}), "has no dataset 'x' (it has x/data, y)"),
    "a single y": (lambda f: hdf5_of(f, {"x": X, "y": 3}), "y is a single value"),
    "rows of many lengths": (
        lambda f: hdf5_of(f, {"x": np.array([X[0, 0], X[0, 0, :3]], dtype=object)}, dtype=h5py.vlen_dtype("f4")),
        "has no dataset 'y'",
    ),
    "objects": (
        lambda f: hdf5_of(
            f, {"y": [0, 1], "x": np.array([[X[0, 0]], [X[0, 0, :3]]], dtype=object)}, dtype=h5py.vlen_dtype("f4")
        ),
        "x is object of shape (2, 1); give numbers",
    ),
    "too few y": (lambda f: hdf5_of(f, {"x": X, "y": np.arange(59) % 2}), "y has 59 entries, x has 60"),
    "labels in a table out of range": (
        lambda f: hdf5_of(f, {"x": X, "y": np.arange(120).reshape(60, 2) % 3}),
        "y holds 2 among labels of 0 and 1",
    ),
    "linked": (linked, "x lies in another file, which may change unnoticed"),
    "no HDF5": (lambda f: npz_of(f, x=X).replace("npz:", "hdf5:"), "cannot be read as an HDF5 file"),
    "truncated": (lambda f: cut(f, hdf5_of(f, {"x": X, "y": Y.tolist()})), "cannot be read as an HDF5 file"),
    "values of images": (lambda f: f"csv:{__file__}?" + '{"columns":{"values":["x"]}}', "columns.values: it names"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    make, sentence = BAD[name]
    with pytest.raises(UserError) as error:
        data.open_listing(make(tmp_path)).load(41)
    assert sentence in str(error.value) and "\n" not in str(error.value), str(error.value)
    assert str(error.value).endswith((".", "?"))


@pytest.mark.parametrize("way", ["parquet, lists", "hdf5"])
def test_a_value_that_is_no_number_is_named_with_its_place(tmp_path: Path, way: str) -> None:
    x = X.copy()
    x[31, 1, 2] = np.nan
    ref = hdf5_of(tmp_path, {"x": x, "y": Y.tolist()})
    if way.startswith("parquet"):
        cells = X.tolist()
        cells[31][1][2] = None  # a cell without a value
        ref = parquet_of(tmp_path, columns(x=cells))
    with pytest.raises(UserError, match=r"'31' of '.*' holds nan at \[1, 2\]: fill it in"):
        arrays.sound(data.open_listing(ref), 31, (2, 6))
