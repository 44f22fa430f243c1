"""References such as `folder:PATH`: which source reads them, what it lists, and their fingerprint."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from transferscope.data import sources
from transferscope.data.listing import Listing, check_listing, legible_names
from transferscope.data.target import apart, from_folder, joined
from transferscope.errors import UserError, did_you_mean, legible


def source_names() -> dict[str, str]:
    """Every built-in source of images and the first line of its docstring; a source is a file of `data/sources`."""
    return _first_lines(tuple(sources.__path__))


@cache  # a plan of 3,000 steps must not list the folder 3,000 times
def _first_lines(folders: tuple[str, ...]) -> dict[str, str]:
    """The modules of a package, or its folders with an ``__init__.py``, and the first lines of their docstrings."""
    found = {}
    for name in sorted(m.name for m in pkgutil.iter_modules(folders) if not m.name.startswith("_")):
        places = [Path(folder) / place for folder in folders for place in (f"{name}.py", f"{name}/__init__.py")]
        text = next(place for place in places if place.is_file()).read_text(encoding="utf-8")
        found[name] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return found


def open_listing(ref: str) -> Listing:
    """The checked listing of a reference `scheme:rest`; a UserError when it cannot be used as a classification set."""
    source, rest, options = _resolve(ref)
    with _readable(ref):
        found = replace(source.listing(rest, **options), ref=ref)
        return legible_names(check_listing(found, where=apart(ref)[0]))


def source_fingerprint(ref: str, memo: Path | None = None) -> str:
    """Hex digest of everything behind a reference that can change its listing or pixels.

    `memo` is a folder where content hashes of files are kept between calls, as in `files_fingerprint`.
    """
    source, rest, options = _resolve(ref)
    with _readable(ref):
        digest: str = source.fingerprint(rest, memo, **options)
        return digest


def check_ref(ref: str) -> None:
    """Cheap look at a reference (scheme, existence, installed extra); a UserError when it cannot work."""
    source, rest, options = _resolve(ref)
    if hasattr(source, "check"):
        with _readable(ref):
            source.check(rest, **options)


def absolute(ref: str, folder: Path) -> str:
    """The reference with a relative path made to start from `folder`; references without a path come back unchanged."""
    source, rest, options = _resolve(ref)
    if not rest or not hasattr(source, "absolute"):
        return ref
    return joined(f"{ref.partition(':')[0]}:{source.absolute(rest, folder)}", from_folder(options, folder))


@contextmanager
def _readable(ref: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"'{apart(ref)[0]}' cannot be read: {error.strerror or error} ('{error.filename}').") from error


def _resolve(reference: str) -> tuple[ModuleType, str, dict[str, Any]]:
    """The module of a reference's scheme, what follows the colon, and the options that the source is given."""
    ref, options = apart(reference)
    if not ref.isprintable() and legible(ref) != ref:  # it is written into study files, keys and results
        raise UserError(
            f"'{ref}' has bytes in its path that are no UTF-8 text, or control characters; rename that folder."
        )
    scheme, _, rest = ref.partition(":")
    source = _module(scheme, ref)
    taken = inspect.signature(source.listing).parameters
    strange = [name for name in options if name not in taken]
    if strange:
        raise UserError(f"{strange[0]}: the source '{scheme}' of '{ref}' knows nothing of it; remove it.")
    return source, rest, options


def _module(scheme: str, ref: str) -> ModuleType:
    if scheme in source_names():
        return importlib.import_module(f"transferscope.data.sources.{scheme}")
    if "." not in scheme or not all(part.isidentifier() for part in scheme.split(".")):
        hint = did_you_mean(scheme, tuple(source_names()))
        raise UserError(f"Unknown data source '{scheme}' in '{ref}'; write scheme:rest, {hint}")
    try:
        module = importlib.import_module(scheme)
    except ModuleNotFoundError as error:
        if error.name and not scheme.startswith(error.name):
            raise
        raise UserError(f"The data source '{ref}' needs a module '{scheme}', which Python cannot find.") from None
    absent = [name for name in ("listing", "fingerprint") if not hasattr(module, name)]
    if absent:
        raise UserError(f"The module '{scheme}' of the data source '{ref}' has no function '{absent[0]}(rest, ...)'.")
    return module
