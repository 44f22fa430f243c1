"""parquet:FILE, a Parquet table with an example in every row: a column of arrays, or several columns of numbers.

`columns` of the target says which is what: `values` (the column of lists or arrays of one shape, or the columns of
numbers that make up one example, by name or pattern), `label` (one column of classes, or several of 0 and 1), `group`
and `split`. Where nothing is said, `values` is the only column of arrays, `label` a column called label, y or class,
`group` and `split` those called so. Examples are named by their place and read a piece at a time.
"""

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transferscope.data.array_files import InPieces, check_examples, existing, listing_of, rows_at_once
from transferscope.data.fingerprint import files_fingerprint, text_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.paths import from_folder
from transferscope.data.phrases import listed
from transferscope.data.target import IGNORE, Columns
from transferscope.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

LABELS = ("label", "y", "class")
PIECE = 1 << 27  # bytes: a piece decodes the whole row group that it lies in, so pieces are large


@dataclass(frozen=True)
class Roles:
    """The columns that are taken; `values` is one of arrays, or several of numbers."""

    values: tuple[str, ...]
    label: tuple[str, ...]
    group: str | None
    split: str | None


absolute = from_folder


def recognised(path: Path) -> Path | None:
    """A file that ends in .parquet."""
    return path if path.is_file() and path.suffix.lower() == ".parquet" else None


def check(rest: str, columns: Any = None, task: Any = None, blank: Any = None) -> None:
    """A UserError unless the file is a Parquet table with the columns that make up examples and labels."""
    _roles(_file(rest), columns)


def fingerprint(rest: str, memo: Path | None = None, columns: Any = None, task: Any = None, blank: Any = None) -> str:
    """Digest of the file and of which column is what."""
    roles = _roles(_file(rest), columns)
    said = (f"{role}={name}" for role in ("values", "label") for name in getattr(roles, role))
    beside = [f"{role}={getattr(roles, role)}" for role in ("group", "split")]
    beside += [f"blank={blank}"] if blank else []
    return text_fingerprint([files_fingerprint({"": _file(rest)}, memo), *said, *beside])


def listing(rest: str, columns: Any = None, task: Any = None, blank: Any = None) -> Listing:
    """The rows in their order; classes are the sorted values of the label, or the columns of 0 and 1 or, with `task`
    regression, of numbers."""
    file = _file(rest)
    roles = _roles(file, columns)
    wanted = [*roles.label, *(name for name in (roles.group, roles.split) if name)]
    table = _frame(str(file), tuple(dict.fromkeys(wanted)))
    if not table.height:
        raise UserError(f"The table '{file}' has no rows; give one for every example.")
    first = _rows(str(file), roles.values, 0, 1)
    shape, name = (table.height, *first.shape[1:]), " and ".join(roles.values[:2])
    check_examples(shape, first.dtype, file, name)
    load = InPieces(_rows, str(file), roles.values, rows_at_once(shape, first.dtype, PIECE))
    several = len(roles.label) > 1 and blank == IGNORE
    labels = [_words_or_numbers(table[column], file, several) for column in roles.label]
    beside = {
        role: table[column].cast(str).fill_null("").to_numpy()
        for role, column in (("group", roles.group), ("split", roles.split))
        if column
    }
    named = {"x": name, "y": " and ".join(roles.label[:2]), "group": str(roles.group), "split": str(roles.split)}
    y = labels[0] if len(labels) == 1 else np.stack(labels, axis=1)
    asked = {"task": task, "blank": blank}
    return listing_of(file, table.height, load, y, beside, named=named, classes=roles.label, asked=asked)


def proposed(rest: str) -> Columns | None:
    """The columns that `init` writes into a study of a table without a column of arrays, for its reader to look over:
    all of numbers make up an example, but whole numbers that differ in every row. None where arrays are found."""
    file = _file(rest)
    schema = _schema(file)
    if any(dtype.is_nested() for dtype in schema.values()):
        return None
    label = _label(file, schema, None)
    numbers = [n for n, dtype in schema.items() if dtype.is_numeric() and n not in (*label, "group", "split")]
    whole = [name for name in numbers if schema[name].is_integer()]
    table = _frame(str(file), tuple(whole))
    ids = {name for name in whole if table[name].n_unique() == table.height}
    return Columns(values=tuple(name for name in numbers if name not in ids), label=label)


def _roles(file: Path, columns: Any) -> Roles:
    """What every column is, as said or by its name. UserError for one that is not there, or where none is found."""
    schema, said = _schema(file), Columns.model_validate(columns or {})
    for role in ("path", "text"):
        if getattr(said, role) is not None:
            raise UserError(f"columns.{role}: '{file}' holds the examples themselves, as numbers; remove it.")
    label = _label(file, schema, said.label)
    beside = {
        role: None if said.without(role) else getattr(said, role) or (role if role in schema else None)
        for role in ("group", "split")
    }
    for role, names in {"label": label, **{role: (name,) for role, name in beside.items() if name}}.items():
        for name in names:
            if name not in schema:
                raise UserError(f"columns.{role}: '{file}' has no column '{name}'; {did_you_mean(name, list(schema))}")
    taken = {*label, *(name for name in beside.values() if name)}
    free = {name: dtype for name, dtype in schema.items() if name not in taken}
    values = _values(file, free, said.values)
    return Roles(values, label, beside["group"], beside["split"])


def _label(file: Path, schema: "dict[str, pl.DataType]", said: tuple[str, ...] | None) -> tuple[str, ...]:
    found = said or next(((name,) for name in LABELS if name in schema), None)
    if found is None:
        raise UserError(f"'{file}' has no column 'label' (it has {listed(list(schema))}); name it with columns.label.")
    return found


def _values(file: Path, free: "dict[str, pl.DataType]", said: tuple[str, ...] | None) -> tuple[str, ...]:
    """The one column of arrays, or the columns of numbers that were named."""
    arrays = [name for name, dtype in free.items() if dtype.is_nested()]
    if said is None:
        if len(arrays) == 1:
            return (arrays[0],)
        what = f"several columns of arrays ({listed(arrays)})" if arrays else "no column of arrays"
        numbers = [name for name, dtype in free.items() if dtype.is_numeric()]
        raise UserError(
            f"'{file}' has {what}; name the one, or the columns of numbers that make up an example, with "
            f"columns.values (columns of numbers: {listed(numbers) or 'none'})."
        )
    found: list[str] = []
    for pattern in said:
        fitting = [pattern] if pattern in free else fnmatch.filter(free, pattern)
        if not fitting:
            hint = did_you_mean(pattern, list(free))
            raise UserError(f"columns.values: '{file}' has no column '{pattern}' besides labels; {hint}")
        found += fitting
    if twice := [name for name in found if found.count(name) > 1]:
        raise UserError(f"columns.values: '{twice[0]}' of '{file}' is named twice; name every column once.")
    if len(found) > 1 and (strange := [name for name in found if not free[name].is_numeric()]):
        raise UserError(
            f"columns.values: '{strange[0]}' of '{file}' holds {free[strange[0]]}, no numbers; leave it out."
        )
    return tuple(found)


def _rows(file: str, parts: tuple[str, ...], start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` as (n, ...); a cell without a value is NaN."""
    frame = _frame(file, parts, start, stop - start)
    if len(parts) == 1 and frame.dtypes[0].is_nested():
        return _dense(frame.to_series(), file, start)
    return np.stack([series.to_numpy() for series in frame], axis=1)


def _dense(series: "pl.Series", file: str, start: int) -> np.ndarray:
    """A column of lists or arrays, nested to any depth, as (n, ...). UserError names the first row that is ragged."""
    name, shape, held = series.name, [len(series)], series.dtype
    while series.dtype.is_nested():
        if not hasattr(series.dtype, "inner"):
            raise UserError(f"'{file}': '{name}' holds {held}; give lists or arrays of numbers.")
        lists = series.arr.to_list() if hasattr(series.dtype, "size") else series
        sizes = lists.list.len().fill_null(0)
        if odd := (sizes != sizes[0]).arg_true().to_list() or ([0] if not sizes[0] else []):
            row = start + odd[0] * shape[0] // len(series)
            raise UserError(
                f"'{file}': row {row} of '{name}' has {sizes[odd[0]]} values where the first has {sizes[0]}; all "
                "arrays must have one shape: cut or pad them, or leave the row out."
            )
        shape.append(int(sizes[0]))
        series = lists.explode()
    return series.to_numpy().reshape(shape)


def _words_or_numbers(series: "pl.Series", file: Path, empty: bool = False) -> np.ndarray:
    """The cells (n,) of a column of labels, one without a value NaN where there may be `empty` ones; else UserError."""
    import polars as pl

    if empty and series.dtype.is_numeric():
        return series.cast(pl.Float64).to_numpy()
    if series.null_count():
        row = series.is_null().arg_true()[0]
        raise UserError(f"'{file}': row {row} of '{series.name}' is empty; give it a label or leave the row out.")
    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        return np.array(series.cast(pl.String).to_list())
    return series.to_numpy()


def _schema(file: Path) -> "dict[str, pl.DataType]":
    import polars as pl

    try:
        return dict(pl.read_parquet_schema(file))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(_no_table(file, error)) from None


def _frame(file: str, columns: tuple[str, ...], start: int = 0, count: int | None = None) -> "pl.DataFrame":
    import polars as pl

    try:
        lines = pl.scan_parquet(file, glob=False, hive_partitioning=False).select(columns)
        return lines.slice(start, count).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(_no_table(file, error)) from None


def _no_table(file: Path | str, error: Exception) -> str:
    why = (str(error).splitlines() or [""])[0].rstrip(".")
    return f"'{file}' cannot be read as a Parquet table ({why}); write it again."


def _file(rest: str) -> Path:
    return existing(rest, "parquet", "a Parquet table with an example in every row")
