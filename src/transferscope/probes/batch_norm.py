"""What becomes of batch norm's running statistics when weights change: one vocabulary for every probe of weights."""

from typing import Any, Literal

from transferscope.errors import UserError

OfLine = Literal["refresh", "average", "first", "last"]
OfBlocks = Literal["refresh", "as found"]
BatchNorm = Literal[OfLine, OfBlocks, "as given"]
"""Of the statistics of every network of a comparison: "refresh" re-estimates them on images; "as found" leaves them as
they come with the weights (mixed like these in a mixture), and "as given" is an older word for it; "average"
interpolates those of both ends of a line, "first" and "last" are those of one end."""

Of = Literal["line", "mixture", "blocks"]
# By kind of comparison: what it takes, and what its results say of it ({images}: on which, in words).
WORDS: dict[Of, dict[BatchNorm, str]] = {
    "line": {
        "refresh": "re-estimated at every alpha, the ends too, {images}",
        "average": "interpolated with the weights",
        "first": "those of network a at every alpha, the ends too",
        "last": "those of network b at every alpha, the ends too",
    },
    "mixture": {"refresh": "refresh", "as found": "as given"},
    "blocks": {"refresh": "re-estimated everywhere, {images}", "as found": "as found"},
}
NONE: dict[Of, str] = {
    "line": "the network has no batch norm",
    "mixture": "none",
    "blocks": "none in the network",
}


def known(of: Of, given: Any) -> BatchNorm:
    """`given` as the one word for what it means. Raises UserError where such a comparison does not take it."""
    taken = WORDS[of]
    word = "as found" if given == "as given" else given
    if not isinstance(word, str) or word not in taken:
        *most, last = (f"'{one}'" for one in taken)
        names = f"neither {most[0]} nor {last}" if len(most) == 1 else f"none of {', '.join(most)} and {last}"
        raise UserError(f"batch_norm: '{given}' is {names}.")
    return word


def statistics_words(of: Of, kind: BatchNorm, there: bool, images: str = "") -> str:
    """What a result says of its statistics: those of `kind`, or that no batch norm is `there`; `images` in words."""
    return WORDS[of][known(of, kind)].format(images=images) if there else NONE[of]
