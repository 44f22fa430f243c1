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
from transferscope.tasks.optimisers import _timm

OFFERED = {"lr": 0.1, "momentum": 0.9, "nesterov": False, "betas": None, "eps": None, "weight_decay": 0.05}
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


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_complex_weights_move_as_their_parts_do(name: str) -> None:
    gradient = torch.tensor([0.5 - 2j, 1 + 0.25j], dtype=torch.complex128)
    whole = nn.Parameter(torch.tensor([1 + 2j, -0.5j], dtype=torch.complex128))
    parts = nn.Parameter(torch.view_as_real(whole.detach()).clone())
    for p, g in ((whole, gradient), (parts, torch.view_as_real(gradient))):
        optimizer = optimisers.build(name, {"weight": p}, OFFERED)
        for _ in range(2):
            p.grad = g.clone()
            optimizer.step()
    torch.testing.assert_close(torch.view_as_real(whole.detach()), parts.detach(), rtol=1e-12, atol=0)


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


@pytest.mark.parametrize(
    "recipe",
    [
        {"optimizer": "sgd", "lr": 0.05, "layer_decay": 0.5},
        {"optimizer": "adamw", "lr": 0.01, "betas": [0.8, 0.99], "decay_norms": False, "layer_decay": 0.7},
        {"optimizer": "lamb", "lr": 0.01},
        {"optimizer": "lion", "lr": 0.001, "decay_norms": False},
    ],
    ids=lambda recipe: recipe["optimizer"],
)
def test_a_run_killed_after_every_other_batch_ends_in_the_same_bytes(recipe, fit, unbroken) -> None:
    _, rows = unbroken("_batch", 2, 11, epochs=2, **recipe)
    assert rows != fit("sgd", epochs=2, lr=recipe["lr"])[1]
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
        ("optimizer: adamv, lr: 0.1", "recipe.optimizer: 'adamv' is not an optimiser; near names are adam, "),
        ("optimizer: lambb, lr: 0.1", "recipe.optimizer: 'lambb' is not an optimiser; near names are lamb, "),
        ("optimizer: xyz, lr: 0.1", "'xyz' is not an optimiser; timm.optim.list_optimizers() has the others' names."),
        ("optimizer: adahessian, lr: 0.1", "'adahessian' wants second derivatives, which training does not compute; "),
        pytest.param(
            "optimizer: kron, lr: 0.1",
            "recipe.optimizer: 'kron' draws random numbers of its own, so that a stopped ",
            marks=pytest.mark.skipif("kron" not in _timm.records(), reason="an older timm has none"),
        ),
        ("optimizer: madgrad, lr: 0.1", "recipe.optimizer: 'madgrad' moves weights at a rate of 0 too"),
        ("optimizer: fusedlamb, lr: 0.1", "recipe.optimizer: 'fusedlamb' is the package apex's, which is not "),
        ("optimizer: lion, lr: 0.1, eps: 0.1", "recipe.eps: 'lion' pays no heed to it; remove it, or leave it at null"),
        ("optimizer: lamb, lr: 0.1, momentum: 0.5", "recipe.momentum: 'lamb' pays no heed to it; remove it, or "),
        ("betas: [0.9, 0.99]", "recipe.betas: 'sgd' pays no heed to it; remove it, or leave it at null."),
        ("optimizer: adan, lr: 0.1, betas: [0.9, 0.99]", "recipe.betas: 'adan' takes 3 numbers, not 2."),
        ("optimizer: adamw, lr: 0.1, betas: [0.9, 1.0]", "recipe.betas: numbers from 0 up to, but not, 1"),
        ("step_size: 3", "recipe.step_size: it is for 'schedule: step'; remove it, or leave it at 10."),
        ("patience: 1, schedule: step", "recipe.patience: it is for 'schedule: plateau'; remove it, or leave it at 5."),
        ("schedule: one-cycle, warmup: 2", "recipe.warmup: 'one-cycle' has a rise of its own; remove the key."),
        ("layer_decay: 0", "recipe.layer_decay: input should be greater than 0"),
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


class _Matched(nn.Sequential):
    """A network that says its layers as those of timm do."""

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        return {"stem": r"^[01]", "blocks": r"^2"}

    def no_weight_decay(self) -> set[str]:
        return {"0.weight"}


def three(kind: type[nn.Sequential]) -> nn.Sequential:
    return kind(nn.Linear(2, 3), nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2))


def grouped(net: nn.Module, name: str = "adamw", **how: Any) -> dict[str, tuple[float, float]]:
    """Of every parameter, the share of the rate and the weight decay."""
    optimizer = optimisers.build(name, dict(net.named_parameters()), OFFERED)
    optimisers.regroup(optimizer, net, **{"decay_norms": True, "layer_decay": 1.0} | how)
    named = {id(p): name for name, p in net.named_parameters()}
    held = [
        (named[id(p)], g.get("lr_scale", 1.0), g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]
    ]
    assert len(held) == len(named), "each is in one group"
    return {name: (scale, decay) for name, scale, decay in held}


def test_norms_and_biases_are_spared_where_asked() -> None:
    net = three(nn.Sequential)
    assert set(grouped(net).values()) == {(1.0, 0.05)}
    found = {name: decay for name, (_, decay) in grouped(net, "lamb", decay_norms=False).items()}
    assert found == {name: 0.05 if p.ndim > 1 else 0.0 for name, p in net.named_parameters()}
    assert grouped(three(_Matched), decay_norms=False)["0.weight"][1] == 0, "the network says so"


def test_rates_fall_from_the_head_down() -> None:
    """By the layers that the network says, else by its blocks (a norm belongs to the layer before it)."""
    blocks = {name: scale for name, (scale, _) in grouped(three(nn.Sequential), layer_decay=0.5).items()}
    assert [blocks[f"{n}.weight"] for n in range(4)] == [0.25, 0.5, 0.5, 1.0] == [blocks[f"{n}.bias"] for n in range(4)]
    said = {name: scale for name, (scale, _) in grouped(three(_Matched), layer_decay=0.5).items()}
    assert [said[f"{n}.weight"] for n in range(4)] == [0.25, 0.25, 0.5, 1.0]


def test_layer_decay_multiplies_the_rate_of_a_step() -> None:
    """With SGD a first step is as long as rate times gradient: the reference is arithmetic."""
    net = three(nn.Sequential)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = optimisers.build("sgd", dict(net.named_parameters()), OFFERED | {"weight_decay": 0.0})
    optimisers.regroup(optimizer, net, decay_norms=True, layer_decay=0.5)
    for group in optimizer.param_groups:
        group["lr"] = 0.1 * group["lr_scale"]
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    for name, share in {"0.weight": 0.25, "1.weight": 0.5, "3.bias": 1.0}.items():
        moved = before[name] - dict(net.named_parameters())[name].detach()
        assert moved.flatten().tolist() == pytest.approx([0.1 * share] * moved.numel(), rel=1e-5)  # float32


def test_an_optimiser_that_decays_nothing_cannot_spare_norms(mine) -> None:
    name = mine("import torch\ndef build(parameters, *, lr): return torch.optim.Rprop(parameters.values(), lr)")
    with pytest.raises(UserError, match="the optimiser decays nothing"):
        grouped(three(nn.Sequential), name, decay_norms=False)
