"""What of a report could not be written: one sentence in its place, and the traceback in a file for developers."""

import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from transferscope import atomic_files
from transferscope.errors import UserError
from transferscope.registry import at_home

T = TypeVar("T")
LONGEST = 200  # characters of a reason


class Mishaps:
    """The sentences on what failed while one report was made, in order; the tracebacks go to the file `log`, if any."""

    def __init__(self, log: Path | None = None) -> None:
        self.log = log if log is not None and atomic_files.may_write(log) else None
        self.said: list[str] = []
        if self.log is not None:
            with suppress(OSError):
                self.log.unlink(missing_ok=True)  # it would tell of an earlier report

    def attempt(
        self,
        what: str,
        make: Callable[[], T],
        instead: Callable[[str], T],
        *,
        rest: str = "",
        through: type[BaseException] | tuple[()] = (),
    ) -> T:
        """What `make` makes; where it raises, what `instead` makes of the sentence that says so.

        `what` begins the sentence ("The chart 'x'") and `rest` ends it. Exceptions of type `through` are passed on.
        """
        try:
            with at_home():
                return make()
        except through:
            raise
        except BaseException as error:  # a panic inside polars or the chart converter is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            sentence = f"{what} could not be written: {reason(error)}{f'; {rest}' if rest else ''}."
            self.said.append(sentence)
            self._keep(sentence)
            return instead(sentence)

    def _keep(self, sentence: str) -> None:
        if self.log is None:
            return
        with suppress(OSError):  # the sentence is what counts
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{sentence}\n{traceback.format_exc()}\n")


def reason(error: BaseException) -> str:
    """An exception in a few words without a full stop; its type too unless it is a sentence for users."""
    first = next(iter(str(error).strip().splitlines()), "")
    said = first if isinstance(error, UserError) else f"{type(error).__name__}{': ' if first else ''}{first}"
    return said[:LONGEST].rstrip(". ")
