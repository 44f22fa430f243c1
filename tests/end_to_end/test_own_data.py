"""The way of README from a data set of Hugging Face and a checkpoint of Lightning to a page, as it is written there."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pages import TOP
from PIL import Image

HEADING = "## Your own data set and checkpoint"
# What makes it small: a network of timm of a few thousand weights, and no search.
SMALLER = {"timm:resnet18": "timm:test_resnet"}
SMALL = ["seeds=1", "recipe.lr=0.05", "analyses=[transfer]", "image_size=32", "resources.executor=inline"]


def section() -> str:
    text = (TOP / "README.md").read_text(encoding="utf-8")
    return text[text.index(HEADING) :].partition("\n## ")[0]


def data_set(folder: Path) -> None:
    """Forty-eight pictures of three even colours, whose classes have names."""
    datasets = pytest.importorskip("datasets")
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["red", "green", "blue"])}
    draw = np.random.default_rng(0)
    rows: dict[str, list[Any]] = {"image": [], "label": []}
    for number in range(48):
        pixels = draw.integers(0, 90, (24, 24, 3), np.uint8)
        pixels[:, :, number % 3] += 140
        rows["image"].append(Image.fromarray(pixels))
        rows["label"].append(number % 3)
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    made.train_test_split(test_size=0.25, seed=0).save_to_disk(folder)


def checkpoint(path: Path) -> None:
    """What a Trainer writes of a module around a network of timm with other classes."""
    lightning = pytest.importorskip("lightning.pytorch", exc_type=ImportError)
    import timm
    import torch

    class Lit(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = timm.create_model("test_resnet", num_classes=7)

        def training_step(self, batch: Any, _: int) -> Any:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), 1e-3)

    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(path.parent),
    )
    images = [(torch.rand(3, 32, 32), number % 7) for number in range(8)]
    trainer.fit(Lit(), torch.utils.data.DataLoader(images, batch_size=4))
    trainer.save_checkpoint(path)


@pytest.mark.slow
def test_from_readme_to_a_page(tmp_path: Path, call) -> None:
    data_set(tmp_path / "my_dataset")
    checkpoint(tmp_path / "model.ckpt")
    said = section()
    for piece, smaller in SMALLER.items():
        assert piece in said
        said = said.replace(piece, smaller)
    commands = re.findall(r"^    transferscope (.*?)(?:\s+#.*)?$", said, re.MULTILINE)
    assert [one.split()[0] for one in commands] == ["init", "check", "run"]
    changes = [word for change in SMALL for word in ("--set", change)]
    told = {}
    for one in commands:
        words = shlex.split(one)
        done = call(*words, *(changes if words[0] != "init" else ()), cwd=tmp_path)
        assert done.code == 0, done.out + done.err
        told[words[0]] = done.out
    written = yaml.safe_load((tmp_path / "study.yaml").read_text(encoding="utf-8"))
    begins = yaml.safe_load(next(one for one in re.findall(r"```yaml\n(.*?)```", said, re.DOTALL)))
    assert {key: written[key] for key in begins} == begins, "what README says that init writes"
    assert "48 images, 3 classes" in told["init"] and "in the column 'image', labels in 'label'" in told["init"]
    assert "matched under 'state_dict.net'" in told["check"] and "normalised with mean" in told["check"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "with 1 seed" in page and "file:model.ckpt" in page
