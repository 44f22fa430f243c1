"""Every kind of input that comes with the project keeps its contract."""

import importlib
from pathlib import Path

import pytest
from contract import inputs as contract
from contract import sources

from transferscope.errors import UserError
from transferscope.study import Study
from transferscope.tasks import inputs

# A source of at least 40 examples, and a network for them.
MADE = {
    "images": ("newcomers.rings:30", "newcomers.stacks:three"),
    "arrays": ("npz:signals.npz", "newcomers.series:small"),
    "text": ("text:texts", "transformers:net"),
}


@pytest.mark.parametrize("name", inputs.names())
def test_it_keeps_its_contract(name: str, tmp_path: Path) -> None:
    if name == "arrays":
        sources.signals(tmp_path / "signals.npz")
    if name == "text":
        reading = pytest.importorskip("reading")
        reading.texts(tmp_path / "texts")
        reading.network(tmp_path / "net")
    contract.check_input(importlib.import_module(f"{contract.PACKAGE}.{name}"), *MADE[name], tmp_path)


def test_an_analysis_of_pixels_is_refused_where_there_are_none(tmp_path: Path) -> None:
    study = contract.study_of("newcomers.series", "newcomers.waves:30", "newcomers.series:small", tmp_path)
    file = tmp_path / "study.yaml"
    with pytest.raises(UserError, match=r"analyses\.shuffle: it moves blocks, but inputs of the kind"):
        contract.battery.plan(Study.load(file, {"analyses": "[shuffle]"}))
    for key, sentence in {
        "imagse": "did you mean 'images'",
        "nobody.kinds": "input: 'nobody.kinds' cannot be used",
    }.items():
        with pytest.raises(UserError, match=sentence):
            contract.battery.plan(Study.load(file, {"input": key}))
    assert study.kind.__name__ == "newcomers.series"
