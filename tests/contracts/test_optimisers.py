"""What every file of `tasks/optimisers/` promises (`contract.optimisers`), and every optimiser of timm."""

import importlib
from importlib import metadata
from pathlib import Path

import pytest
from contract import optimisers as contract

from transferscope.tasks import optimisers
from transferscope.tasks.optimisers import _timm


@pytest.mark.parametrize("name", optimisers.names())
def test_optimiser(name: str, tmp_path: Path) -> None:
    contract.check_optimiser(importlib.import_module(f"{contract.PACKAGE}.{name}"), tmp_path)


@pytest.mark.parametrize("name", _timm.names())
def test_timms_rest_at_rate_0_and_resume_in_the_same_bytes(name: str, tmp_path: Path) -> None:
    contract.check_groups(name)
    if not (name in ("laprop", "claprop") and metadata.version("timm") < "1.0.16"):  # there they moved at rate 0
        contract.check_rate(name)
    contract.check_resuming(name, tmp_path)


@pytest.mark.parametrize("name", ["lamb", "lion", "adam"])
def test_timms_learn(name: str) -> None:
    contract.check_learning(name)


def test_the_list_is_timms_own() -> None:
    from timm.optim import get_optimizer_info, list_optimizers

    second_names = {"nesterov", "nesterovw"}  # of sgd and sgdw
    assert {*_timm.records()} == {*list_optimizers()} - second_names
    for name, record in _timm.records().items():
        info = get_optimizer_info(name)
        said = {"momentum": info.has_momentum, "betas": info.has_betas, "eps": info.has_eps}
        assert set(record.takes) == {"lr", "weight_decay", *(field for field, has in said.items() if has)}, name
        assert record.second_order == info.second_order and record.betas == info.num_betas, name
