"""References of the form `scheme:rest`, where the scheme is a file of a package or anyone's importable module."""

import ast
import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from transferscope.errors import UserError, did_you_mean


def schemes(paths: Sequence[str]) -> tuple[str, ...]:
    """The file names of a package, given its `__path__`: they are the registry."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(list(paths)) if not m.name.startswith("_")))


def split(ref: str) -> tuple[str, str]:
    """`"timm:resnet18"` as `("timm", "resnet18")`; the rest is empty where there is no colon."""
    scheme, _, rest = ref.partition(":")
    return scheme.strip(), rest.strip()


def is_importable(scheme: str) -> bool:
    """Whether `scheme` is a module, or a dotted path whose top package can be found; imports nothing."""
    parts = scheme.split(".")
    if not all(part.isidentifier() for part in parts):
        return False
    try:
        return importlib.util.find_spec(parts[0]) is not None
    except (ImportError, ValueError):
        return False


def nearest(name: str, known: Sequence[str], otherwise: str) -> str:
    """The tail of an "unknown name" sentence for a registry too long to list: the nearest name, or `otherwise`."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else otherwise


def load(package: str, paths: Sequence[str], scheme: str, what: str) -> ModuleType:
    """The module of a scheme: a file of `package`, else the dotted module itself.

    Raises UserError, naming `what` ("network", "weights"), for an unknown scheme and for a module that will not import.
    """
    known = schemes(paths)
    if scheme in known:
        return importlib.import_module(f"{package}.{scheme}")
    if not is_importable(scheme):
        raise UserError(f"{what}: '{scheme}:' is not a known scheme; {did_you_mean(scheme, known)}")
    try:
        return importlib.import_module(scheme)
    except ImportError as error:
        raise UserError(
            f"{what}: cannot import '{scheme}' ({error}); install it or put its folder on PYTHONPATH."
        ) from error
    except Exception as error:  # whatever somebody's module does when it is imported
        raise UserError(f"{what}: importing '{scheme}' raised {told(error)}.") from error


def told(error: Exception) -> str:
    """Somebody's exception in a few words: its kind, and the first line of what it says."""
    line = (str(error).splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def first_lines(paths: Sequence[str]) -> dict[str, str]:
    """Every scheme of a package and the first line of its file's docstring; imports nothing."""
    return {
        name: (ast.get_docstring(ast.parse(_source(paths, name))) or "").partition("\n")[0] for name in schemes(paths)
    }


def _source(paths: Sequence[str], name: str) -> str:
    """The text of a file of a package, or of the file that a folder of it opens with."""
    places = [Path(path) / place for path in paths for place in (f"{name}.py", f"{name}/__init__.py")]
    return next(place for place in places if place.is_file()).read_text(encoding="utf-8")
