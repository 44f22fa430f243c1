"""What containers and batch systems leave of a machine, by trees of cgroups of both versions."""

from pathlib import Path

import pytest

from transferscope.engine import machine, quota


def tree(folder: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    """(the root of the groups, the file that says in which this process is)."""
    for name, text in files.items():
        (folder / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup" / name).write_text(f"{text}\n")
    (folder / "own").write_text(own)
    return folder / "cgroup", folder / "own"


@pytest.mark.parametrize(
    ("own", "files", "cores", "memory"),
    [
        ("0::/\n", {"cpu.max": "150000 100000", "memory.max": "2000000000"}, 1.5, 2_000_000_000),  # a container's own
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000", "a/b/memory.max": "7"}, 0.5, 7),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "400000 100000"}, 2.0, None),  # the least counts
        ("0::/../outside\n", {}, None, None),  # as seen from another namespace
        (
            "4:cpu,cpuacct:/job\n3:memory:/job\n0::/\n",
            {
                "cpu/job/cpu.cfs_quota_us": "300000",
                "cpu/job/cpu.cfs_period_us": "100000",
                "memory/job/memory.limit_in_bytes": "9",
            },
            3.0,
            9,
        ),
        ("4:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, None, None),
        ("", {}, None, None),
    ],
)
def test_the_least_of_all_groups_counts(own, files, cores, memory, tmp_path: Path) -> None:
    where = tree(tmp_path, own, files)
    assert quota.cores(*where) == cores and quota.memory(*where) == memory


def test_there_are_no_more_workers_than_cores_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine._cores()
    for allowed, cores in ((0.4, 1), (1.9, 1), (None, before), (1000.0, before)):
        monkeypatch.setattr(quota, "cores", lambda allowed=allowed: allowed)
        assert machine._cores() == cores
    assert quota.memory(tmp_path, tmp_path / "none") is None, "where there are no cgroups"
