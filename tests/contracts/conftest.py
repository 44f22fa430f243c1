"""A finished analysis of the smoke study for the tests of contracts."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from contract import analyses as contract
from filelock import FileLock
from smoke import study as smoke

from transferscope.study import Study

FEW = 4  # analyses; more of them are quicker with the whole smoke study, which other tests need too


@pytest.fixture(scope="session")
def done(request: pytest.FixtureRequest, shared: Path) -> Callable[[str], contract.Done]:
    """``done("transfer")`` is that analysis with all of its steps done.

    Where the tests asked for (`-k transfer`) look at few analyses, what one of them asks for is done when it is first
    looked at, in a store that they share; else all are those of `finished`.
    """
    users = [item for item in request.session.items if "done" in getattr(item, "fixturenames", ())]
    wanted = {item.callspec.params.get("name") for item in users if hasattr(item, "callspec")}
    if len(wanted) > FEW or (shared / "reference" / "said.txt").exists():
        study = Study.load(request.getfixturevalue("finished") / "study.yaml")
        return cache(lambda name: contract.of_study(study, name))
    folder = shared / "contracts"
    with FileLock(shared / "contracts.lock"):
        if not (folder / "study.yaml").exists():
            smoke.write(folder)
    return cache(lambda name: contract.finished(folder / "study.yaml", name))
