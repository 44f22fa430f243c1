"""`resources.executor: inline` does a whole study in one process and writes the same bytes."""

from pathlib import Path

from smoke import command

from transferscope import battery
from transferscope.study import Study


def test_inline_and_local_write_the_same_bytes(trained: Path, fresh: Path) -> None:
    done = command.transferscope("run", "--set", "resources.executor=inline", cwd=fresh)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on 1 worker(s) with 1 thread(s) each" in done.stdout
    assert (fresh / "results.json").read_bytes() == (trained / "results.json").read_bytes()
    plan, store = battery.plan(Study.load(trained / "study.yaml"))
    other = battery.plan(Study.load(fresh / "study.yaml"))[1]
    for step in plan.steps:
        here, there = store.get(step).path, other.get(step).path
        for name in ("rows.json", "final.safetensors"):
            if (here / name).exists():
                assert (here / name).read_bytes() == (there / name).read_bytes(), (step.task, name)
