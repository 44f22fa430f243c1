"""The example of the line between two checkpoints runs as it stands and says what its header promises."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "line_between_two_checkpoints.py"), run_name="__main__")
    said = capsys.readouterr().out
    told = re.findall(r"--- (tuned|scratch): barrier (\d\.\d+)", said)
    heights = {kind: float(height) for kind, height in told}
    assert heights["tuned"] < 0.1 < 0.3 < heights["scratch"]
    matched = float(re.findall(r"channels matched: (\d\.\d+)", said)[0])
    assert matched < heights["scratch"] and "per_weight" in said
