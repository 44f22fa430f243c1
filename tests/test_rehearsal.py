"""What `check` tells of augmentations before anything is trained: that they work, how long they take, what is wrong."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from transferscope import battery, preflight
from transferscope.study import Study

MODULE = '''
from transferscope.strict_models import Strict


class Options(Strict):
    by: float = 2.0
    """A factor."""


def alter(options):
    return lambda image: {body}
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``own("image * 2")`` writes a module whose augmentation computes that, and returns its dotted name."""
    (tmp_path / "lab_of_mine").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(body: str) -> str:
        (tmp_path / "lab_of_mine" / "scaled.py").write_text(MODULE.replace("{body}", body), encoding="utf-8")
        for name in [one for one in sys.modules if one.startswith("lab_of_mine")]:
            monkeypatch.delitem(sys.modules, name)
        return "lab_of_mine.scaled"

    return write


def study(folder: Path, then: Any, **more: Any) -> Study:
    raw = {
        "targets": ["newcomers.rings:30"],
        "network": "newcomers.stacks:three",
        "image_size": 32,
        "arms": ["random"],
        "seeds": 1,
        "recipe": {"epochs": 1, "lr": 0.1, "precision": "float32", "augment": {"then": then}},
        "resources": {"device": "cpu", "executor": "inline"},
        **more,
    }
    return Study.parse(raw, folder=folder)


def said(of: Study) -> list[preflight.Check]:
    plan, _ = battery.plan(of)
    return [check for check in preflight.deep(of, plan) if "augment" in check.name]


def test_they_are_tried_and_timed(tmp_path: Path, own: Any) -> None:
    (check,) = said(study(tmp_path, ["rotate", {own("image // 2"): {}}, "cutmix"]))
    assert check.ok and check.name == "recipe.augment"
    assert re.fullmatch(r"rotate, lab_of_mine\.scaled, cutmix: \d+\.\d ms an image of 32 px here", check.said)
    assert said(study(tmp_path, [])) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "image * options.by",
            r"^recipe\.augment\.then\.0\.lab_of_mine\.scaled made torch\.float32 \(3, 32, 32\) of an",
        ),
        ("image[options.no]", r"^recipe\.augment\.then: AttributeError: .*'no'; mend the module, or leave it out\.$"),
        ("1 / 0", r"^recipe\.augment\.then: ZeroDivisionError: division by zero; mend the module, or leave it out\.$"),
    ],
)
def test_what_does_not_work_is_one_sentence(tmp_path: Path, own: Any, body: str, words: str) -> None:
    (check,) = said(study(tmp_path, own(body)))
    assert not check.ok and re.search(words, check.said), check.said


def test_a_pretraining_with_its_own_is_tried_as_well(tmp_path: Path, own: Any) -> None:
    recipe = {"augment": {"then": [own("None")]}}
    pretrained = {"source": "newcomers.rings:30", "recipe": recipe}
    checks = said(study(tmp_path, "rotate", pretrained=pretrained, arms=["random", "pretrained"]))
    assert [(check.name, check.ok) for check in checks] == [
        ("recipe.augment", True),
        ("pretrained.recipe.augment", False),
    ]
    assert checks[1].said.startswith("pretrained.recipe.augment.then.0.lab_of_mine.scaled made NoneType of an image")


def test_other_augmentations_are_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store where one recipe was trained says nothing about another's augmentations."""
    kinds = set()
    for then in ([], ["rotate"], [{"rotate": {"degrees": 20}}]):
        step = study(tmp_path, then).run("newcomers.rings:30", "random", 0)
        kinds.add(preflight._kind(step))
    assert len(kinds) == 3


@pytest.mark.parametrize(
    ("attributes", "why"),
    [({}, "Options"), ({"Options": object}, "alter"), ({"Options": 1, "alter": 1, "mix": 1}, "alter")],
)
def test_a_module_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attributes: dict[str, Any], why: str
) -> None:
    module = ModuleType("lab_of_mine.none")
    vars(module).update(attributes)
    monkeypatch.setitem(sys.modules, "lab_of_mine", ModuleType("lab_of_mine"))
    monkeypatch.setitem(sys.modules, "lab_of_mine.none", module)
    with pytest.raises(Exception, match=rf"recipe\.augment\.then\.0: 'lab_of_mine\.none' cannot be used .*{why}"):
        study(tmp_path, "lab_of_mine.none")
