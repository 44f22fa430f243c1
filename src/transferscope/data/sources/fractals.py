"""fractals:CLASSES or fractals:CLASSES/IMAGES, formula-driven grey images of random fractals, made from numbers alone.

As in FractalDB (Kataoka et al. 2020, section 3): a class is one iterated function system of 2 to 8 affine maps of the
plane, used in proportion to their determinants and redrawn while its picture fills too little. Images of a class
(100 unless said) differ by one column of parameters scaled by up to 20%, by flips and quarter turns, and by the patch
of pixels each point is drawn as. Image i of class c depends on (c, i) only, not on how many there are, and is the same
on every machine: float64 additions, products and square roots, counts, and no function that libraries round their way.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from PIL import Image

from transferscope.data.fingerprint import text_fingerprint
from transferscope.data.listing import Listing
from transferscope.errors import UserError
from transferscope.random_streams import stream

EXAMPLE = "fractals:5"
VERSION = 1  # raised when a pixel of any image changes
SIDE = 96  # pixels of the rendered square
IMAGES = 100  # of a class unless said
MOST = 10_000  # classes, and images of a class
MAPS = (2, 8)
STRONGEST = 0.98  # largest singular value of a map that is kept: every map contracts
FILLED = 0.2  # share of the pixels that a class's own picture must touch at least
JITTER = 0.2
WORDS, EACH = 512, 12  # a picture has WORDS x EACH points
AROUND = np.arange(1, WORDS + EACH) % WORDS
LEVELS = 256  # weights of the maps are multiples of 1 / LEVELS
# Brightness of a pixel hit 0, 1, 2, ... times.
TONES = np.floor(np.r_[0.0, 72 + 183 * np.sqrt(np.arange(16) / 15)]).astype(np.uint8)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fractals:
    """Image i: number i % `each` of class i // `each`, grey on black."""

    each: int

    def __call__(self, index: int) -> Image.Image:
        return Image.fromarray(image(*divmod(index, self.each)))


def check(rest: str) -> None:
    """A UserError unless `rest` is CLASSES or CLASSES/IMAGES, both whole numbers in range."""
    _counts(rest)


def fingerprint(rest: str, memo: object = None) -> str:
    """Digest of the two counts and the version of the formula."""
    classes, each = _counts(rest)
    return text_fingerprint(["fractals", str(VERSION), str(SIDE), str(classes), str(each)])


def listing(rest: str) -> Listing:
    """The images by class and number, named 00000/00000, ...; nothing is drawn yet."""
    classes, each = _counts(rest)
    return Listing(
        names=tuple(f"{c:05d}/{i:05d}" for c in range(classes) for i in range(each)),
        classes=tuple(f"fractal {c:05d}" for c in range(classes)),
        labels=np.repeat(np.arange(classes, dtype=np.int64), each),
        load=Fractals(each),
        licence="none needed: computed from formulas (Kataoka et al. 2020, Pre-training without Natural Images)",
    )


def image(label: int, number: int) -> NDArray[np.uint8]:
    """Image `number` of class `label`, uint8 (SIDE, SIDE)."""
    draws = stream(0, "fractals", "image", label, number)
    kind, scale, turns, patch, less = draws.random(5).tolist()
    maps, column, change = system(label).copy(), int(6 * kind), JITTER * (2 * scale - 1)
    kept = maps[:, column].copy()
    maps[:, column] = kept * (1 + change)
    if bool((_strength(maps) > STRONGEST).any()):  # as far below as it would have been above
        maps[:, column] = kept * (1 - change)
    drawn = TONES[np.minimum(_counted(maps, draws), len(TONES) - 1)]
    turn = int(8 * turns)
    drawn = drawn[::-1] if turn & 1 else drawn
    drawn = drawn[:, ::-1] if turn & 2 else drawn
    drawn = drawn.T if turn & 4 else drawn
    return _patched(drawn, int(512 * patch) & int(512 * less))


@lru_cache(maxsize=MOST)
def system(label: int) -> Array:
    """The maps of a class, float64 (maps, 6): rows (a, b, c, d, e, f) take (x, y) to (ax + by + e, cx + dy + f)."""
    trial = 0
    while True:  # about one trial in two is taken
        draws = stream(0, "fractals", "class", label, trial)
        count = MAPS[0] + int(draws.random() * (MAPS[1] - MAPS[0] + 1))
        drawn = draws.random((16 * count, 6)) * 2 - 1
        maps = drawn[_strength(drawn) <= STRONGEST][:count]
        if len(maps) == count and np.count_nonzero(_counted(maps, draws)) >= FILLED * SIDE * SIDE:
            return maps
        trial += 1


def _strength(maps: Array) -> Array:
    """The larger singular value of each map's matrix, (maps,)."""
    a, b, c, d = maps[:, 0], maps[:, 1], maps[:, 2], maps[:, 3]
    total, area = a * a + b * b + c * c + d * d, a * d - b * c
    return np.sqrt((total + np.sqrt(np.maximum(total * total - 4 * area * area, 0.0))) / 2)


def _counted(maps: Array, draws: np.random.Generator) -> NDArray[np.int64]:
    """How many of the points fall into each pixel, int64 (SIDE, SIDE), the attractor stretched to the whole square.

    The chaos game without its long chain. WORDS words of four random maps are drawn. Each, applied to what another one
    makes of the origin, gives a point; and each is applied to EACH of these points in a row. All points have addresses
    of their own, and none has to wait for the one before it.
    """
    edges = np.cumsum(np.abs(maps[:, 0] * maps[:, 3] - maps[:, 1] * maps[:, 2]))
    share = np.diff((edges * (LEVELS / edges[-1])).astype(np.int64), prepend=0)
    table = np.repeat(maps.T, share, axis=1)  # one column a multiple of 1 / LEVELS
    letter = table.take(draws.integers(0, table.shape[1], (4, WORDS)), axis=1)  # (6, 4, WORDS)
    pairs = _after(letter[:, 0::2], letter[:, 1::2])
    a, b, c, d, e, f = _after(pairs[:, 0], pairs[:, 1])
    half = WORDS // 2
    far_x, far_y = (np.concatenate((of[half:], of[:half])) for of in (e, f))
    points = ((p * far_x + q * far_y + r)[AROUND] for p, q, r in ((a, b, e), (c, d, f)))
    x, y = (as_strided(of, (WORDS, EACH), of.strides * 2) for of in points)  # row i: those after point i
    column = _pixel(a[:, None] * x + b[:, None] * y + e[:, None])
    row = _pixel(c[:, None] * x + d[:, None] * y + f[:, None])
    return np.bincount((row * SIDE + column).ravel(), minlength=SIDE * SIDE).reshape(SIDE, SIDE)


def _after(outer: Array, inner: Array) -> Array:
    """The maps "`inner`, then `outer`", all (6, ...)."""
    a, b, c, d, e, f = outer
    g, h, i, j, k, m = inner
    x, y = a * k + b * m + e, c * k + d * m + f
    return np.stack([a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, x, y])


def _pixel(places: Array) -> NDArray[np.int64]:
    """Row or column of each place, the extremes one pixel from the edge: a patch reaches as far."""
    least = places.min()
    span = max(float(places.max() - least), 1e-12)
    place: NDArray[np.int64] = ((places - least) * ((SIDE - 2.001) / span)).astype(np.int64)
    return place + 1


def _patched(drawn: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Every point drawn as those pixels of a 3 x 3 patch that `bits` has (none: the middle); brighter ones win."""
    out = np.zeros((SIDE, SIDE), dtype=np.uint8)
    inside = drawn[1:-1, 1:-1]
    for place in range(9):
        if (bits or 16) >> place & 1:
            part = out[place // 3 : place // 3 + SIDE - 2, place % 3 : place % 3 + SIDE - 2]
            np.maximum(part, inside, out=part)
    return out


def _counts(rest: str) -> tuple[int, int]:
    """Classes and images of each. UserError for anything else."""
    words = rest.split("/")
    if len(words) > 2 or not all(word.isascii() and word.isdecimal() for word in words):
        raise UserError(
            f"'fractals:{rest}' should read fractals:CLASSES or fractals:CLASSES/IMAGES, for example fractals:50/200."
        )
    classes, each = int(words[0]), int(words[1]) if len(words) == 2 else IMAGES
    if not 2 <= classes <= MOST or not 1 <= each <= MOST:
        raise UserError(
            f"'fractals:{rest}' asks for {classes} classes of {each} images; write 2 to {MOST} classes of 1 to {MOST}."
        )
    return classes, each
