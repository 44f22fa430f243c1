"""What a data set that can be fetched lists: its files."""

from typing import NamedTuple


class Published(NamedTuple):
    """A file by its address below `BASE`, its `name` below the root, and the folder that an archive `unpacks` to."""

    address: str
    name: str
    unpacks: str | None = None
