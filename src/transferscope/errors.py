"""The one exception a user is meant to read, and words for names."""

import unicodedata
from collections.abc import Mapping

SHORT = 40  # names; longer lists are not read out


UNSEEN = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: controls, undecoded bytes, separators of lines and paragraphs


def legible(text: str) -> str:
    r"""`text` as it can be shown and stored anywhere, on one line: undecoded bytes of a file name as \xe9, control
    characters and line ends as Python writes them (\n, \x1b, \u2028). Other text comes back unchanged."""
    if text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in UNSEEN else c for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


class UserError(Exception):
    """Something the user can mend: one sentence saying what, where (file:key) and what to do; names in it legible."""

    def __init__(self, sentence: str) -> None:
        super().__init__(legible(sentence))


def did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    """The tail of an "unknown name" sentence: the nearest known name, or the whole list when it is short."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    if len(known) > SHORT:
        return f"there are {len(known)}, such as {', '.join(known[:5])}."
    return f"known: {', '.join(known)}." if known else "none is known here."


def reason(error: Exception) -> str:
    """Somebody's exception in a few words: its kind, and the first line of what it says."""
    line = (str(error).splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def a_kind(thing: object) -> str:
    """What somebody gave in the place of something else, for a sentence: "None", "a dict"."""
    return "None" if thing is None else f"a {type(thing).__name__}"


def worded(labels: Mapping[str, object]) -> str:
    """The labels of a cell as a few words; what is None goes unsaid."""
    return " ".join(str(value) for value in labels.values() if value is not None)
