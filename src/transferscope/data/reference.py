"""References such as `folder:PATH`: which source reads them, what it lists, and their fingerprint."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from transferscope import input_nouns, registry
from transferscope.data.fingerprint import text_fingerprint
from transferscope.data.listing import ASKED, Listing, check_listing, legible_names
from transferscope.data.pictures.decode import Picked
from transferscope.data.target import from_folder
from transferscope.data.target_options import asked_for
from transferscope.errors import UserError, legible
from transferscope.registry import apart, joined

SOURCES = "transferscope.data.sources"
PICTURES = ("window", "channels", "depth")  # options of a target that are no source's


def source_names() -> dict[str, str]:
    """Every built-in source of images and the first line of its docstring; a source is a file of `data/sources`."""
    return registry.lines(SOURCES)


def recognised(path: Path) -> str | None:
    """The reference by which what lies at `path` is read, of the first source that knows it; None where none does."""
    for scheme in registry.names(SOURCES):
        source = registry.module(SOURCES, scheme, "")
        if hasattr(source, "recognised") and (found := source.recognised(path)) is not None:
            return f"{scheme}:{found}"
    return None


def open_listing(ref: str) -> Listing:
    """The checked listing of a reference `scheme:rest`; a UserError when it cannot be used as a classification set."""
    source, rest, options, how, asked = _resolve(ref)
    with _readable(ref):
        found = _read_so(replace(source.listing(rest, **options), ref=ref), how)
        try:
            return legible_names(check_listing(asked_for(found, asked), where=apart(ref)[0]))
        except UserError as error:
            raise UserError(input_nouns.of_texts(str(error)) if found.holds == "texts" else str(error)) from None


def source_fingerprint(ref: str, memo: Path | None = None) -> str:
    """Hex digest of everything behind a reference that can change its listing or pixels.

    `memo` is a folder where content hashes of files are kept between calls, as in `files_fingerprint`.
    """
    source, rest, options, how, asked = _resolve(ref)
    with _readable(ref):
        digest: str = source.fingerprint(rest, memo, **options)
    return text_fingerprint([digest, joined("", {**how, **asked})]) if how or asked else digest


def check_ref(ref: str) -> None:
    """Cheap look at a reference (scheme, existence, installed extra); a UserError when it cannot work."""
    source, rest, options, *_ = _resolve(ref)
    if hasattr(source, "check"):
        with _readable(ref):
            source.check(rest, **options)


def absolute(ref: str, folder: Path) -> str:
    """The reference with a relative path made to start from `folder`; references without a path come back unchanged."""
    source, rest, options, how, asked = _resolve(ref)
    if not rest or not hasattr(source, "absolute"):
        return ref
    said = {**from_folder(options, folder), **how, **asked}
    return joined(f"{ref.partition(':')[0]}:{source.absolute(rest, folder)}", said)


def _read_so(listing: Listing, how: Mapping[str, Any]) -> Listing:
    """The listing with its pictures read as a target says. UserError for one that holds none."""
    if not how:
        return listing
    if listing.holds != "images":
        raise UserError(f"{next(iter(how))}: '{apart(listing.ref)[0]}' holds {listing.holds}, no pictures; remove it.")
    window, channels = how.get("window"), how.get("channels")
    load: Any = listing.load
    if hasattr(load, "exact"):  # it reads files, or what was one
        load = replace(load, exact=True, stacked=channels is not None)
    if channels:
        load = Picked(load, tuple(channels))
    window = tuple(window) if isinstance(window, list) else window
    return replace(
        listing, load=load, window=window, channels=tuple(channels) if channels else None, depth=how.get("depth", 8)
    )


@contextmanager
def _readable(ref: str) -> Iterator[None]:
    try:
        with registry.at_home():
            yield
    except OSError as error:
        raise UserError(f"'{apart(ref)[0]}' cannot be read: {error.strerror or error} ('{error.filename}').") from error


def _resolve(reference: str) -> tuple[ModuleType, str, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The module of a reference's scheme, what follows the colon, the options that the source is given, and those that
    say how its pictures are read and what is asked of networks, whatever the source."""
    ref, options = apart(reference)
    if not ref.isprintable() and legible(ref) != ref:  # it is written into study files, keys and results
        raise UserError(
            f"'{ref}' has bytes in its path that are no UTF-8 text, or control characters; rename that folder."
        )
    scheme, _, rest = ref.partition(":")
    source = _module(scheme, ref)
    how = {name: options.pop(name) for name in PICTURES if name in options}
    asked = {name: options.pop(name) for name in ASKED if name in options}
    taken = inspect.signature(source.listing).parameters
    if asked.get("task") == "regression":
        if "task" not in taken:
            raise UserError(f"task: the source '{scheme}' of '{ref}' gives classes, no numbers to predict; remove it.")
        options["task"] = "regression"
    strange = [name for name in options if name not in taken]
    if strange:
        raise UserError(f"{strange[0]}: the source '{scheme}' of '{ref}' knows nothing of it; remove it.")
    return source, rest, options, how, asked


def _module(scheme: str, ref: str) -> ModuleType:
    shipped = scheme in registry.names(SOURCES)
    if not shipped and not registry.is_dotted(scheme):
        hint = registry.hint(SOURCES, scheme)
        raise UserError(f"Unknown data source '{scheme}' in '{ref}'; write scheme:rest, {hint}")
    lost = f"The data source '{ref}' needs a module '{scheme}', which cannot be imported"
    module = registry.module(SOURCES, scheme, "", lambda why: f"{lost} ({why}).")
    if shipped:
        return module
    absent = [name for name in ("listing", "fingerprint") if not hasattr(module, name)]
    if absent:
        raise UserError(f"The module '{scheme}' of the data source '{ref}' has no function '{absent[0]}(rest, ...)'.")
    return module
