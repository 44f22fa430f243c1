"""The oldest releases that CI tests with are those that pyproject.toml says it allows, all of them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_library_has_a_lower_bound_and_ci_tests_it() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "oldest.py"], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    told = dict(line.split("==") for line in done.stdout.splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for wanted in project["dependencies"]:
        name, bound = re.split(r">=", wanted)
        assert told[name] == bound
    assert {"pytest", "hypothesis", "scikit-learn"} < set(told), "what the tests need, too"
