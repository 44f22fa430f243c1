"""Extras: libraries that only some studies need, with one sentence where one is absent or broken."""

import importlib
import importlib.util
from types import ModuleType

from transferscope.errors import UserError, reason


def need(library: str, extra: str, opening: str) -> None:
    """UserError, opening with who needs it ("network: open_clip:ViT-B-32"), unless a library is installed.

    `extra` is the extra of ours that installs it. Nothing is imported.
    """
    if importlib.util.find_spec(_top(library)) is None:
        raise UserError(
            f"{opening} needs the library {_top(library)}; run python -m pip install 'transferscope[{extra}]'."
        )


def load(library: str, extra: str, opening: str) -> ModuleType:
    """A library, or a module of it, imported. UserError as of `need`, and where its import raises anything."""
    need(library, extra, opening)
    try:
        return importlib.import_module(library)
    except Exception as error:  # of half an installation, or of a release that something else does not fit
        raise UserError(
            f"{opening} needs the library {_top(library)}, which is installed but cannot be imported "
            f"({reason(error)}); run python -m pip install --upgrade --force-reinstall 'transferscope[{extra}]'."
        ) from error


def _top(library: str) -> str:
    return library.partition(".")[0]
