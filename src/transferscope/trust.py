"""Whose code a study may run: modules that are installed, or that belong to the user who runs it or to the system."""

import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from transferscope import atomic_files

VARIABLE = "TRANSFERSCOPE_TRUST"  # 1: modules of every owner


def everything() -> None:
    """Trust modules of every owner from now on, in this process and in those that it starts."""
    os.environ[VARIABLE] = "1"


def doubt(name: str) -> str:
    """Why the module `name` (dotted) is not imported, in a sentence's words; "" where it may be, or is not there.

    Importing runs it. As git does with folders, one that belongs to another user is refused: whoever finds a study on a
    shared disk and looks at it shall not run what somebody put beside it. The system's own and installed packages are
    trusted, and everything after `--trust`, or where the environment says `TRANSFERSCOPE_TRUST=1`.
    """
    top = name.partition(".")[0]
    if os.environ.get(VARIABLE) == "1" or top in sys.modules or not hasattr(os, "geteuid"):
        return ""
    for place in _places(top):
        if any(place.is_relative_to(folder) for folder in _installed()):
            continue
        for one in (place, place.parent):
            if one.stat().st_uid not in _ours():
                return (
                    f"'{name}' is code of another user ({atomic_files.owner(one)} owns {one}), and importing it "
                    f"would run it: read it, then go on with --trust or {VARIABLE}=1."
                )
    return ""


def _places(top: str) -> Iterator[Path]:
    """The file of a module, or the folders of a package."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    for place in (*([spec.origin] if spec.has_location else []), *(spec.submodule_search_locations or ())):
        if place is not None and Path(place).exists():
            yield Path(place)


def _ours() -> frozenset[int]:
    """The users whose code is run: this one, the system's, and who called sudo."""
    own = os.geteuid()
    sudo = os.environ.get("SUDO_UID", "")
    return frozenset({own, 0, *([int(sudo)] if own == 0 and sudo.isdigit() else [])})


def _installed() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple(
        Path(folder)
        for folder in (
            paths["stdlib"],
            paths["platstdlib"],
            paths["purelib"],
            paths["platlib"],
            *site.getsitepackages(),
        )
    )
