"""The example of the line between two checkpoints runs as it stands and says what its header promises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_example_runs():
    environment = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PATH": ""}
    command = [sys.executable, ROOT / "examples" / "line_between_two_checkpoints.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = re.findall(r"--- (tuned|scratch): barrier (\d\.\d+)", done.stdout)
    heights = {kind: float(height) for kind, height in told}
    assert heights["tuned"] < 0.1 < 0.3 < heights["scratch"]
    matched = float(re.findall(r"channels matched: (\d\.\d+)", done.stdout)[0])
    assert matched < heights["scratch"] and "per_weight" in done.stdout
