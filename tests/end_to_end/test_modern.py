"""A recipe as people fine-tune today, through a whole study in one process: from training to what is read of it."""

import json
from importlib import resources
from pathlib import Path

import pytest
import yaml
from contract import analyses, small
from smoke.images import write as write_images

from transferscope import battery, models
from transferscope.errors import UserError
from transferscope.study import Study

TEXT = """\
name: modern
targets: {shapes: "folder:images"}
network: timm:test_resnet
pretrained: file:weights.safetensors
image_size: 32
arms: [random, pretrained]
seeds: 2
recipe:
  {epochs: 2, batch_size: 16, accumulate: 2, optimizer: adamw, betas: [0.9, 0.99], decay_norms: false, layer_decay: 0.7,
   lr: 0.003, weight_decay: 0.05, clip_grad: 1.0, ema: 0.9, drop_path: 0.1, dropout: 0.1, label_smoothing: 0.1,
   class_weights: balanced, fit: pad, precision: float32, evaluate: 16,
   augment: {scale: [0.5, 1.0], then: [{rand_augment: {num_ops: 1}}, {random_erasing: {p: 0.5}}, mixup, cutmix]}}
analyses:
  transfer: {}
  barrier: {images: 24, statistics: 16, alphas: 3, checkpoint: ema}
  average: {steps: 3, images: 24, statistics: 16, checkpoint: ema}
  rewind: {images: 24, statistics: 16}
  plainly: {type: barrier, images: 24, statistics: 16, alphas: 3}
resources: {device: cpu, executor: inline}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    from safetensors.torch import save_file

    from transferscope.models.build import build_network

    made: Path = tmp_path_factory.mktemp("modern")
    write_images(made / "images")
    save_file(build_network("timm:test_resnet", 3, seed=1000).state_dict(), made / "weights.safetensors")
    (made / "study.yaml").write_text(TEXT, encoding="utf-8")
    return made


@pytest.mark.slow
def test_the_whole_of_it(folder: Path, call) -> None:
    done = call("run", cwd=folder)
    assert done.code == 0, done.out + done.err
    plan, store = battery.plan(Study.load(folder / "study.yaml"))
    runs = [step for step in plan.steps if step.task == "train"]
    assert runs and not plan.todo(store), "everything is done"
    for step in runs:
        kept = store.get(step)
        assert (kept.path / "ema.safetensors").is_file() and (kept.path / "predictions-ema.safetensors").is_file()
        assert 0 <= kept.rows[-1]["ema_test_metric"] <= 1
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "moving average of the weights" in page
    ends = {}
    for name in ("barrier", "plainly"):
        assert (folder / "tables" / f"{name}.csv").is_file()
        ends[name] = [store.get(cell.step).rows for cell in plan.cells if cell.analysis == name]
    assert ends["barrier"] != ends["plainly"], "averaged weights are other weights"
    json.loads((folder / "results.json").read_text(encoding="utf-8"))
    again = call("run", cwd=folder)
    assert again.code == 0 and "done train" not in again.out


def test_averaged_weights_that_no_run_keeps_are_one_sentence(folder: Path) -> None:
    study = Study.load(folder / "study.yaml", {"recipe.ema": "null"})
    with pytest.raises(UserError, match=r"^analyses.barrier.checkpoint: no run averages its weights; set recipe.ema"):
        battery.plan(study)


SEARCHED = """\
name: searched
targets: {shapes: "folder:images"}
network: timm:test_resnet
pretrained: file:weights.safetensors
image_size: 32
arms: [random, pretrained]
seeds: 2
recipe:
  {epochs: 3, early_stopping: 1, batch_size: 16, optimizer: adamw, lr: {random: 0.003, pretrained: [0.001, 0.003]},
   search: {weight_decay: [0, 0.1], layer_decay: {pretrained: [0.7, 1]}}, precision: float32, evaluate: 16}
analyses: {transfer: {}}
resources: {device: cpu, executor: inline}
"""


@pytest.mark.slow
def test_fields_are_searched_and_said(folder: Path, call) -> None:
    (folder / "searched.yaml").write_text(SEARCHED, encoding="utf-8")
    done = call("run", "searched.yaml", cwd=folder)
    assert done.code == 0, done.out + done.err
    plan, store = battery.plan(Study.load(folder / "searched.yaml"))
    tried = {}
    for cell in (cell for cell in plan.cells if cell.analysis == "transfer"):
        choice = cell.step.params["lr"]
        rows = store.get(choice).rows
        tried[cell.labels["arm"]] = {tuple(sorted(set(row) - {"val_metric", "chosen"})): len(rows) for row in rows}
        (best,) = [row for row in rows if row["chosen"]]
        assert best["val_metric"] == max(row["val_metric"] for row in rows)
    assert tried == {"random": {("lr", "weight_decay"): 2}, "pretrained": {("layer_decay", "lr", "weight_decay"): 8}}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "What was searched" in page and "Of 8 settings lr 0.00" in page


TODAY = """\
name: today
targets: {shapes: "folder:images"}
network: NETWORK
pretrained: file:weights.safetensors
image_size: SIZE
arms: [random, pretrained]
seeds: 2
recipe:
  {epochs: 1, batch_size: 16, optimizer: adamw, lr: 0.001, weight_decay: 0.05, decay_norms: false, layer_decay: 0.75,
   drop_path: 0.1, ema: 0.9, clip_grad: 1.0, augment: {scale: [0.5, 1.0], then: [rand_augment]}, precision: float32,
   evaluate: 16}
analyses: ANALYSES
resources: {executor: inline, slots: 1, device: cpu}
"""
NETWORKS = {
    "timm:vit_tiny_patch16_224": (
        "{ref: timm:vit_tiny_patch16_224, options: {img_size: 64, depth: 2, embed_dim: 48}}",
        64,
    ),
    "timm:convnext_atto": ("{ref: timm:convnext_atto, options: {depths: [1, 1, 1, 1], dims: [8, 16, 24, 32]}}", 32),
}


@pytest.mark.slow
@pytest.mark.parametrize("ref", NETWORKS)
def test_every_analysis_of_the_quickstart_on_a_network_of_today(ref: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from transferscope.models.build import build_network

    write_images(tmp_path / "images", each=16)
    text, size = NETWORKS[ref]
    network = models.written(yaml.safe_load(text))
    save_file(build_network(network, 5, seed=1000).state_dict(), tmp_path / "weights.safetensors")
    options = {**small.OPTIONS, "shuffle": {"seeds": 1, "blocks": [16]}}
    said = TODAY.replace("NETWORK", text).replace("SIZE", str(size)).replace("ANALYSES", json.dumps(options))
    study = tmp_path / "study.yaml"
    study.write_text(said, encoding="utf-8")
    asked = yaml.safe_load((resources.files("transferscope") / "quickstart.yaml").read_text(encoding="utf-8"))
    assert set(options) == set(asked["analyses"])
    for name in options:
        done = analyses.finished(study, name)
        section = done.section(done.whole)
        assert not done.whole.missing and (section.findings or section.notes), name
