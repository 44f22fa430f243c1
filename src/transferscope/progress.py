"""How far a long measurement has got, for who waits for it: a bar on a terminal or in a notebook, elsewhere nothing.

Steps of a study are silent: the study tells of them. `TQDM_DISABLE=1` silences the rest.
"""

import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

AFTER = 2.0  # seconds from which on a bar is shown

T = TypeVar("T")
_silent: ContextVar[bool] = ContextVar("silent", default=False)


class Bar(Protocol):
    """What counts: `update` when something is done, `close` at the end."""

    def update(self, n: float | None = 1) -> Any: ...

    def close(self) -> Any: ...


class _Nothing:
    """A bar that nobody sees."""

    def update(self, n: float | None = 1) -> None:
        """Nobody is told."""

    def close(self) -> None:
        """There is nothing to take away."""


@contextmanager
def silent() -> Iterator[None]:
    """No bars while this lasts."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def bar(what: str, total: int | None = None) -> Bar:
    """A bar for so many of something, or where the `total` is not known a count; it is gone when it is closed."""
    if not _watched():
        return _Nothing()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without widgets gets text
        from tqdm.auto import tqdm
    room = {}
    if sys.stderr.isatty():  # tqdm is mute on terminals that say that they have no lines or columns
        columns, lines = shutil.get_terminal_size()
        room = {"ncols": columns, "nrows": lines}
    shown: Bar = tqdm(desc=what, unit="", total=total, delay=AFTER, leave=False, file=sys.stderr, **room)
    return shown


def over(things: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The things themselves, counted while they are gone through, also where that ends early."""
    shown = bar(what, len(things) if isinstance(things, Sized) else total)
    try:
        for thing in things:
            yield thing
            shown.update()
    finally:
        shown.close()


def _watched() -> bool:
    """Whether somebody sees what is written to stderr while it is written."""
    stream = sys.stderr
    if _silent.get() or stream is None:
        return False
    return stream.isatty() or type(stream).__module__.startswith("ipykernel")
