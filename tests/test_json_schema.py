"""The JSON schema takes what the loader takes, refuses what it refuses, and explains every key."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator
from safetensors.torch import save_file
from smoke import images

from transferscope import analyses
from transferscope.errors import UserError
from transferscope.json_schema import study_schema
from transferscope.models.build import build_network
from transferscope.propose import propose
from transferscope.study import Study
from transferscope.tasks import augmentations

TOP = Path(__file__).parents[1]
STUDIES = [*sorted((TOP / "examples").rglob("*.yaml")), TOP / "src" / "transferscope" / "quickstart.yaml"]
TARGET = {"ref": "csv:t.csv", "columns": {}}
PLAIN: dict[str, Any] = {
    "targets": {"t": TARGET},
    "network": "toy.nets:tiny",
    "pretrained": {"source": "fractals:4", "recipe": {}},
    "split": {},
    "recipe": {"augment": {}, "search": {}},
    "analyses": {"transfer": {}},
    "resources": {},
}
# Every place of a study where a model's keys stand, besides the options of analyses and augmentations.
PLACES: list[tuple[Any, ...]] = [
    (),
    ("targets", "t"),
    ("targets", "t", "columns"),
    ("pretrained",),
    ("pretrained", "recipe"),
    ("split",),
    ("recipe",),
    ("recipe", "augment"),
    ("resources",),
    ("input", "arrays"),
    ("input", "text"),
    ("analyses", "twice"),
]
ANYTHING = (None, True, 0, 3, 0.5, "1e-3", "a text", "auto", "all")
MANY = ([], {}, ["random"], [1], ["1e-1", 1.0], {"random": [0.1, 1]})
RATED = {"source": TARGET, "recipe": {"lr": "1e-1"}}
NONSENSE = [[[{"no": ["such"]}]]]  # fits nowhere


@cache
def schema() -> Draft202012Validator:
    Draft202012Validator.check_schema(study_schema())
    return Draft202012Validator(study_schema())


def mistake(study: Any) -> str | None:
    """What the schema finds wrong."""
    return next((f"{list(one.absolute_path)}: {one.message}" for one in schema().iter_errors(study)), None)


def refusal(study: dict[str, Any]) -> str | None:
    """What the loader finds wrong, the options of the analyses included."""
    try:
        analyses.chosen(Study.parse(deepcopy(study)))
    except UserError as error:
        return str(error)
    return None


def resolved(part: dict[str, Any]) -> list[dict[str, Any]]:
    """The forms of a part of the schema, references followed."""
    if "$ref" in part:
        return resolved(schema().schema["$defs"][part["$ref"].rpartition("/")[2]])
    return [form for one in part["anyOf"] for form in resolved(one)] if "anyOf" in part else [part]


def keys(place: tuple[Any, ...]) -> dict[str, Any]:
    """The keys at a place of a study, as the schema has them."""
    forms = [schema().schema]
    for step in place:
        within = [form.get("properties", {}).get(step, form.get("additionalProperties")) for form in forms]
        forms = [form for one in within if isinstance(one, dict) for form in resolved(one)]
    return {key: said for form in forms for key, said in form.get("properties", {}).items()}


def holding(place: tuple[Any, ...], keys: dict[str, Any]) -> dict[str, Any]:
    """A study that is otherwise sound, with these keys at a place."""
    study = deepcopy(PLAIN)
    if place[:1] == ("input",):
        del study["recipe"]["augment"]
    here: Any = study
    for step in place:
        here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    here.update(keys)
    return study


@pytest.fixture(autouse=True)
def _table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of `TARGET`."""
    (tmp_path / "t.csv").write_text("path,label,a,b\n")
    monkeypatch.chdir(tmp_path)


def everywhere() -> Iterator[tuple[tuple[Any, ...], str]]:
    for place in PLACES:
        yield from ((place, key) for key in keys(place))
    for name in analyses.names():
        yield from ((("analyses", name), key) for key in analyses.load(name).Options.model_fields)


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.name)
def test_studies_that_come_with_the_project_are_valid(file: Path) -> None:
    assert mistake(yaml.safe_load(file.read_text(encoding="utf-8"))) is None


def test_studies_in_the_pages_are_valid() -> None:
    pages = [TOP / "README.md", *(TOP / "docs").rglob("*.md")]
    blocks = [block for page in pages for block in re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)]
    studies = [said for block in blocks if {"targets", "network"} <= set(said := yaml.safe_load(block) or {})]
    assert len(studies) >= 2
    for study in studies:
        assert mistake(study) is None, study


@pytest.mark.parametrize("network", [None, "timm:convnext_atto"])
def test_what_init_writes_of_images_is_valid(tmp_path: Path, network: str | None) -> None:
    images.write(tmp_path / "shapes", each=6)
    text, _ = propose(tmp_path / "shapes", tmp_path, network)
    assert mistake(yaml.safe_load(text)) is None


def test_what_init_writes_of_a_table_and_of_arrays_is_valid(tmp_path: Path) -> None:
    images.write(tmp_path / "shapes", each=6)
    files = sorted((tmp_path / "shapes").rglob("*.png"))
    lines = [f"{file.relative_to(tmp_path)},{file.parent.name},{number // 2}" for number, file in enumerate(files)]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,patient", *lines]))
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=(40, 64)), y=np.arange(40) % 2)
    net = build_network("newcomers.series:small", 4, seed=0)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    ours = ("newcomers.series:small", "file:w.safetensors")
    for name, network, weights in (("table.csv", None, None), ("a.npz", *ours)):
        text, _ = propose(tmp_path / name, tmp_path, network, weights)
        assert mistake(yaml.safe_load(text)) is None, text


def test_the_sweep_begins_from_a_sound_study_and_sees_the_keys() -> None:
    assert refusal(PLAIN) is None and mistake(PLAIN) is None
    seen = {".".join(map(str, (*place, key))) for place, key in everywhere()}
    assert {"recipe.lr", "targets.t.columns.group", "pretrained.recipe.epochs", "input.arrays.jitter"} <= seen
    assert {"analyses.barrier.pairs", "resources.slots", "analyses.twice.type", "recipe.augment.flip"} <= seen


def test_nothing_that_the_loader_takes_is_refused() -> None:
    """A value of every kind for every key."""
    taken = 0
    for place, key in everywhere():
        for value in (*ANYTHING, *MANY):
            study = holding(place, {key: value})
            if value is True and key == "uncertain":
                continue  # pydantic takes it for 1
            if (wrong := mistake(study)) is not None:
                assert refusal(study) is not None, f"{place} {key}: {value!r}: {wrong}"
            else:
                taken += 1
    assert taken > 300


def test_a_misspelt_key_and_a_value_of_the_wrong_kind_are_refused_by_both() -> None:
    for place, key in everywhere():
        for study in (holding(place, {key: NONSENSE}), holding(place, {f"{key}_": None})):
            assert mistake(study) and refusal(study), f"{place} {key}"


FORMS = [
    ({"targets": "fractals:4"}, True),
    ({"targets": ["fractals:4", "fractals:5"]}, True),
    ({"targets": []}, False),
    ({"targets": {"t": ["csv:t.csv"]}}, False),
    ({"targets": {"t": {"columns": {}}}}, False),
    ({"targets": {"t": {**TARGET, "window": [0, "1e3"]}}}, True),
    ({"targets": {"t": {**TARGET, "window": [0]}}}, False),
    ({"targets": {"t": {**TARGET, "channels": 0}}}, True),
    ({"targets": {"t": {**TARGET, "columns": {"label": "a"}}}}, True),
    ({"targets": {"t": {**TARGET, "columns": {"label": ["a", "b"]}}}}, True),
    ({"network": {"ref": "toy.nets:tiny", "options": {"width": 3}}}, True),
    ({"network": {"name": "toy.nets:tiny"}}, False),
    ({"pretrained": None, "arms": ["random"]}, True),
    ({"pretrained": {"source": TARGET, "labels": True}}, True),
    ({"pretrained": {"source": TARGET, "labels": [True, "random"]}}, True),
    ({"pretrained": {"source": TARGET, "labels": "false"}}, False),
    ({"pretrained": {"source": TARGET, "recipe": {"epoch": 3}}}, False),
    ({"pretrained": {"source": TARGET, "recipe": {"table_size": 64}}}, False),
    ({"seeds": 0}, False),
    ({"seeds": {"from": 3, "to": 8}}, True),
    ({"seeds": {"from": 2, "to": 8}}, False),
    ({"seeds": {"from": 3}}, False),
    ({"seeds": []}, False),
    ({"seeds": [True]}, False),
    ({"arms": []}, False),
    ({"growing": [3, 8]}, False),
    ({"input": "arrays", "recipe": {}}, True),
    ({"input": {"arrays": None}, "recipe": {}}, True),
    ({"input": {"arrays": {}, "images": {}}}, False),
    ({"input": {"images": {"jitter": 1}}}, False),
    ({"input": "array"}, False),
    ({"analyses": ["transfer", "barrier"]}, True),
    ({"analyses": ["transfers"]}, False),
    ({"analyses": []}, False),
    ({"analyses": {}}, False),
    ({"analyses": {"transfer": None}}, True),
    ({"analyses": {"again": {"type": "barrier", "alphas": 3}}}, True),
    ({"analyses": {"again": {"type": "barrier", "alpha": 3}}}, False),
    ({"analyses": {"again": {"type": "barriers"}}}, False),
    ({"analyses": {"again": {"alphas": 3}}}, False),
    ({"analyses": {"again": None}}, False),
    ({"analyses": {"barrier": {"type": "barrier"}}}, True),
    ({"analyses": {"barrier": {"type": "transfer"}}}, False),
    ({"analyses": {"choose": {"candidates": {"a": "toy.nets:tiny", "b": {"arm": "random"}}}}}, True),
    ({"analyses": {"choose": {"candidates": ["toy.nets:tiny"]}}}, True),
    ({"analyses": {"shuffle": {"blocks": [1, "channels"]}}}, True),
    ({"analyses": {"shuffle": {"blocks": [0]}}}, False),
    ({"recipe": {"lr": {"random": [0.1, "1e-2"], "pretrained": 1}}, "pretrained": RATED}, True),
    ({"recipe": {"lr": 0}}, False),
    ({"recipe": {"epochs": 0}}, False),
    ({"recipe": {"evaluate": 15}}, False),
    ({"recipe": {"search": {"weight_decay": [0, "1e-4"]}}}, True),
    ({"recipe": {"search": {"layer_decay": {"pretrained": [0.65, 1]}}}}, True),
    ({"recipe": {"search": {"epochs": [1, 2]}}}, False),
    ({"recipe": {"augment": None}}, True),
    ({"recipe": {"augment": {"then": "rotate"}}}, True),
    ({"recipe": {"augment": {"then": {"rotate": {"degrees": 3}}}}}, True),
    ({"recipe": {"augment": {"then": [{"rotate": None}, "cutmix"]}}}, True),
    ({"recipe": {"augment": {"then": [{"rotate": {"degree": 3}}]}}}, False),
    ({"recipe": {"augment": {"then": [{"rotate": {}, "cutmix": {}}]}}}, False),
    ({"recipe": {"augment": {"then": ["rotat"]}}}, False),
    ({"resources": {"slots": "auto"}}, True),
    ({"resources": {"slots": 0}}, False),
    ({"resources": None}, False),
]


@pytest.mark.parametrize(("said", "right"), FORMS, ids=lambda one: json.dumps(one))
def test_both_take_every_form(said: dict[str, Any], right: bool) -> None:
    study = {**PLAIN, **said}
    assert (refusal(study) is None) == right, refusal(study)
    assert (mistake(study) is None) == right, mistake(study)


def test_a_study_that_extends_another_may_say_a_part() -> None:
    parts: dict[str, Any] = {
        "targets": {"t": {"window": "full"}},
        "network": {"options": {"width": 3}},
        "pretrained": {"source": {"columns": {}}},
        "seeds": {"to": 10},
        "analyses": {"again": {"alphas": 3}},
    }
    for part in ({key: said} for key, said in parts.items()):
        assert mistake({"extends": "other.yaml", **part}) is None
        assert mistake({**PLAIN, **part})
    assert mistake({"extends": "other.yaml", "target": {}}) and mistake({"extends": ["other.yaml"]})


def test_ones_own_modules_are_left_to_the_loader() -> None:
    for said in (
        {"analyses": ["my_lab.probe"]},
        {"analyses": {"my_lab.probe": {"size": 3}, "again": {"type": "my_lab.probe", "size": 4}}},
        {"input": "my_lab.waves"},
        {"input": {"my_lab.waves": {"rate": 3}}},
        {"recipe": {"augment": {"then": [{"my_lab.stain": {"strength": 0.3}}, "my_lab.other"]}}},
    ):
        assert mistake({**PLAIN, **said}) is None, said


def test_every_key_has_its_help_and_its_default() -> None:
    required = {((), "targets"), ((), "network"), (("targets", "t"), "ref")}
    optioned = [name for name in augmentations.names() if augmentations.load(name).Options.model_fields]
    named: list[tuple[Any, ...]] = [("recipe", "augment", "then", name) for name in optioned]
    named += [("analyses", name) for name in analyses.names()]
    assert len(optioned) > 8 and all(keys(place) for place in named)
    told = [(place, key) for place in [*PLACES, *named] for key in keys(place)]
    assert len(told) > 200
    for place, key in told:
        said = keys(place)[key]
        assert re.fullmatch(r"[A-Z`-].*\.", said.get("description", "")), f"{place} {key}"
        assert ("default" in said) == ((place, key) not in required), f"{place} {key}"


def test_the_verb_prints_it(call) -> None:
    said = call("schema")
    assert said.code == 0 and json.loads(said.out) == study_schema()
