"""The example runs as it stands, and the public names load nothing heavy until they are used."""

import subprocess
import sys
from pathlib import Path

import pytest

import transferscope as ts

ROOT = Path(__file__).parents[2]


def test_example_runs():
    environment = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PATH": ""}
    command = [sys.executable, ROOT / "examples" / "compare_two_networks.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "layer_a" in done.stdout and "kappa" in done.stdout and "(body)" in done.stdout


def test_public_names_are_there_and_light():
    assert all(getattr(ts, name) is not None for name in ts.__all__) and set(ts.__all__) == set(dir(ts))
    with pytest.raises(AttributeError, match="no attribute 'similarty'"):
        _ = ts.similarty
    code = "import sys, transferscope; assert not {'torch', 'polars', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, check=True)
