"""One scale a target: round ranges where they fit, else percentiles; the same for every picture of it."""

import numpy as np
import pytest

from transferscope.data.pictures.window import Window, markers, narrow, one_kind, window_of
from transferscope.errors import UserError

RNG = np.random.default_rng(0)


def slow(kind: str, values: np.ndarray) -> tuple[float, float]:
    """The rule in float64 by sorting."""
    ranked = sorted(float(v) for v in values if np.isfinite(v))
    low, high = np.interp([0.001 * (len(ranked) - 1), 0.999 * (len(ranked) - 1)], range(len(ranked)), ranked)
    tops = [1.0] if kind == "float" else []
    top = next((t for t in (*tops, 255.0, 1023.0, 4095.0, 16383.0, 65535.0) if low >= 0 and high <= t), None)
    return (0.0, top) if top is not None and high - low > top / 2 else (float(low), float(high))


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("16-bit", np.arange(0, 65536, 16), (0, 65535)),
        ("16-bit", np.arange(0, 40000), (0, 65535)),
        ("16-bit", np.arange(4096), (0, 4095)),  # 12 bits
        ("16-bit", np.arange(3000), (0, 4095)),
        ("16-bit", np.arange(256), (0, 255)),  # 8 bits stored in 16
        ("16-bit", np.arange(7000, 9000), None),  # a thermal camera
        ("16-bit", np.concatenate([np.full(99_990, 5), np.full(10, 65535)]), (5, 6)),  # a few hot pixels
        ("float", np.linspace(0, 1, 5000), (0, 1)),
        ("float", np.append(np.linspace(0.05, 0.65, 5000), [1.04]), (0, 1)),  # reflectance, one roof above 1
        ("float", RNG.uniform(0, 255, 5000), (0, 255)),
        ("float", RNG.normal(-18, 5, 5000), None),  # radar backscatter in dB
        ("float", np.append(RNG.uniform(-1, 1, 5000), [np.nan, np.inf, -np.inf]), None),
        ("float", np.full(9, np.nan), (0, 1)),
        ("float", np.full(9, 0.3), (0.3, 1.3)),
        ("32-bit", RNG.integers(-1000, 2000, 5000), None),  # Hounsfield units
        ("32-bit", np.append(RNG.integers(-1000, 2000, 5000), [31000]), None),  # and one screw of metal
        ("32-bit", np.arange(1, 200), (0, 255)),
    ],
)
def test_ranges(kind: str, values: np.ndarray, expected: tuple[float, float] | None) -> None:
    found = window_of(kind, values[np.isfinite(values)])
    assert found.kind == kind
    assert (found.low, found.high) == pytest.approx(expected or slow(kind, values))
    assert found.high < 3000 or kind == "16-bit", "a single value does not stretch the range"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.append(np.arange(4000), np.full(50, 65535)), (65535,)),
        (np.append(RNG.uniform(0, 1, 4000), np.full(50, -9999.0)), (-9999,)),
        (np.concatenate([np.full(9, -32768.0), RNG.uniform(0, 1, 4000), np.full(9, 32767.0)]), (-32768, 32767)),
        (np.append(np.arange(4000), np.full(2, 65535)), ()),  # hot pixels
        (np.append(np.arange(-1000, 2000), np.full(400, -2000)), ()),  # the air around a CT: near enough
        (np.repeat([0, 65535], 500), ()),  # a mask
        (np.append(np.zeros(500), np.arange(30000, 40000)), ()),  # a black background is no marker
        (np.zeros(0), ()),
    ],
)
def test_values_for_no_data(values: np.ndarray, found: tuple[float, ...]) -> None:
    assert markers(values.astype(np.float64)) == found


def test_pictures_that_hardly_use_the_scale() -> None:
    window = Window("16-bit", 0.0, 65535.0)
    assert narrow(window, np.arange(4096.0)) and narrow(window, np.zeros(0)) and not narrow(window, np.arange(9000.0))


@pytest.mark.parametrize(
    "window", [Window("float", -30.0, -5.0), Window("16-bit", 0.0, 4095.0), Window("32-bit", 7, 8)]
)
def test_bytes_equal_the_formula(window: Window) -> None:
    values = np.append(np.linspace(window.low - 2, window.high + 2, 777), [np.nan, np.inf, -np.inf]).reshape(13, 60)
    expected = [
        0 if v != v else round(255 * min(max((v - window.low) / (window.high - window.low), 0), 1))
        for v in values.ravel().tolist()
    ]
    assert window.bytes(values).dtype == np.uint8 and window.bytes(values).ravel().tolist() == expected


@pytest.mark.parametrize(
    ("kinds", "found"),
    [(["8-bit"] * 3, None), (["16-bit"], "16-bit"), (["8-bit", "16-bit"], "16-bit"), (["float"] * 2, "float")],
)
def test_kinds_that_go_together(kinds: list[str], found: str | None) -> None:
    assert one_kind(kinds, "x") == found


@pytest.mark.parametrize("kinds", [["8-bit", "float"], ["8-bit", "32-bit"], ["16-bit", "float"], ["32-bit", "16-bit"]])
def test_kinds_without_a_common_scale_are_refused(kinds: list[str]) -> None:
    with pytest.raises(UserError, match=r"'lab' mixes .* \(1 .*, 1 .* of 2 looked at\); convert them to one kind"):
        one_kind(kinds, "lab")


def test_the_scale_is_stated() -> None:
    assert Window("16-bit", 0.0, 4095.0).said(60) == (
        "Grey values 0 to 4095 (6.2% of the 16-bit range) of the 16-bit pictures are spread to 0..255, alike in all of "
        "them, as found in 60 pictures spread over the target."
    )
    assert "%" not in Window("16-bit", 0.0, 65535.0).said(60)
    said = Window("float", -27.83451234, -6.3).said(1)
    assert "-27.8345 to -6.3" in said and "0.1% at either end are clipped" in said
