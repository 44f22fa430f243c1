"""What every file of `engine/executors/` promises (`contract.executors`), and the sentence for an unknown one."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from contract import executors as contract
from contract.opening import check_first_line

from transferscope import registry
from transferscope.engine import executors
from transferscope.engine.executors import Slots
from transferscope.errors import UserError

AWAY = ("ray", "slurm")  # those that take long to start; Ray's is tried in engine/test_ray.py, on one cluster


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [name for name in executors.names() if name not in AWAY])
def test_executor(name: str, check: Callable[..., None], tmp_path: Path) -> None:
    check(name, contract.store_in(tmp_path))


def test_their_first_lines_are_shown() -> None:
    for name, line in registry.lines(executors.__name__).items():
        module = importlib.import_module(f"{executors.__name__}.{name}")
        check_first_line(module)
        assert (module.__doc__ or "").startswith(line)


@pytest.mark.slow
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_executor_slurm(check: Callable[..., None], tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    check("slurm", contract.store_in(tmp_path))


def test_an_unknown_executor_is_one_sentence() -> None:
    with pytest.raises(UserError, match="'locale' is not an executor; did you mean 'local'"):
        executors.build("locale", Slots(("cpu",), 1, 1), {})
