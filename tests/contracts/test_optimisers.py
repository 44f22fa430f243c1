"""What every file of `tasks/optimisers/` promises (`contract.optimisers`)."""

import importlib
from pathlib import Path

import pytest
from contract import optimisers as contract

from transferscope.tasks import optimisers


@pytest.mark.parametrize("name", optimisers.names())
def test_optimiser(name: str, tmp_path: Path) -> None:
    contract.check_optimiser(importlib.import_module(f"{contract.PACKAGE}.{name}"), tmp_path)
