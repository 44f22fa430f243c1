"""What installing costs: megabytes and import seconds of every dependency, ``python benchmarks/install.py [EXTRA]``.

A line for each requirement of the project (of the default install, or of the extras named): its own megabytes on the
disk, those of everything that it alone brings along besides, and the seconds until it is imported in a fresh process,
less those of an empty one. Sizes are of the files that the wheels list, without what is compiled when first imported.
What several bring along (numpy) counts for none of them but for itself, if the project asks for it.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

TIMES = 3  # imports of which the quickest counts
MODULES = {"pillow": "PIL", "pyyaml": "yaml", "markdown-it-py": "markdown_it", "vl-convert-python": "vl_convert"}


def named(requirement: str) -> str:
    """The name of a requirement, as registries compare names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0]).lower()


def needed(name: str, extras: Iterable[str] = ()) -> set[str]:
    """What a package requires here, by name; of its extras too."""
    try:
        asked = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return set()
    found = set()
    for one in asked:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", one)
        if extra is None or extra[1] in extras:
            found.add(named(one))
    return {one for one in found if installed(one)}


def installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def below(names: Iterable[str]) -> set[str]:
    """These packages and all that they require."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += needed(name)
    return found


def megabytes(name: str) -> float:
    files = metadata.files(name) or []
    sizes = (Path(str(one.locate())).stat().st_size for one in files if Path(str(one.locate())).is_file())
    return sum(sizes) / 1e6


def seconds(module: str) -> float:
    """Until a fresh process has imported it and ended, at best; NaN where it cannot."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", f"import {module}" if module else ""], capture_output=True)
        taken.append(time.perf_counter() - began if done.returncode == 0 else float("nan"))
    return min(taken)


def main(extras: list[str]) -> None:
    own = needed("transferscope", extras)
    if extras:
        own -= needed("transferscope")
    empty = seconds("")
    lines = []
    for name in own:
        others = below(own - {name})
        alone = sum(megabytes(one) for one in below([name]) - others - {name})
        lines.append((megabytes(name), alone, seconds(MODULES.get(name, name.replace("-", "_"))) - empty, name))
    print(f"{'package':<28}{'MB':>8}{'brings MB':>12}{'import s':>10}")
    for size, alone, took, name in sorted(lines, reverse=True):
        print(f"{name:<28}{size:8.0f}{alone:12.0f}{took:10.2f}")
    print(f"{'all':<28}{sum(megabytes(one) for one in below(own)):8.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
