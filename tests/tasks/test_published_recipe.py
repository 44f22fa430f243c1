"""The fields by which published recipes are repeated: rates by name, epochs by arm, pictures prepared, best on test."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from smoke import study as smoke
from torch import nn
from toy import nets

from transferscope.analyses._shared import outcomes
from transferscope.errors import UserError
from transferscope.models.build import build_network
from transferscope.study import Study
from transferscope.tasks import inputs, optimisers, run_setup
from transferscope.tasks.augmented import augmented
from transferscope.tasks.recipe import Recipe, Training
from transferscope.tasks.update import Update

FIXUP = "transferscope.models.fixup_resnet:fixup_resnet14"
PAPER = {"*bias*": 0.1, "*scale*": 0.1}


# Rates by name


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb", "lion"])
def test_rates_by_name_hold_with_every_optimiser(name: str) -> None:
    """Of a step from the same start what a tenth of the rate moves is what the whole optimiser moves at that rate."""
    torch.manual_seed(0)
    x, y = torch.randn(8, 3, 32, 32), torch.randint(5, (8,))

    def stepped(rate: float, **said: object) -> dict[str, torch.Tensor]:
        net = build_network(FIXUP, 5, seed=0)
        recipe = Training.model_validate({"optimizer": name, "lr": rate, "weight_decay": 0.01, **said})
        update = Update(net, run_setup.optimiser(net, recipe), recipe)
        update.take(nn.functional.cross_entropy(net(x), y), rate, 0, 1, 0)
        return {key: p.detach().clone() for key, p in net.named_parameters()}

    scaled, whole, tenth = stepped(0.1, lr_scale=PAPER), stepped(0.1), stepped(0.01)
    small = {key for key in scaled if "bias" in key or "scale" in key}
    assert {"fc.bias", "fc.input_bias", "layer1.0.scale", "bias1.bias"} < small and len(small) < len(scaled)
    for key, value in scaled.items():
        torch.testing.assert_close(value, (tenth if key in small else whole)[key], rtol=1e-5, atol=1e-7)
    assert not torch.equal(scaled["fc.bias"], whole["fc.bias"])


def test_layers_and_names_multiply_and_the_first_pattern_counts() -> None:
    net = build_network(FIXUP, 5, seed=0)
    recipe = Training.model_validate({"lr": 0.1, "layer_decay": 0.5, "lr_scale": {"layer4*bias": 3.0, "*bias": 0.1}})
    groups = run_setup.optimiser(net, recipe).param_groups
    share = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    got = {name: share[id(p)] for name, p in net.named_parameters()}
    assert got["fc.weight"] == 1.0 and got["fc.bias"] == pytest.approx(0.1)
    assert got["layer4.0.conv1.weight"] == 0.5 and got["layer4.0.bias1a.bias"] == pytest.approx(1.5)
    assert got["layer3.0.bias1a.bias"] == pytest.approx(0.025)


def test_a_pattern_that_fits_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"recipe.lr_scale: no parameter of the network fits '\*gain\*'"):
        optimisers.shares(["conv.weight", "conv.bias"], {"*bias*": 0.1, "*gain*": 0.1})


@pytest.mark.parametrize("optimizer", [{}, {"optimizer": "adamw", "lr": 0.01}])
def test_rates_by_name_outlive_a_stop(unhurried, optimizer) -> None:
    unhurried(5, epochs=2, lr_scale={"*bias": 0.1, "0.*": 2.0}, **optimizer)


@pytest.mark.parametrize("said", [{}, {"*": 0}, {"*": -1}, {"*": "fast"}, [0.1], 0.1])
def test_what_is_no_rate_by_name(said: object) -> None:
    with pytest.raises(ValueError, match="a mapping from a pattern of names to a number above 0"):
        Recipe.model_validate({"lr_scale": said})


# Epochs by arm


def test_every_arm_has_its_own_epochs(tmp_path: Path) -> None:
    study = Study.load(smoke.write(tmp_path), {"recipe.epochs": "{random: 4, pretrained: 2}"})
    length = {arm: study.run("shapes", arm, 0).params["epochs"] for arm in ("random", "pretrained")}
    assert length == {"random": 4, "pretrained": 2}
    assert study.run("shapes", "pretrained", 0, epochs=7).params["epochs"] == 7
    same = Study.load(tmp_path / "study.yaml", {"recipe.epochs": "{random: 2, pretrained: 2}"})
    plain = Study.load(tmp_path / "study.yaml", {"recipe.epochs": "2"})
    assert same.run("shapes", "random", 0).key == plain.run("shapes", "random", 0).key


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("{pretrained: 2}", "recipe.epochs has no number for the arm 'random'"),
        ("{random: 2, pretraned: 3}", "did you mean 'pretrained'"),
        ("{random: 2, pretrained: 0}", "a whole number from 1 to 100,000, or one per arm"),
    ],
)
def test_epochs_that_say_too_little(tmp_path: Path, said: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        Study.load(smoke.write(tmp_path), {"recipe.epochs": said})
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def rows(arm: str, train: list[float], test: list[float], **more: object) -> list[dict[str, object]]:
    run = {"target": "t", "arm": arm, "seed": 0, "metric": "accuracy", "train_loss": 1.0, **more}
    return [
        {**run, "epoch": epoch, "train_metric": a, "val_metric": a, "test_metric": b}
        for epoch, (a, b) in enumerate(zip(train, test, strict=True))
    ]


def test_speed_is_over_the_epochs_that_all_arms_have() -> None:
    table = pl.DataFrame(
        rows("random", [0.0, 0.1, 0.3, 0.8, 0.9], [0.0] * 5) + rows("pretrained", [0.2, 0.6, 0.7], [0.0] * 3)
    )
    found = {row["arm"]: row for row in outcomes.summarise(table).iter_rows(named=True)}
    assert found["random"]["speed"] == pytest.approx(0.2) and found["pretrained"]["speed"] == pytest.approx(0.65)
    assert (found["random"]["epochs"], found["pretrained"]["epochs"]) == (4, 2)
    (note,) = outcomes.lengths(table, "t")
    assert "random for 4 and pretrained for 2" in note and "the first 2 of each" in note
    assert not outcomes.lengths(table.filter(pl.col("arm") == "random"), "t")


# Best on test


def test_the_best_epoch_is_chosen_on_test_when_asked_for(fit) -> None:
    folder, found = fit("run", epochs=4, lr=0.2, best_on="test", mixup=0.0)
    best = json.loads((folder / "run.json").read_text())["best_epoch"]
    assert best == max(found[1:], key=lambda row: row["test_metric"])["epoch"]
    assert {row["best_on"] for row in found} == {"test"}
    _, usual = fit("usual", epochs=1)
    assert "best_on" not in usual[0]


def test_the_best_of_a_table_is_that_of_its_rows_and_warned_of() -> None:
    curve = [0.0, 0.9, 0.5], [0.0, 0.2, 0.7]
    on_val, on_test = (pl.DataFrame(rows("random", *curve, **more)) for more in ({}, {"best_on": "test"}))
    assert outcomes.summarise(on_val)["best"].to_list() == [0.2] and not outcomes.chosen_on_test(on_val, "t")
    assert outcomes.summarise(on_test)["best"].to_list() == [0.7]
    assert "leans upward" in outcomes.chosen_on_test(on_test, "t")[0]


# Pictures prepared


def test_pictures_are_prepared_in_training_and_evaluation_alike(digits) -> None:
    kind = inputs.of_table(digits.whole())
    table = kind.open_table(digits.whole())
    from tests.tasks.conftest import RECIPE  # the recipe of `fit`

    from transferscope.tasks.recipe import Run

    said = {**RECIPE, "augment": None, "prepare": ["equalize", {"gaussian_blur": {"size": 3}}]}
    run = Run.read({name: value for name, value in said.items() if name != "weights"})
    at = table.rows["train"][:16]
    fed = inputs.Fed(run.mean, run.std, prepare=run.prepare)
    (seen,) = kind.evaluation(table, at, table.labels, fed, batch_size=16, device="cpu")
    plain = torch.from_numpy(table.gather(at, "eval")).permute(0, 3, 1, 2)
    by_hand = augmented(run.prepare, seed=9, epoch=9).altered(plain, at).float() / 255
    torch.testing.assert_close(seen[0], (by_hand - 0.5) / 0.5, rtol=0, atol=1e-5)
    assert not torch.equal(by_hand, plain.float() / 255)
    trained = {
        int(row): image
        for x, _, of in kind.training(table, at, table.labels, run, epoch=1, start=0, device="cpu")
        for image, row in zip(x, of, strict=True)
    }
    for image, row in zip(seen[0], at.tolist(), strict=True):
        assert torch.equal(trained[row], image)


def test_what_prepares_is_in_the_key_and_draws_nothing(tmp_path: Path) -> None:
    plain = Study.load(smoke.write(tmp_path))
    with_it = Study.load(tmp_path / "study.yaml", {"recipe.prepare": "[equalize]"})
    assert with_it.run("shapes", "random", 0).key != plain.run("shapes", "random", 0).key
    with pytest.raises(UserError, match=r"'rotate' draws at random or blends images; list it under augment\.then"):
        Study.load(tmp_path / "study.yaml", {"recipe.prepare": "[rotate]"})
    with pytest.raises(UserError, match="'cutmix' draws at random or blends"):
        Study.load(tmp_path / "study.yaml", {"recipe.prepare": "[cutmix]"})


def test_what_prepares_is_timed() -> None:
    recipe = Recipe.model_validate({"prepare": ["equalize", {"gaussian_blur": {"sigma": 1}}]})
    assert hash(recipe.timed()) != hash(Recipe().timed())
    assert Training.of_timed(recipe.timed()).prepare == recipe.prepare


def test_blur_is_opencvs_width_and_equalize_is_flat() -> None:
    """A point becomes a kernel of sigma 0.8; a ramp of few greys is spread over all."""
    point = torch.zeros(1, 3, 5, 5, dtype=torch.uint8)
    point[..., 2, 2] = 255
    (entry,) = Recipe.model_validate({"prepare": "gaussian_blur"}).prepare
    out = augmented([entry], seed=0, epoch=0).altered(point, np.arange(1))[0, 0].double()
    side = np.exp(-1 / (2 * 0.8**2))
    kernel = np.array([side, 1, side]) / (1 + 2 * side)
    assert np.abs(out[1:4, 1:4].numpy() - 255 * np.outer(kernel, kernel)).max() <= 0.5 + 1e-3  # rounding to whole greys
    ramp = torch.arange(100, 164, dtype=torch.uint8).repeat(3, 16).view(1, 3, 32, 32)
    (entry,) = Recipe.model_validate({"prepare": "equalize"}).prepare
    flat = augmented([entry], seed=0, epoch=0).altered(ramp, np.arange(1))
    assert flat.min() == 0 and flat.max() == 255 and len(flat[0, 0].unique()) >= 48


def test_the_tiny_network_runs_without_pretraining(fit) -> None:
    """A run with all of them, its files whole."""
    folder, found = fit("all", epochs=2, lr_scale={"*bias": 0.1}, prepare=["equalize"], best_on="test")
    assert len(found) == 3 and set(load_file(folder / "best.safetensors")) == set(nets.tiny(10).state_dict())
