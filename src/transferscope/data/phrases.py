"""Small words of the sentences about images: counts, lists of names, kinds of files."""

from collections.abc import Mapping, Sequence

SHOWN = 5  # names of a list; the rest is counted


def counted(count: int, what: str) -> str:
    """'1 picture', '1,200 pictures'."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def listed(names: Sequence[str]) -> str:
    """'a', 'b' and 3 more."""
    said = ", ".join(f"'{name}'" for name in names[:SHOWN])
    return said + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def kinds(files: Mapping[str, int]) -> str:
    """Files by ending, most first: '120 .heic, 3 without an ending'."""
    ranked = sorted(files.items(), key=lambda item: (-item[1], item[0]))
    said = ", ".join(f"{count:,} {kind or 'without an ending'}" for kind, count in ranked[:SHOWN])
    rest = sum(count for _, count in ranked[SHOWN:])
    return said + (f" and {rest:,} of other kinds" if rest else "")
