"""Networks of Hugging Face's transformers, of a few thousand parameters, as folders that `save_pretrained` writes."""

import json
from pathlib import Path
from typing import Any

import pytest

transformers = pytest.importorskip("transformers")

import torch  # noqa: E402

CLASSES = 5  # of the heads in the folders
KINDS: dict[str, dict[str, Any]] = {
    "vit": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": 32,
        "patch_size": 8,
    },
    "convnext": {"depths": [1, 1], "hidden_sizes": [8, 16], "num_stages": 2},
    "swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4, "image_size": 32},
    "resnet": {"depths": [1, 1], "embedding_size": 8, "hidden_sizes": [8, 16], "layer_type": "basic"},
}
PROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.25, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 32, "width": 32},
}


def write(folder: Path, kind: str, *, processor: bool = True, seed: int = 1) -> Path:
    """A network of a kind with random weights in `folder`, with a processor unless told otherwise."""
    config = transformers.AutoConfig.for_model(kind, **KINDS[kind], num_labels=CLASSES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = transformers.AutoModelForImageClassification.from_config(config)
    net.save_pretrained(folder)
    if processor:
        (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR), encoding="utf-8")
    return folder


def values(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors in a folder as the library itself loads them."""
    net = transformers.AutoModelForImageClassification.from_pretrained(folder)
    return dict(net.state_dict())
