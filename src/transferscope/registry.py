"""Registries: the modules of a package are a list of names, and a dotted path stands for anyone's module beside them.

Sources of images, networks, weights, analyses and executors are found so, most by a reference `scheme:rest`.
"""

import ast
import difflib
import importlib
import importlib.util
import json
import os
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from transferscope import trust
from transferscope.errors import UserError, did_you_mean, reason

MARK = "?{"  # where a reference ends and its options begin
_foreign: set[str] = set()  # packages beside which this process imported somebody's own modules


def names(package: str) -> tuple[str, ...]:
    """The modules of a package in alphabetical order, those with a leading underscore left out; imports none."""
    return _names(_folders(package))


def lines(package: str) -> dict[str, str]:
    """Every name of a package and the first line of its module's docstring; imports none."""
    return _lines(_folders(package))


def module(package: str, name: str, where: str, absent: Callable[[str], str] | None = None) -> ModuleType:
    """The module `name` of a package, else anyone's by its dotted path.

    UserError, opening with `where` ("network"; "" for nothing), for one that belongs to another user (see `trust`) and
    for one that will not import: `absent` is the rest of the sentence where Python finds no such module, or none of
    those that it imports, given why.
    """
    if name in names(package):
        return importlib.import_module(f"{package}.{name}")
    opening = f"{where}: " if where else ""
    if why := trust.doubt(name):
        raise UserError(f"{opening}{why}")
    _foreign.add(package)
    try:
        with at_home():
            return importlib.import_module(name)
    except ImportError as error:
        why = f"cannot import '{name}' ({error}); install it or put its folder on PYTHONPATH."
        raise UserError(opening + (absent(str(error)) if absent else why)) from error
    except Exception as error:  # whatever somebody's module does when it is imported
        raise UserError(f"{opening}importing '{name}' raised {reason(error)}.") from error


def foreign(packages: Iterable[str]) -> bool:
    """Whether this process imported a module, or tried to, that stands beside those of one of the packages."""
    return not _foreign.isdisjoint(packages)


@contextmanager
def at_home() -> Iterator[None]:
    """The working directory after the block is that before it: somebody's code may change it, and the paths of a study
    start there."""
    try:
        here = os.getcwd()  # noqa: PTH109
    except FileNotFoundError:  # it was deleted: nothing can be kept
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(here)


def hint(package: str, name: str) -> str:
    """The tail of an "unknown name" sentence: see `did_you_mean`."""
    return did_you_mean(name, names(package))


def nearest(name: str, known: Sequence[str], otherwise: str) -> str:
    """The tail of an "unknown name" sentence for names too many to list: the nearest name, or `otherwise`."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else otherwise


def split(ref: str) -> tuple[str, str]:
    """`"timm:resnet18"` as `("timm", "resnet18")`; the rest is empty where there is no colon."""
    scheme, _, rest = ref.partition(":")
    return scheme.strip(), rest.strip()


def joined(ref: str, options: Mapping[str, Any]) -> str:
    """A reference and its options as one text; canonical, so that equal options give equal texts."""
    return ref + "?" + json.dumps(options, sort_keys=True, separators=(",", ":")) if options else ref


def apart(reference: str) -> tuple[str, dict[str, Any]]:
    """The plain reference and the options of what `joined` made."""
    ref, mark, rest = reference.partition(MARK)
    if not mark:
        return reference, {}
    try:
        options = json.loads("{" + rest)
    except ValueError:
        return reference, {}
    return ref, options


def is_dotted(name: str) -> bool:
    """Whether `name` is written as a path of modules, two at least, which may or may not exist."""
    return "." in name and all(part.isidentifier() for part in name.split("."))


def is_importable(name: str) -> bool:
    """Whether `name` is a module, or a dotted path whose top package can be found; imports nothing."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return False
    try:
        return importlib.util.find_spec(parts[0]) is not None
    except (ImportError, ValueError):
        return False


def need(name: str, ref: str) -> None:
    """UserError unless the package of the dotted `name` can be found, which the reference `ref` names."""
    if not is_importable(name):
        raise UserError(f"there is no package '{name.split('.')[0]}' for '{ref}'; put it on PYTHONPATH.")


def _folders(package: str) -> tuple[str, ...]:
    return tuple(importlib.import_module(package).__path__)


@cache  # a plan of 3,000 steps must not list the folders 3,000 times
def _names(folders: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(folders) if not m.name.startswith("_")))


@cache
def _lines(folders: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in _names(folders):
        places = (Path(folder) / end for folder in folders for end in (f"{name}.py", f"{name}/__init__.py"))
        text = next(place for place in places if place.is_file()).read_text(encoding="utf-8")
        found[name] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return found
