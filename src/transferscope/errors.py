"""The one exception a user is meant to read, and words for names."""

from collections.abc import Mapping

SHORT = 40  # names; longer lists are not read out


class UserError(Exception):
    """Something the user can mend: one sentence saying what, where (file:key) and what to do."""


def did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    """The tail of an "unknown name" sentence: the nearest known name, or the whole list when it is short."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    if len(known) > SHORT:
        return f"there are {len(known)}, such as {', '.join(known[:5])}."
    return f"known: {', '.join(known)}." if known else "none is known here."


def worded(labels: Mapping[str, object]) -> str:
    """The labels of a cell as a few words; what is None goes unsaid."""
    return " ".join(str(value) for value in labels.values() if value is not None)
