"""A study of networks of Hugging Face: every analysis that looks inside a network works on them, block by block."""

import json
from pathlib import Path

import hugging
import polars
import pytest
from contract import analyses, small
from smoke import images

TEXT = """\
name: hugging
targets: {shapes: "folder:images"}
network: transformers:net
pretrained: transformers
arms: [random, pretrained]
seeds: 2
recipe:
  {epochs: 1, batch_size: 16, optimizer: adamw, lr: 0.001, layer_decay: 0.75, ema: 0.9, clip_grad: 1.0,
   augment: {scale: [0.5, 1.0], then: [rand_augment]}, precision: float32, evaluate: 16}
analyses: ANALYSES
resources: {executor: inline, slots: 1, device: cpu}
"""
BY_BLOCK = ("similarity", "distance", "rewind", "criticality")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_every_analysis_works_on_the_real_blocks(kind: str, tmp_path: Path) -> None:
    images.write(tmp_path / "images")
    hugging.write(tmp_path / "net", kind)
    study = tmp_path / "study.yaml"
    study.write_text(TEXT.replace("ANALYSES", json.dumps(small.OPTIONS)), encoding="utf-8")
    for name in small.OPTIONS:
        done = analyses.finished(study, name)
        section = done.section(done.whole)
        assert not done.whole.missing and section.findings, name
        if name in BY_BLOCK:
            rows = done.whole.rows
            texts = [rows[column].to_list() for column, kind in rows.schema.items() if kind == polars.String]
            found = {word for column in texts for word in column if word}
            assert len([word for word in found if word.startswith((f"{kind}.", "classifier"))]) >= 3, (name, found)
            assert kind not in found, "the backbone is no block"
