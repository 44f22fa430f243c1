"""Simulated studies in which the truth is known: how often the measures of uncertainty are right, by the very code.

`tests/calibration` asserts it with few repetitions. The tables of docs/statistics.md are printed with many by
`tests/calibration/tables_over_seeds.py`, and by `PYTHONPATH=src:tests/support python -m calibrated.MODULE 4000`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

NOISES = ("normal", "skewed", "very skewed")


def noise(kind: str, rng: np.random.Generator, size: tuple[int, ...]) -> NDArray[np.float64]:
    """Noise of mean 0 and deviation 1: normal, a gamma of shape 4 (skewness 1) or an exponential (skewness 2)."""
    if kind == "normal":
        return rng.normal(size=size)
    shape = {"skewed": 4.0, "very skewed": 1.0}[kind]
    return (rng.gamma(shape, size=size) - shape) / math.sqrt(shape)


def within(share: float, repetitions: int, deviations: float = 4.0) -> float:
    """By how much a share counted in `repetitions` may differ from its expectation."""
    return deviations * math.sqrt(max(share * (1 - share), 0.01) / repetitions)


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as a table in Markdown."""
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN", tbl_rows=-1, tbl_cols=-1, tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True, tbl_width_chars=200,
    ):  # fmt: skip
        print(pl.DataFrame(rows, infer_schema_length=None))
