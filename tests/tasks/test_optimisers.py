"""The optimisers: against a float64 reference, chosen in the study file, stopped anywhere, somebody's own."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from transferscope.errors import UserError
from transferscope.study import Study
from transferscope.tasks import optimisers

OFFERED = {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.05}
GRADIENTS = ([0.5, -2.0, 0.0], [-0.25, 1.0, 3.0], [1.0, 1e-3, -1.0])
RATES = (0.1, 0.05, 0.2)


def after(name: str, **changes: Any) -> list[float]:
    """Three weights after steps along `GRADIENTS`, each at its rate."""
    p = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    optimizer = optimisers.build(name, {"weight": p}, OFFERED | changes)
    for rate, gradient in zip(RATES, GRADIENTS, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        p.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    return p.tolist()


def test_adamw_is_the_algorithm_of_the_paper() -> None:
    """Algorithm 2 of Loshchilov and Hutter (2019), number by number; decay is by the rate of the step."""
    decay, found = OFFERED["weight_decay"], []
    for place, w in enumerate([1.0, -2.0, 0.5]):
        mean = square = 0.0
        for t, (rate, gradient) in enumerate(zip(RATES, GRADIENTS, strict=True), 1):
            g = gradient[place]
            mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
            w *= 1 - rate * decay
            w -= rate * (mean / (1 - 0.9**t)) / ((square / (1 - 0.999**t)) ** 0.5 + 1e-8)
        found.append(w)
    assert after("adamw") == pytest.approx(found, rel=1e-12)  # rounding of some ten operations in float64


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_momentum_with_decay_in_the_gradient(nesterov: bool) -> None:
    found = []
    for place, w in enumerate([1.0, -2.0, 0.5]):
        moving = 0.0
        for t, (rate, gradient) in enumerate(zip(RATES, GRADIENTS, strict=True)):
            g = gradient[place] + 0.05 * w
            moving = g if t == 0 else 0.9 * moving + g
            w -= rate * (g + 0.9 * moving if nesterov else moving)
        found.append(w)
    assert after("sgd", nesterov=nesterov) == pytest.approx(found, rel=1e-12)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in [*folder.glob("*.safetensors"), folder / "run.json"]}


class _Killed(BaseException):
    pass


def test_a_run_with_adamw_killed_after_every_other_batch_ends_in_the_same_bytes(fit, monkeypatch) -> None:
    from transferscope.tasks import loop

    how = {"epochs": 2, "optimizer": "adamw", "lr": 0.01}
    straight, rows = fit("straight", **how)
    assert rows != fit("sgd", epochs=2, lr=0.01)[1]
    original, calls = loop._Run._batch, []

    def dies(self, *arguments) -> None:
        original(self, *arguments)
        calls.append(1)
        if len(calls) % 2 == 0:
            raise _Killed  # as `kill -9`: nothing is saved on the way out

    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(loop._Run, "_batch", dies)
    for _ in range(200):
        try:
            folder, again = fit("killed", **how)
            break
        except _Killed:
            continue
    assert len(calls) > 10, "it was killed again and again"
    assert again == rows and _bytes(folder) == _bytes(straight)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


STUDY = "targets: [digits]\nnetwork: toy.nets:tiny\narms: [random]\nimage_size: 16\nrecipe: {precision: float32"


def parsed(tmp_path: Path, recipe: str, rest: str = "") -> Study:
    return Study.parse(yaml.safe_load(f"{STUDY}, {recipe}}}\n{rest}"), folder=tmp_path)


def test_the_name_is_part_of_the_key_where_it_is_not_the_usual_one(tmp_path) -> None:
    def key(recipe: str) -> str:
        return parsed(tmp_path, recipe).run("digits", "random", 0).key

    assert key("lr: 0.01") == key("lr: 0.01, optimizer: sgd") != key("lr: 0.01, optimizer: adamw")


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("optimizer: adamv, lr: 0.1", "recipe.optimizer: 'adamv' is not an optimiser; did you mean 'adamw'?"),
        ("optimizer: no_such_lab.lion, lr: 0.1", "recipe.optimizer: there is no package 'no_such_lab' for "),
        (
            "optimizer: adamw, lr: 0.1, momentum: 0.8",
            "recipe.momentum: 'adamw' pays no heed to it; remove it, or leave",
        ),
        (
            "optimizer: adamw, lr: 0.1, nesterov: true",
            "recipe.nesterov: 'adamw' pays no heed to it; remove it, or leave it at false.",
        ),
        ("optimizer: adamw", "recipe.lr: the rates that go without saying are those of sgd; give 'adamw' its own."),
        ("optimizer: [adamw]", "recipe.optimizer: input should be a valid string"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, recipe: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        parsed(tmp_path, recipe)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_pretraining_may_have_another(tmp_path) -> None:
    def with_(recipe: str) -> Study:
        return parsed(tmp_path, "lr: 0.1", f"pretrained: {{source: 'fractals:3', recipe: {{{recipe}}}}}")

    study = with_("optimizer: adamw, lr: 0.001")
    assert study.pretraining().params["optimizer"] == "adamw"
    assert study.run("digits", "random", 0).params["optimizer"] == "sgd"
    for recipe, sentence in {
        "optimizer: adamv, lr: 1": "pretrained.recipe.optimizer: 'adamv' is not an optimiser",
        "optimizer: adamw": "pretrained.recipe.lr: the study's rates are those of sgd; give 'adamw' its own.",
    }.items():
        with pytest.raises(UserError, match=sentence):
            with_(recipe)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """``mine("text")`` is the dotted name of a module of one's own that says so."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "some_lab").mkdir()

    def write(text: str) -> str:
        (tmp_path / "some_lab" / "optimiser.py").write_text(text)
        for name in ("some_lab.optimiser", "some_lab"):
            sys.modules.pop(name, None)
        return "some_lab.optimiser"

    return write


def test_what_is_wrong_with_somebodys_own_is_one_sentence(mine, tmp_path) -> None:
    parameters = {"w": nn.Parameter(torch.zeros(1))}
    for text, sentence in {
        "build = 1": "the module 'some_lab.optimiser' has no function 'build",
        "def build(parameters, *, lr, betas): ...": "wants to be built otherwise .*'betas'.* needs a default",
        "import no_such_thing": "recipe.optimizer: cannot import 'some_lab.optimiser'",
    }.items():
        name = mine(text)
        parsed(tmp_path, f"optimizer: {name}, lr: 0.1")  # not imported before it is needed
        with pytest.raises(UserError, match=sentence):
            optimisers.build(name, parameters, OFFERED)
