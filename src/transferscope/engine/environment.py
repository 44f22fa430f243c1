"""What a worker process starts with: its share of threads, and an allocator that keeps large blocks."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def worker_environment(threads: int) -> dict[str, str]:
    """What every worker process starts with: its share of threads, and an allocator that keeps large blocks.

    Freed activations stay mapped (no page-fault storm at the next batch) and large blocks may use huge pages.
    Spinning OpenMP threads starve other workers of the core, hence the passive wait.
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
    }
    return {name: os.environ.get(name, value) if name == "GLIBC_TUNABLES" else value for name, value in ours.items()}


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
