"""Paths in references: where relative ones start."""

from pathlib import Path


def from_folder(rest: str, folder: Path) -> str:
    """The path `rest` of a reference, one that is relative made to start from `folder`; what stands after a '#' stays.

    A source of data whose `rest` is a path has it for its `absolute`.
    """
    return str((folder / Path(rest).expanduser()).absolute())
