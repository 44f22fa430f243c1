"""What a worker process starts with: its share of threads, an allocator that keeps large blocks, its compiled code."""

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from transferscope.engine.machine import this_machine


def worker_environment(threads: int) -> dict[str, str]:
    """What every worker process starts with: its share of threads, and an allocator that keeps large blocks.

    Freed activations stay mapped (no page-fault storm at the next batch) and large blocks may use huge pages.
    Spinning OpenMP threads starve other workers of the core, hence the passive wait. What a worker prints is UTF-8
    whatever the locale.
    """
    ours = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
        "MALLOC_TOP_PAD_": str(64 << 20),
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "PYTORCH_ENABLE_MPS_FALLBACK": "1",  # what Apple's GPUs lack is done on the processor
        "PYTHONIOENCODING": "utf-8:backslashreplace",  # what somebody's code prints must not end its step
    }
    return {name: os.environ.get(name, value) if name == "GLIBC_TUNABLES" else value for name, value in ours.items()}


def import_paths() -> str:
    """Where this process finds modules besides what is installed, for one that does not inherit it: a `PYTHONPATH`."""
    installed = (sys.prefix, sys.base_prefix)
    here = [path or str(Path.cwd()) for path in sys.path]
    own = [path for path in here if not any(Path(path).is_relative_to(home) for home in installed)]
    said = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return os.pathsep.join(dict.fromkeys([*said, *own]))


@contextmanager
def set_to(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables set inside the block, and as they were after it."""
    kept = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def compiled_folder() -> Path:
    """Where torch keeps what it compiled, for one kind of processor and one torch: never in a store, because it is
    executed. A folder that only this user can write, in the user's cache (`XDG_CACHE_HOME`), or else a fresh one.
    """
    kind = f"{this_machine().processor} torch {importlib.metadata.version('torch')}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "transferscope" / "compiled"
    folder = cache / "".join(c if c.isalnum() or c == "." else "-" for c in kind)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for one in (cache, folder):
            if one.is_symlink() or one.stat().st_uid != os.getuid():
                raise OSError
            one.chmod(0o700)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="transferscope-compiled-"))
    return folder
