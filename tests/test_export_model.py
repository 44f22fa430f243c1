"""Fine-tuned networks as folders: the real library loads each and gives the answers that the run gave."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from smoke import images

import transferscope as ts
from transferscope.tasks import inputs, restore

TINY = {"depths": [1, 1], "embedding_size": 8, "hidden_sizes": [8, 16], "layer_type": "basic"}
NETWORKS: dict[str, Any] = {
    "timm": {"ref": "timm:test_resnet", "options": {"drop_rate": 0.1}},
    "transformers": {"ref": "transformers:resnet", "options": TINY},
    "own": "smoke.nets:tiny",
}


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The kind of network, the folder of its finished study, and that of the export."""
    kind = request.param
    if kind == "transformers":
        pytest.importorskip("transformers")
    here = tmp_path_factory.mktemp(kind)
    images.write(here / "images", each=12)
    keys = {
        "name": "shapes study",
        "targets": {"shapes": "folder:images"},
        "network": NETWORKS[kind],
        "image_size": 32,
        "arms": ["random"],
        "seeds": 1,
        "recipe": {"epochs": 2, "batch_size": 8, "lr": 0.02, "precision": "float32"},
        "resources": {"executor": "inline", "device": "cpu"},
    }
    ts.Study(folder=here, **keys).run(progress=False)
    return kind, here, here / "classifier"


@pytest.fixture(scope="module")
def written(exported: Any) -> Any:
    from typer.testing import CliRunner

    from transferscope import cli

    kind, here, folder = exported
    words = ["export", "model", "shapes/random/0", str(folder), "--study", str(here / "resolved.yaml")]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    return kind, here, folder


def loaded(kind: str, folder: Path) -> torch.nn.Module:
    """By the library itself, from nothing but the folder."""
    if kind == "timm":
        import timm

        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = folder / "model.safetensors"
        options = {"drop_rate": 0.1, "num_classes": said["num_classes"], "checkpoint_path": str(weights)}
        return timm.create_model(said["architecture"], **options).eval()
    if kind == "transformers":
        from transformers import AutoModelForImageClassification

        return AutoModelForImageClassification.from_pretrained(folder).eval()
    from safetensors.torch import load_file
    from smoke import nets

    net = nets.tiny(3)
    net.load_state_dict(load_file(folder / "model.safetensors"))
    return net.eval()


def test_the_library_gives_the_answers_of_the_run(written: Any) -> None:
    kind, here, folder = written
    (place,) = (here / "store" / "train").iterdir()
    run = ts_artifact(place)
    data = ts_artifact(here / "store" / "ingest" / run.said["params"]["data"]["$step"][1])
    table = inputs.open_table(data.path)
    fed = inputs.Fed(tuple(run.said["params"]["mean"]), tuple(run.said["params"]["std"]))
    rows = np.asarray(table.rows["test"])
    net, found = loaded(kind, folder), []
    with torch.no_grad():
        for x, _, _ in inputs.of_table(data.path).evaluation(
            table, rows, table.labels, fed, batch_size=8, device="cpu"
        ):
            out = net(x)
            found.append(getattr(out, "logits", out))
    # The run answers in channels-last layout and other batches, whose sums are in another order.
    np.testing.assert_allclose(torch.cat(found).numpy(), restore.outputs(run, "test"), rtol=1e-3, atol=1e-4)


def ts_artifact(folder: Path) -> Any:
    from transferscope.engine.artifact import Artifact

    return Artifact(folder)


def test_the_folder_says_classes_and_how_it_is_fed(written: Any) -> None:
    kind, _, folder = written
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if kind == "transformers":
        assert said["id2label"] == {"0": "disc", "1": "square", "2": "stripes"} and "architectures" in said
    else:
        assert said["label_names"] == ["disc", "square", "stripes"]
    if kind == "timm":
        how = said["pretrained_cfg"]
        assert how["input_size"] == [3, 32, 32] and how["crop_pct"] == 1.0 and len(how["mean"]) == 3
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith(f"---\nlibrary_name: {kind if kind != 'own' else 'pytorch'}\n")
    assert "disc, square, stripes" in card and "| test |" in card and "shapes/random/0" in card and "seed 0" in card
    assert "32 x 32 pixels" in card and "shapes study" in card and "[" in card


def test_the_lines_of_the_card_load_it(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, here, folder = written
    if kind == "own":
        return  # whose function only its owner has
    monkeypatch.chdir(here)
    lines = (folder / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    scope: dict[str, Any] = {}
    exec(lines, scope)
    one, other = scope["net"].state_dict(), loaded(kind, folder).state_dict()
    assert not scope["net"].training and all(torch.equal(one[name], other[name]) for name in other)


def test_what_cannot_be_exported_is_one_sentence(written: Any, call: Any) -> None:
    _, here, folder = written
    study = ("--study", here / "resolved.yaml")
    for words, told in (
        (("model", "shapes/random/0", folder), "holds something already"),
        (("model", "shapes/randm/0", here / "a"), "did you mean 'shapes/random/0'"),
        (("model", "shapes/random/0", here / "a", "--at", "ema"), "kept no weights 'ema'"),
        (("model", "shapes/random/0", here / "a", "--at", "last"), "none of final, best, ema"),
        (("model", "shapes/random/0"), "name a folder"),
        (("modle", "shapes/random/0", here / "a"), "did you mean 'model'"),
    ):
        said = call("export", *words, *study)
        assert said.code == 2 and told in said.err.replace("\n", " "), said.err
    untrained = call("export", "model", "shapes/random/1", here / "a", *study, "--set", "seeds=2")
    assert "is not trained yet" in untrained.err and not (here / "a").exists()
    (key,) = [place.name for place in (here / "store" / "train").iterdir()]
    assert call("export", "model", key[:8], here / "by-key", "--at", "best", *study).code == 0
    assert "best epoch on val" in (here / "by-key" / "README.md").read_text(encoding="utf-8")
