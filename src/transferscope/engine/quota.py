"""Quotas: what a container or a batch system leaves this process of the machine's cores and memory, by its cgroups."""

from collections.abc import Iterator
from pathlib import Path

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cores(root: Path = ROOT, own: Path = OWN) -> float | None:
    """Cores' worth of processor time, the least that any group this process is in allows; None without a limit.

    Version 2 of cgroups says "QUOTA PERIOD" in `cpu.max`, version 1 in two files, a quota of -1 for none.
    """
    said = [line.split() for line in _said("cpu.max", root, own)]
    said += [
        [quota, period]
        for quota, period in zip(
            _said("cpu.cfs_quota_us", root, own, "cpu"), _said("cpu.cfs_period_us", root, own, "cpu"), strict=False
        )
    ]
    pairs = [(int(words[0]), int(words[1])) for words in said if len(words) == 2 and all(w.isdigit() for w in words)]
    return min((quota / period for quota, period in pairs if quota and period), default=None)


def memory(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Bytes, the least that any group this process is in allows; None without a limit, for which version 1 says nearly
    2**63."""
    said = [*_said("memory.max", root, own), *_said("memory.limit_in_bytes", root, own, "memory")]
    return min((int(text) for text in said if text.isdigit()), default=None)


def _said(file: str, root: Path, own: Path, controller: str = "") -> Iterator[str]:
    """What `file` says in the group of this process and in all above it, from the innermost: those of version 2, or
    those of a `controller` of version 1."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, names, path = line.split(":", 2)
        if (controller in names.split(",")) if controller else not names:
            group = root / controller / path.lstrip("/")
            for place in (group, *group.parents):
                if not place.is_relative_to(root / controller):
                    break
                try:
                    yield (place / file).read_text(encoding="utf-8").strip()
                except OSError:  # of another namespace, or the root of all, which has no limits
                    continue
