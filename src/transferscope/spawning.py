"""Spawned processes do not import the script that this one runs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without_main() -> Iterator[None]:
    """A process spawned inside does not import `__main__`: a script that runs a study would run it again, and that of a
    notebook may have been emptied."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
