"""The example runs as it stands, and the public names load nothing heavy until they are used."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import transferscope as ts

ROOT = Path(__file__).parents[2]


def test_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "compare_two_networks.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "layer_a" in said and "kappa" in said and "(body)" in said


def test_public_names_are_there_and_light():
    assert all(getattr(ts, name) is not None for name in ts.__all__) and set(ts.__all__) == set(dir(ts))
    with pytest.raises(AttributeError, match="no attribute 'similarty'"):
        _ = ts.similarty
    code = "import sys, transferscope; assert not {'torch', 'polars', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, check=True)
