"""Where pretrained weights come from: given, a series of files, or trained in the study itself."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from toy import nets

from transferscope.engine.step import Outside, Step
from transferscope.errors import UserError
from transferscope.study import Study, origin

PLAIN = {
    "targets": {"digits": "digits"},
    "network": "toy.nets:tiny",
    "image_size": 16,
    "recipe": {"lr": 0.1, "precision": "float32"},
}


def study(folder: Path, pretrained: object, **changes: object) -> Study:
    return Study.parse({**PLAIN, "pretrained": pretrained, **changes}, folder=folder)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Checkpoints of epochs 2, 9 and 10; the last is damaged."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for epoch in (10, 9, 2):
        save_file(nets.tiny(10).state_dict(), folder / f"epoch_{epoch}.safetensors")
    whole = (folder / "epoch_10.safetensors").read_bytes()
    (folder / "epoch_10.safetensors").write_bytes(whole[: len(whole) // 2])
    return tmp_path


def test_a_series_is_in_natural_order_and_survives_a_damaged_file(series) -> None:
    found = study(series, {"series": "checkpoints/epoch_*.safetensors"}).checkpoints()
    assert [(c.name, c.epoch) for c in found] == [
        ("epoch_2.safetensors", 2),
        ("epoch_9.safetensors", 9),
        ("epoch_10.safetensors", 10),
    ]
    assert isinstance(found[0].weights, Outside) and "unreadable" not in found[0].weights.fingerprint
    assert found[2].weights.fingerprint.startswith("unreadable")


def test_listed_checkpoints_are_put_in_order_and_may_be_missing(series) -> None:
    found = study(series, {"series": ["checkpoints/epoch_9.safetensors", "checkpoints/epoch_3.safetensors"]})
    assert [(c.epoch, c.weights.fingerprint.startswith("unreadable")) for c in found.checkpoints()] == [
        (3, True),
        (9, False),
    ]


def test_runs_start_from_the_checkpoint_asked_for(series) -> None:
    found = study(series, {"series": "checkpoints/epoch_*.safetensors"})
    first, second, last = found.checkpoints()
    keys = {found.run("digits", "pretrained", 0, checkpoint=c).key for c in (first, second, last)}
    assert len(keys) == 3 and found.run("digits", "pretrained", 0).key in keys
    assert found.run("digits", "pretrained", 0).params["weights"] == last.weights
    assert found.run("digits", "random", 0, checkpoint=first).key == found.run("digits", "random", 0).key


def test_a_pretraining_is_a_step_and_its_saves_are_the_checkpoints(tmp_path) -> None:
    how = {
        "source": "digits",
        "labels": [True, "random"],
        "recipe": {"epochs": 10, "schedule": "multistep", "milestones": [0.5]},
    }
    found = study(tmp_path, how)
    true = [c for c in found.checkpoints() if c.track == "true"]
    assert [c.epoch for c in true] == [0, 1, 2, 4, 5, 6, 8, 10] and true[-1].name == "final"
    assert len(found.checkpoints()) == 16
    run = found.run("digits", "pretrained", 3)
    source = run.params["weights"]
    assert (
        isinstance(source, Step) and source.key == found.pretraining("true").key and run.params["weights_at"] == "final"
    )
    assert source.params["epochs"] == 10 and run.params["epochs"] == 20
    assert found.pretraining("random").key != source.key
    assert found.run("digits", "random", 3).params["weights"] is None


@pytest.mark.parametrize(
    ("pretrained", "sentence"),
    [
        ({}, "exactly one of weights, series and source"),
        ({"weights": "timm", "source": "digits"}, "it has weights and source"),
        ({"series": "a_*.pth", "recipe": {"epochs": 3}}, "recipe describes a pretraining done here"),
        ({"source": "digit"}, "pretrained.source: Unknown data source 'digit'"),
        ({"source": "digits", "recipe": {"epoch": 3}}, "unknown key 'epoch'"),
        ({"source": "digits", "recipe": {"lr": [0.1, 0.2]}}, "takes one learning rate"),
        ({"source": "digits", "labels": "noise"}, "pretrained.labels"),
        ({"source": "digits", "labels": ["random", "random"]}, "listed twice"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, pretrained, sentence) -> None:
    with pytest.raises(UserError) as caught:
        study(tmp_path, pretrained)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_resolved_study_is_a_study(series) -> None:
    for how in ({"series": "checkpoints/epoch_*.safetensors"}, {"source": "digits", "labels": [True, "random"]}):
        one = study(series, how)
        again = Study.parse(yaml.safe_load(one.resolved()), folder=series)
        assert [c.name for c in again.checkpoints()] == [c.name for c in one.checkpoints()]
        assert again.run("digits", "pretrained", 1).key == one.run("digits", "pretrained", 1).key


def test_a_series_is_fed_as_one_of_its_files_would_be(tmp_path) -> None:
    """timm's own mean and std, also where a file is missing; ImageNet's where the network says nothing."""
    fed = {}
    for network in ("timm:test_vit", "timm:test_efficientnet", "torchvision:resnet18"):
        how = {"series": ["a_1.pth", "a_2.pth"]}, {"weights": "file:a_2.pth"}
        torch.save({"weight": torch.zeros(1)}, tmp_path / "a_2.pth")
        one, other = (
            Study.parse({"targets": ["digits"], "network": network, "pretrained": origin}, folder=tmp_path)
            for origin in how
        )
        fed[network] = other.preprocessing()
        (tmp_path / "a_2.pth").unlink()
        assert fed[network] == one.preprocessing()
    assert fed["timm:test_vit"]["mean"] != fed["torchvision:resnet18"]["mean"]


def test_a_pattern_without_files_and_two_of_one_number(series) -> None:
    with pytest.raises(UserError, match=r"no file matches 'nothing_\*\.pth'"):
        study(series, {"series": "nothing_*.pth"}).checkpoints()
    save_file(nets.tiny(10).state_dict(), series / "checkpoints" / "again_9.safetensors")
    with pytest.raises(UserError, match="two checkpoints are numbered 9"):
        study(series, {"series": "checkpoints/*.safetensors"}).checkpoints()


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path) -> None:
    """As training frameworks write them; names that agree would mix the runs of several checkpoints."""
    for step in (100, 20, 3):
        (tmp_path / f"checkpoint-{step}").mkdir()
        save_file(nets.tiny(10).state_dict(), tmp_path / f"checkpoint-{step}" / "model18.safetensors")
    found = study(tmp_path, {"series": "checkpoint-*/model18.safetensors"}).checkpoints()
    assert [(c.name, c.epoch) for c in found] == [("checkpoint-3", 3), ("checkpoint-20", 20), ("checkpoint-100", 100)]
    save_file(nets.tiny(10).state_dict(), tmp_path / "checkpoint-3" / "last.safetensors")
    mixed = study(tmp_path, {"series": ["checkpoint-3/*.safetensors", "checkpoint-20/model18.safetensors"]})
    with pytest.raises(UserError, match="two checkpoints are numbered 18"):
        mixed.checkpoints()


def test_checkpoints_are_looked_up_once_a_plan_and_anew_in_a_changed_study(series, monkeypatch) -> None:
    found = study(series, {"series": "checkpoints/epoch_*.safetensors"})
    looked = []
    plain = origin.series
    monkeypatch.setattr(origin, "series", lambda *given: looked.append(given) or plain(*given))
    for seed in range(5):
        found.run("digits", "pretrained", seed)
    assert len(looked) == 1
    (series / "checkpoints" / "epoch_10.safetensors").unlink()
    other = found.changed(
        pretrained=found.pretrained.model_copy(update={"series": ("checkpoints/epoch_2.safetensors",)})
    )
    assert [c.epoch for c in other.checkpoints()] == [2] and len(found.checkpoints()) == 3
    found.forget()
    assert [c.epoch for c in found.checkpoints()] == [2, 9]


def test_a_part_of_every_file_of_a_series_in_a_folder_with_a_hash(tmp_path: Path) -> None:
    folder = tmp_path / "c#k"
    folder.mkdir()
    for epoch in (1, 2):
        (folder / f"ep_{epoch}.pth").touch()
    for part in ("", "#teacher"):
        found = origin.series((f"c#k/ep_*.pth{part}",), tmp_path)
        assert found == [folder / f"ep_{epoch}.pth{part}" for epoch in (1, 2)]
