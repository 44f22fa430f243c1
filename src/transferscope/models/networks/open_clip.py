"""`open_clip:NAME`: the image tower of any network of OpenCLIP with a linear head, e.g. `open_clip:ViT-B-32`.

Its tensors are called as in checkpoints of the whole network (`visual...`), whose text tower is left out.
"""

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from transferscope import extras
from transferscope.errors import UserError
from transferscope.registry import joined, nearest

if TYPE_CHECKING:
    from torch import nn

EXAMPLE = joined("ViT-S-32-alt", {"force_image_size": 64})
LIBRARY = "open_clip_torch"
OURS = ("cache_dir", "device", "jit", "load_weights", "output_dict", "precision", "pretrained", "require_pretrained")


def check(name: str) -> None:
    """UserError unless open_clip is installed; nothing is looked up before the network is built."""
    extras.need("open_clip", "open_clip", f"network: open_clip:{name}")


def build(name: str, classes: int, **options: Any) -> "nn.Module":
    """The image tower with fresh weights and a head of `classes` outputs on its embedding.

    `options` are keyword arguments of `open_clip.create_model`, such as `force_image_size`: a tower takes images of its
    own size alone.
    """
    import open_clip
    from torch import nn

    known = open_clip.list_models()
    if name not in known:
        raise UserError(
            f"network: OpenCLIP has no '{name}'; {nearest(name, known, 'open_clip.list_models() has all.')}"
        )
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # that no weights were loaded is meant
    try:
        visual = open_clip.create_model(name, pretrained=None, **options).visual
    finally:
        logging.disable(before)
    head = nn.Linear(int(open_clip.get_model_config(name)["embed_dim"]), classes)
    return nn.Sequential(OrderedDict(visual=visual, head=head))


def normalisation(name: str) -> dict[str, Any]:
    """What OpenCLIP's networks were trained on."""
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    return {"mean": tuple(OPENAI_DATASET_MEAN), "std": tuple(OPENAI_DATASET_STD), "interpolation": "bicubic"}
