"""The schema of results.json takes what the report writes, and nothing that it does not write."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from transferscope.json_schema import results_schema

SCHEMA = Draft202012Validator(results_schema())


@pytest.fixture
def said(report: Path) -> dict:
    return json.loads(report.with_name("results.json").read_text(encoding="utf-8"))


def test_what_is_written_is_taken(said: dict) -> None:
    Draft202012Validator.check_schema(results_schema())
    SCHEMA.validate(said)
    assert any(one["findings"] for one in said["analyses"]) and any(one["charts"] for one in said["analyses"])


def test_a_key_more_or_less_or_of_another_kind_is_not(said: dict) -> None:
    def places(now: dict) -> list[dict]:
        first = next(one for one in now["analyses"] if one["findings"] and one["charts"])
        return [now, first, first["findings"][0], first["charts"][0], *first["cards"][:1]]

    for number, place in enumerate(places(said)):
        for key in place:
            if number == 0 and key == "versions":
                continue
            less = deepcopy(said)
            del places(less)[number][key]
            assert not SCHEMA.is_valid(less), key
            odd = deepcopy(said)
            places(odd)[number][key] = {"odd": []}
            assert not SCHEMA.is_valid(odd), key
        more = deepcopy(said)
        places(more)[number]["more"] = 1
        assert not SCHEMA.is_valid(more)
    assert not SCHEMA.is_valid({**said, "format": 0})
