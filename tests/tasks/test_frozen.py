"""A frozen part that is computed once: against computing it for every batch, how often it runs, when it does not."""

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from transferscope import models
from transferscope.tasks import frozen, inputs, run_setup

PLAIN = {"epochs": 3, "augment": None, "mixup": 0.0, "evaluate": 40}


@pytest.fixture
def both(fit, monkeypatch):
    """``both(trainable="head", ...)``: (folder, rows) of a run that computes once, and of one that never does."""

    def run(**recipe):
        once = fit("once", **recipe)
        with monkeypatch.context() as patch:
            patch.setattr(frozen, "spared", lambda *_, **__: None)
            plain = fit("plain", **recipe)
        said = [json.loads((folder / "run.json").read_text()).get("frozen_once") for folder, _ in (once, plain)]
        assert said == [True, None]
        return once, plain

    return run


def close(one, other, rtol: float = 1e-4) -> None:
    """Float32 sums of batches of other lengths; rates and steps let it grow a little."""
    (folder, rows), (plain, expected) = one, other
    for name in ("final", "best", "epoch-0001"):
        a, b = load_file(folder / f"{name}.safetensors"), load_file(plain / f"{name}.safetensors")
        for tensor in b:
            torch.testing.assert_close(a[tensor], b[tensor], rtol=rtol, atol=1e-5)
    for row, other_row in zip(rows, expected, strict=True):
        for key, value in other_row.items():
            assert row[key] == (value if isinstance(value, str | None) else pytest.approx(value, rel=1e-3, abs=0.02)), (
                key
            )


@pytest.mark.parametrize("trainable", ["head", "top:2"])
@pytest.mark.parametrize("network", ["toy.nets:tiny", "toy.nets:lite", "toy.nets:vit"])
def test_it_comes_to_the_same(both, network, trainable) -> None:
    once, plain = both(network=network, trainable=trainable, **PLAIN, sampler="balanced")
    close(once, plain)
    assert once[1][-1]["train_loss"] < once[1][0]["train_loss"]


def test_it_comes_to_the_same_where_what_trains_drops(both) -> None:
    once, plain = both(network="toy.nets:tiny", trainable="top:2", drop_in="trained", **PLAIN)
    close(once, plain)


def test_dropout_acts_in_what_trains_and_nowhere_else() -> None:
    net = timm.create_model("test_vit", num_classes=5, drop_rate=0.1, pos_drop_rate=0.1, proj_drop_rate=0.1)
    dropped = {name for name, module in net.named_modules() if isinstance(module, torch.nn.Dropout) and module.p}
    for drop_in in ("nothing", "trained"):
        resting = run_setup.freeze(net.train(), "top:3", 5, drop_in)
        for module in resting:
            module.eval()
        alive = {name for name in dropped if net.get_submodule(name).training}
        trains = [all(p.requires_grad for p in block.parameters()) for block in net.blocks]
        assert 0 < sum(trains) < len(trains) and trains == [block.training for block in net.blocks]
        in_them = {name for name in dropped if name.startswith("blocks.") and trains[int(name.split(".")[1])]}
        assert in_them and alive == (in_them | {"head_drop"} if drop_in == "trained" else set())
    backwards = torch.nn.ModuleDict(
        {"head": torch.nn.Linear(2, 2), "body": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5))}
    )
    backwards["body"].requires_grad_(False)
    assert backwards["body"][1] in list(run_setup._at_rest(backwards)), "what is frozen rests, wherever it stands"


@pytest.mark.parametrize(
    "more", [{"precision": "bfloat16"}, {"evaluate": "all"}, {"shuffle": {"block": 4}}, {"ema": 0.5}]
)
def test_it_comes_to_the_same_however_it_is_trained(both, more) -> None:
    once, plain = both(trainable="head", **PLAIN | more)
    close(once, plain, 2e-2 if "precision" in more else 1e-4)  # of bfloat16 a last bit is 1 in 256


def test_crops_come_again_by_turns(both, fit) -> None:
    how = {"trainable": "head", "epochs": 5, "mixup": 0.0, "evaluate": 40}
    once, plain = both(**how, views=2)
    close(once, plain)
    cut = fit("anew", **how)
    losses = [[row["running_loss"] for row in rows[1:3]] for _, rows in (cut, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6), "the first epochs are the same"
    assert cut[1][3]["running_loss"] != pytest.approx(plain[1][3]["running_loss"], rel=1e-6)


def test_the_body_runs_once_for_every_image(fit, monkeypatch, digits) -> None:
    ran: list[int] = []
    original = torch.nn.Conv2d._conv_forward

    def counting(self, x, weight, bias):
        if weight.shape[1] == 3:  # the stem
            ran.append(len(x))
        return original(self, x, weight, bias)

    monkeypatch.setattr(torch.nn.Conv2d, "_conv_forward", counting)
    fit("run", network="toy.nets:lite", trainable="head", **{**PLAIN, "epochs": 6})
    rows = inputs.open_table(digits.path).rows
    assert sum(count for count in ran if count > 2) == sum(map(len, rows.values())), "besides trials of two images"


def test_a_run_killed_anywhere_ends_in_the_same_bytes(unbroken) -> None:
    unbroken("_batch", 5, 10, trainable="top:2", network="toy.nets:lite", **PLAIN)


@pytest.mark.parametrize(
    "recipe",
    [
        {"trainable": "all", "augment": None, "mixup": 0.0},
        {"trainable": "head", "mixup": 0.0},
        {"trainable": "head", "augment": None, "mixup": 0.2},
        {"trainable": "head", "augment": None, "mixup": 0.0, "epochs": 1},
        {"trainable": "lora:2", "augment": None, "mixup": 0.0},
    ],
)
def test_what_is_never_the_same_again_is_computed_again(fit, recipe) -> None:
    folder, _ = fit("run", **{"epochs": 2, **recipe})
    assert "frozen_once" not in json.loads((folder / "run.json").read_text())


def test_features_that_take_too_much_memory_are_not_kept(fit, monkeypatch) -> None:
    monkeypatch.setattr(frozen, "MOST", 1000)
    folder, rows = fit("run", trainable="head", **PLAIN)
    assert "frozen_once" not in json.loads((folder / "run.json").read_text()) and len(rows) == 4


def test_a_network_that_goes_other_ways_is_trained_as_it_is(fit, monkeypatch) -> None:
    """Whichever way its first images take."""
    how = {"network": "toy.nets:wavering", "trainable": "head", **PLAIN}
    once = fit("once", **how)
    monkeypatch.setattr(frozen, "spared", lambda *_, **__: None)
    plain = fit("plain", **how)
    assert once[1][-1]["test_loss"] == pytest.approx(plain[1][-1]["test_loss"], rel=1e-3)  # float32
    assert "frozen_once" not in json.loads((once[0] / "run.json").read_text())


def test_features_are_told_apart_by_rows(fit, digits, monkeypatch) -> None:
    """Every image's own, in whatever order they are asked for."""
    found = []
    original = frozen.spared
    monkeypatch.setattr(frozen, "spared", lambda *a, **k: found.append(original(*a, **k)) or found[-1])
    fit("run", network="toy.nets:vit", trainable="top:2", **PLAIN)
    features, part = found[0].looks[0], found[0].part
    rows = np.array([*features.places])[[5, 3, 11, 3]]
    table = inputs.open_table(digits.path)
    fed = inputs.Fed((0.5,) * 3, (0.5,) * 3)
    x = next(iter(inputs.load("images").evaluation(table, rows, table.labels, fed, batch_size=4, device="cpu")))[0]
    for number, kept in part.returned(x).items():
        for j, leaf in enumerate(kept.leaves):
            if isinstance(leaf, torch.Tensor) and (number, j) in part.entry.live:
                torch.testing.assert_close(features.of(rows)[number].leaves[j], leaf, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["vit", "convnext", "swin", "resnet", "timm:test_vit", "timm:test_resnet"])
def test_other_peoples_networks_have_a_frozen_part(kind, tmp_path) -> None:
    from transferscope.models.build import build_network
    from transferscope.models.outputs import logits_of

    if ":" not in kind:
        import hugging

        kind = models.settled(f"transformers:{hugging.write(tmp_path, kind)}", tmp_path)
    net = build_network(kind, 5, seed=0)
    x = torch.randn(3, 3, 160 if "test_vit" in kind else 32, 160 if "test_vit" in kind else 32)
    part = frozen.frozen_part(net, run_setup.freeze(net, "head", 5), x[:2], "float32")
    assert part is not None and net.training
    net.eval()
    with torch.no_grad():
        whole = logits_of(net(x), 3)
        kept = part.returned(x)
        with part.answered(kept):
            torch.testing.assert_close(logits_of(net(torch.full_like(x, float("nan"))), 3), whole)
    assert part.sample_bytes < x[0].nbytes
