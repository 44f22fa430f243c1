"""Every analysis tells of numbers to predict, whole and in tables of gaps, or refuses them in one sentence."""

import pytest
from contract import analyses as contract
from smoke import targets

from transferscope import analyses
from transferscope.errors import UserError
from transferscope.study import Study

REFUSED = [name for name in analyses.names() if "regression" in getattr(analyses.load(name), "NOT_FOR", {})]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    return targets.write(tmp_path_factory.mktemp("numbers"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images", *targets.ANALYSES])
def test_an_analysis_of_numbers_survives_any_table(study, name: str) -> None:
    contract.check_analysis(contract.finished(study, name))


@pytest.mark.parametrize("name", REFUSED)
def test_one_that_makes_no_sense_of_numbers_says_so(study, name: str) -> None:
    one = analyses.chosen(Study.load(study, {"analyses": f"{{{name}: {{}}}}"}))[name]
    with pytest.raises(UserError, match=rf"^analyses\.{name}: it .*\(target 'signals'\); remove it\.$"):
        list(one.plan(Study.load(study)))
