"""Where an optional package keeps its files, found without importing it."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from transferscope.errors import UserError


def package_folder(package: str, extra: str) -> Path:
    """The folder of an installed package; a UserError naming transferscope's `extra` when it is missing."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"The package '{package}' is not installed; install it with: pip install 'transferscope[{extra}]'."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def package_version(distribution: str) -> str:
    """The installed version of a distribution, or 'unknown'."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
