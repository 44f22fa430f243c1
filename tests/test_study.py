"""The study file: strict, one sentence a mistake, and keys that hold what matters."""

from typing import Any

import pytest
import torch
import torchvision
import yaml
from safetensors.torch import save_file

from transferscope.data import Target
from transferscope.errors import UserError
from transferscope.study import Study

PLAIN = """
targets: {digits: digits}
network: toy.nets:tiny
arms: [random]
image_size: 16
recipe: {lr: 0.1, epochs: 2, precision: float32, evaluate: all}
"""


@pytest.fixture
def load(tmp_path):
    def read(text: str = PLAIN, **changes: str) -> Study:
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return Study.load(path, {key.replace("__", "."): value for key, value in changes.items()})

    return read


def test_a_plain_study(load) -> None:
    study = load()
    assert study.seeds == (0, 1, 2) and study.growing is None
    assert study.analyses == {"transfer": {}}
    assert study.recipe.rates("random") == (0.1,)


def test_short_forms(load, tmp_path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors")
    study = load(
        "targets: [digits]\nnetwork: toy.nets:tiny\npretrained: file:w.safetensors\nseeds: 3\nanalyses: [transfer]\n"
        "recipe: {lr: {random: [0.1, 1], pretrained: 1e-3}}",
        arms="[random]",
    )
    assert study.targets == {"digits": Target(ref="digits")}
    assert study.seeds == (0, 1, 2)
    assert study.pretrained.weights == "file:w.safetensors"
    assert study.recipe.rates("random") == (0.1, 1.0)
    assert study.recipe.rates("pretrained") == study.recipe.rates("transfuse:2") == (0.001,)
    assert study.recipe.rates("stats") == (0.1, 1.0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"recipe__epoch": "3"}, "unknown key 'recipe.epoch'; did you mean 'epochs'?"),
        ({"target": "digits"}, "unknown key 'target'; did you mean 'targets'?"),
        ({"recipe__augment__flipp": "true"}, "unknown key 'recipe.augment.flipp'; did you mean 'flip'?"),
        (
            {"recipe__epochs": "three"},
            "recipe.epochs: a whole number from 1 to 100,000, or one per arm (it is 'three",
        ),
        ({"recipe__epochs": "0"}, "recipe.epochs: a whole number from 1 to 100,000, or one per arm (it is 0)"),
        ({"recipe__lr": "-1"}, "recipe.lr: a learning rate is a number above 0"),
        ({"recipe__lr": "fast"}, "recipe.lr: a learning rate is a number above 0"),
        ({"recipe__evaluate": "8"}, "recipe.evaluate: a number of images, 16 or more, or 'all' (it is 8)"),
        ({"recipe__evaluate": "some"}, "recipe.evaluate: a number of images, 16 or more, or 'all' (it is 'some')"),
        ({"recipe__schedule": "cosin"}, "recipe.schedule: input should be 'cosine', 'multistep', 'constant', "),
        ({"recipe__table_size": "12"}, "recipe.table_size: must be at least image_size (16)"),
        (
            {"resources__compile": "true", "resources__gpus_per_run": "auto"},
            "resources.compile: what is compiled trains",
        ),
        ({"resources__gpus_per_run": "0"}, "resources.gpus_per_run"),
        ({"targets__digits": "digit"}, "Unknown data source 'digit'"),
        ({"network": "tim:resnet18"}, "did you mean 'timm'?"),
        ({"network": "resnet18"}, "write timm:resnet18"),
        ({"arms": "[random, pretraind]"}, "did you mean 'pretrained'?"),
        ({"arms": "[random, pretrained]"}, "'pretrained' needs weights to start from: add 'pretrained: ...'"),
        ({"pretrained": "fil:x"}, "did you mean 'file'?"),
        ({"pretrained": "file:absent.pth"}, "absent.pth"),
        ({"seeds": "[1, 1]"}, "seeds: 1 is listed twice"),
        ({"seeds": "0"}, "seeds"),
        ({"split__val": "0.5", "split__test": "0.5"}, "split: val must be above 0, and val + test below 1"),
        ({"head": "own"}, "head: input should be 'shared' or 'per-seed'"),
        ({"recipe__lr": "{pretrained: 0.1}"}, "recipe.lr has no rate for the arm 'random'"),
    ],
)
def test_mistakes_are_one_sentence_with_the_key(load, changes, sentence) -> None:
    with pytest.raises(UserError) as caught:
        load(**changes)
    message = str(caught.value)
    assert sentence in message
    assert "study.yaml" in message
    assert "\n" not in message


def test_a_missing_key_is_named(load) -> None:
    with pytest.raises(UserError, match="the key 'network' is missing"):
        load("targets: [digits]")


def test_what_is_not_a_study(load, tmp_path) -> None:
    with pytest.raises(UserError, match="'transferscope init FOLDER' writes one"):
        Study.load(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match=r"line 2: not valid YAML"):
        load("targets: [digits]\nnetwork: [")
    with pytest.raises(UserError, match="a study is a mapping"):
        load("- a\n- b")
    with pytest.raises(UserError, match="'recipe' is not a mapping"):
        load("recipe: 3", recipe__epochs="3")


def test_set_reads_yaml_and_creates_what_is_missing(load) -> None:
    study = load(recipe__epochs="7", split__seed="3", recipe__augment="null")
    assert (study.recipe.epochs, study.split.seed, study.recipe.augment) == (7, 3, None)


def test_the_resolved_study_is_the_same_study(load, tmp_path) -> None:
    study = load()
    text = study.resolved()
    assert "momentum: 0.9" in text
    again = Study.parse(yaml.safe_load(text), folder=tmp_path)
    assert again == study
    assert again.run("digits", "random", 0).key == study.run("digits", "random", 0).key


def test_where_and_how_fast_is_not_part_of_a_key(load) -> None:
    slow, fast = (
        load(resources__slots="1"),
        load(resources__slots="2", resources__gpus_per_run="2", resources__store="elsewhere"),
    )
    assert slow.run("digits", "random", 0).key == fast.run("digits", "random", 0).key


def test_what_weights_need_not_fill_is_part_of_a_key_only_where_it_is_said(tmp_path) -> None:
    net = torchvision.models.resnet18(num_classes=2)
    torch.save(net.state_dict(), tmp_path / "w.pth")

    def key(**how: Any) -> str:
        raw = yaml.safe_load(PLAIN) | {"network": "torchvision:resnet18", "arms": ["random", "pretrained"]}
        raw["pretrained"] = {"weights": "file:w.pth", **how}
        return Study.parse(raw, folder=tmp_path).run("digits", "pretrained", 0).key

    assert key() == key(allow=[]) != key(allow="conv1.weight") == key(allow=["conv1.weight"])
    with pytest.raises(UserError, match=r"pretrained\.allow"):
        key(allow=3)


def test_how_the_pixels_of_weights_were_normalised_may_be_said(tmp_path) -> None:
    """Every arm is fed so; what says nothing has the key that it had."""
    net = torchvision.models.resnet18(num_classes=2)
    torch.save(net.state_dict(), tmp_path / "w.pth")

    def study(**how: Any) -> Study:
        raw = yaml.safe_load(PLAIN) | {"network": "torchvision:resnet18", "arms": ["random", "pretrained"]}
        raw["pretrained"] = {"weights": "file:w.pth", **how}
        return Study.parse(raw, folder=tmp_path)

    usual, own = study(), study(mean=[0.5], std=[0.25])
    for arm in ("random", "pretrained"):
        steps = [of.run("digits", arm, 0) for of in (usual, own)]
        assert steps[0].key != steps[1].key and steps[1].params["mean"] == [0.5]
    assert study(mean=None).run("digits", "random", 0).key == usual.run("digits", "random", 0).key
    said = usual.preprocessing()
    assert (
        study(mean=said["mean"], std=said["std"]).run("digits", "random", 0).key == usual.run("digits", "random", 0).key
    )
    assert "as pretrained.mean and pretrained.std say" in own.preprocessing()["source"]
    for how, words in (
        ({"mean": [0.5]}, "mean and std go together"),
        ({"mean": [0.5, 0.5], "std": [0.5]}, "one number a channel"),
        ({"mean": [0.5], "std": [0]}, "must be above 0"),
        ({"mean": 0.5, "std": 0.5}, "pretrained.mean"),
        ({"weights": None, "source": "digits", "mean": [0.5], "std": [0.5]}, "they go with weights or series"),
    ):
        with pytest.raises(UserError, match=words):
            study(**how)


def test_names_and_seed_counts_are_not_part_of_a_key(load) -> None:
    key = load().run("digits", "random", 0).key
    assert load(seeds="5", name="other", analyses="{transfer: {}}").run("digits", "random", 0).key == key
    renamed = load(PLAIN.replace("{digits: digits}", "{numbers: digits}"))
    assert renamed.run("numbers", "random", 0).key == key


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe__epochs": "3"},
        {"recipe__lr": "0.2"},
        {"recipe__mixup": "0.1"},
        {"recipe__augment": "null"},
        {"recipe__precision": "bfloat16"},
        {"recipe__evaluate": "100"},
        {"split__seed": "1"},
        {"image_size": "24"},
        {"head": "per-seed"},
    ],
)
def test_what_changes_numbers_is_part_of_the_key(load, changes) -> None:
    assert load(**changes).run("digits", "random", 0).key != load().run("digits", "random", 0).key


def test_a_list_of_rates_is_searched_with_a_seed_of_its_own(load) -> None:
    study = load(recipe__lr="[0.1, 0.2]")
    run = study.run("digits", "random", 0)
    (choice,) = [step for step in run.inputs if step.task == "choose_lr"]
    trials = [step for step in choice.inputs if step.task == "train"]
    assert sorted(step.params["lr"] for step in trials) == [0.1, 0.2]
    assert all(step.params["seed"] not in study.seeds for step in trials)
    other = study.run("digits", "random", 1)
    assert [s.key for s in other.inputs if s.task == "choose_lr"] == [choice.key]


def test_other_fields_are_searched_with_the_rate_arm_by_arm(load) -> None:
    both = load(recipe__lr="[0.1, 0.2]", recipe__search="{weight_decay: [0.0, 0.1], clip_grad: {random: [null, 1.0]}}")
    run = both.run("digits", "random", 0)
    (choice,) = [step for step in run.inputs if step.task == "choose_fields"]
    points = [point for point, _ in choice.params["trials"]]
    assert len(points) == 8 and {"lr": 0.2, "weight_decay": 0.1, "clip_grad": None} in points
    for point, trial in choice.params["trials"]:
        assert {name: trial.params[name] for name in point} == point and trial.params["seed"] not in both.seeds
    assert run.params["weight_decay"] is None and run.params["lr"] is choice
    again = both.run("digits", "random", 1, lr=choice, begin=run)
    assert again.params["weight_decay"] is None, "a rate found with other fields brings them along"
    fixed = both.run("digits", "random", 0, weight_decay=0.1)
    (choice,) = [step for step in fixed.inputs if step.task == "choose_fields"]
    assert "weight_decay" not in choice.params["trials"][0][0] and fixed.params["weight_decay"] == 0.1
    alone = load(recipe__search="{weight_decay: [0.1]}")
    one = alone.run("digits", "random", 0)
    assert one.key == load(recipe__weight_decay="0.1").run("digits", "random", 0).key
    begun = alone.run("digits", "random", 1, lr=one.params["lr"], begin=one)
    assert begun.params["weight_decay"] == 0.1, "nor does a rate that was not searched leave them behind"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("{epochs: [1, 2]}", "recipe.search.epochs: it cannot be searched; known: weight_decay, layer_decay"),
        ("{weight_decy: [0.1]}", "recipe.search.weight_decy: it cannot be searched; did you mean 'weight_decay'?"),
        ("{weight_decay: 0.1}", "recipe.search.weight_decay: give a list of different values, or one per arm"),
        ("{weight_decay: []}", "recipe.search.weight_decay: give a list of different values, or one per arm"),
        ("{weight_decay: [0.1, 0.1]}", "recipe.search.weight_decay: give a list of different values, or one per arm"),
        ("{weight_decay: [0.1, -1]}", "recipe.search.weight_decay: -1: input should be greater than or equal to 0"),
        ("{weight_decay: {randm: [0.1]}}", "recipe.search.weight_decay: 'randm'"),
        ("[weight_decay]", "recipe.search"),
        ("{momentum: [0.5, 0.9]}", "recipe.search.momentum: 'adamw' pays no heed to it; remove it"),
    ],
)
def test_a_search_that_cannot_be_is_one_sentence(load, said, sentence) -> None:
    adamw = {"recipe__optimizer": "adamw", "recipe__lr": "0.001"} if "momentum" in said else {}
    with pytest.raises(UserError) as error:
        load(recipe__search=said, **adamw)
    assert sentence in str(error.value)


def test_golden_study_key(monkeypatch, tmp_path) -> None:
    """The keys of one training run and its data, frozen on 2026-11-23 with a made-up fingerprint of the images.

    They may change only when the version of `train` or `ingest` is raised, or a recipe's default means something else.
    """
    monkeypatch.setattr("transferscope.study.steps.data.source_fingerprint", lambda ref, memo: "fingerprint")
    study = Study.parse(yaml.safe_load(PLAIN), folder=tmp_path)
    step = study.run("digits", "random", 0)
    assert (step.key, step.inputs[0].key) == GOLDEN


def test_a_changed_study_looks_up_its_own(tmp_path) -> None:
    """Asking it first does not change what the original is asked next; outside things are looked at once for both."""
    plain = Study.parse(yaml.safe_load(PLAIN), folder=tmp_path)
    key = Study.parse(yaml.safe_load(PLAIN), folder=tmp_path).data("digits").key
    larger = plain.changed(image_size=2 * plain.image_size)
    assert larger.data("digits").key != key
    assert plain.data("digits").key == key
    assert larger.listing(larger.targets["digits"]) is plain.listing(plain.targets["digits"])
    plain.forget()
    assert larger.data("digits").key != plain.data("digits").key == key


# Both changed when ingest became version 2: one scale of grey values a target, folders understood by other rules.
GOLDEN = ("5d5305630406b8c0e5deb8af", "b9a93eaaca32d81a2b28e4b5")


def test_a_plateau_has_no_run_that_goes_on_from_anothers_epoch(tmp_path) -> None:
    raw = {"targets": ["digits"], "network": "toy.nets:tiny", "arms": ["random"], "image_size": 16}
    study = Study.parse({**raw, "recipe": {"schedule": "plateau", "precision": "float32"}}, folder=tmp_path)
    run = study.run("digits", "random", 0)
    with pytest.raises(UserError, match=r"recipe.schedule: it goes by a run's own scores"):
        study.run("digits", "random", 1, begin=run, begin_at="epoch-0001", first_epoch=1)
