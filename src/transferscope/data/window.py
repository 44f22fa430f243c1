"""One scale for all grey values of a target whose pictures have more than 8 bits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from transferscope.errors import UserError

KINDS = {"16-bit": 65535.0, "32-bit": 65535.0, "float": 1.0}  # of grey pictures with more than 8 bits
ROUND = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # tops of 8, 10, 12, 14 and 16 bits; of floats 1 as well
TAIL = 0.001  # of the values at either end may be clipped where no round range fits
USED = 0.5  # of a round range that the values must span, for it to be taken


@dataclass(frozen=True)
class Window:
    """Grey values `low` to `high` of pictures of one kind ('16-bit', '32-bit' integers or 'float') spread to 0..255."""

    kind: str
    low: float
    high: float

    def bytes(self, values: np.ndarray) -> np.ndarray:
        """uint8 of any shape: 255 (v - low) / (high - low), rounded and clipped; NaN is black."""
        exact = np.asarray(values, dtype=np.float64)
        share = np.clip((exact - self.low) / (self.high - self.low), 0.0, 1.0)
        scaled: np.ndarray = np.rint(np.nan_to_num(share, nan=0.0) * 255.0).astype(np.uint8)
        return scaled

    def said(self, looked: int) -> str:
        """The sentence about it; `looked` pictures were looked at to find it."""
        low, high = (f"{value:.6g}" for value in (self.low, self.high))
        words = {
            "16-bit": "16-bit pictures",
            "32-bit": "32-bit pictures",
            "float": "floating-point pictures",
        }
        use = (self.high - self.low) / 65535.0
        part = f" ({max(use, 0.001):.1%} of the 16-bit range)" if self.kind == "16-bit" and use < 1 else ""
        clipped = "" if self.low == 0 and self.high in (1.0, *ROUND) else f"; {TAIL:.1%} at either end are clipped"
        return (
            f"Grey values {low} to {high}{part} of the {words[self.kind]} are spread to 0..255, alike in all of them, "
            f"as found in {looked:,} pictures spread over the target{clipped}."
        )


def kind_of(image: Image.Image) -> str:
    """'8-bit', or a kind of `KINDS`; only the header is read."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return "16-bit"
    return {"I": "32-bit", "F": "float"}.get(image.mode, "8-bit")


def window_of(kind: str, values: Sequence[np.ndarray]) -> Window:
    """The window of a kind for the values (n,) of several pictures, which need not be finite.

    Where 0.1% to 99.9% of all values, taken together, lie within 0 and a round top (255, 1023, 4095, 16383 or 65535;
    of floats 1 first) and span more than half of it, the smallest such range; otherwise these two percentiles.
    """
    pooled = np.concatenate([np.asarray(v, dtype=np.float64) for v in values]) if values else np.zeros(0)
    pooled = pooled[np.isfinite(pooled)]
    if not len(pooled):
        return Window(kind, 0.0, KINDS[kind])
    low, high = (float(v) for v in np.quantile(pooled, (TAIL, 1 - TAIL)))
    for top in (1.0, *ROUND) if kind == "float" else ROUND:
        if low >= 0.0 and high <= top:
            if high - low > USED * top:
                return Window(kind, 0.0, top)
            break
    return Window(kind, low, high if high > low else low + 1.0)


def one_kind(kinds: Sequence[str], where: str) -> str | None:
    """The kind of the deep pictures of a target, None where all have 8 bits.

    8-bit and 16-bit pictures may lie side by side, each scaled from a range of its own; 32-bit integers and floats have
    no range that another kind could share: UserError.
    """
    deep = sorted(set(kinds) - {"8-bit"})
    if len(deep) > 1 or (deep and deep[0] != "16-bit" and "8-bit" in kinds):
        counts = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in sorted(set(kinds)))
        raise UserError(
            f"'{where}' mixes pictures whose grey values have no common scale ({counts} of {len(kinds):,} looked at); "
            "convert them to one kind."
        )
    return deep[0] if deep else None
