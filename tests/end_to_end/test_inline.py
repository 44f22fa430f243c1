"""`resources.executor: inline` does a whole study in one process and writes the same bytes."""

from pathlib import Path

from smoke import command, study


def test_inline_and_local_write_the_same_bytes(trained: Path, fresh: Path) -> None:
    done = command.transferscope("run", "--set", "resources.executor=inline", cwd=fresh)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on 1 worker(s) with 1 thread(s) each" in done.stdout
    study.assert_alike(fresh, trained)
