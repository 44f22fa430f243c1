"""Every analysis tells of numbers to predict, whole and in tables of gaps, or refuses them in one sentence."""

from pathlib import Path

import pytest
from contract import analyses as contract
from smoke import targets

from transferscope import analyses
from transferscope.errors import UserError
from transferscope.study import Study

REFUSED = [name for name in analyses.names() if "regression" in getattr(analyses.load(name), "NOT_FOR", {})]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images", *targets.ANALYSES])
def test_an_analysis_of_numbers_survives_any_table(numbers: Path, name: str) -> None:
    contract.check_analysis(contract.of_study(Study.load(numbers / "study.yaml"), name))


@pytest.mark.parametrize("name", REFUSED)
def test_one_that_makes_no_sense_of_numbers_says_so(tmp_path: Path, name: str) -> None:
    study = targets.write(tmp_path)
    one = analyses.chosen(Study.load(study, {"analyses": f"{{{name}: {{}}}}"}))[name]
    with pytest.raises(UserError, match=rf"^analyses\.{name}: it .*\(target 'signals'\); remove it\.$"):
        list(one.plan(Study.load(study)))
