"""`torchvision:NAME`: any classification network of torchvision, e.g. `torchvision:vgg11`."""

from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError
from transferscope.registry import nearest

if TYPE_CHECKING:
    from torch import nn

EXAMPLE = "squeezenet1_1"
OURS = ("num_classes", "progress", "weights", "weights_backbone")


def check(name: str) -> None:
    """Nothing is looked up before the network is built: importing torchvision takes seconds."""


def build(name: str, classes: int, **options: Any) -> "nn.Module":
    """The network with a head of `classes` outputs, fresh weights and no auxiliary heads.

    `options` are keyword arguments of its function in torchvision: `dropout`, `image_size`, ...
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        tail = nearest(name, known, "torchvision.models.list_models() has all names.")
        raise UserError(f"network: torchvision has no '{name}'; {tail}")
    extra: dict[str, Any] = {"weights": None, "num_classes": classes}
    if "inception" in name or name == "googlenet":
        extra |= {"aux_logits": False, "init_weights": True}
    net: nn.Module = models.get_model(name, **{**extra, **options})
    return net
