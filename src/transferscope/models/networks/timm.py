"""`timm:NAME`: any classification network of the timm library, e.g. `timm:resnet18`."""

from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError
from transferscope.registry import nearest

if TYPE_CHECKING:
    from torch import nn

EXAMPLE = "resnet18"
OURS = (
    "cache_dir",
    "checkpoint_path",
    "exportable",
    "features_only",
    "num_classes",
    "out_indices",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_strict",
    "scriptable",
)


def check(name: str) -> None:
    """Nothing is looked up before the network is built: importing timm takes seconds."""


def known_name(name: str) -> str:
    """`name` if timm has it, else UserError with the nearest name."""
    import timm

    if not timm.is_model(name):
        tail = nearest(name, timm.list_models(), "timm.list_models() has all names.")
        raise UserError(f"network: timm has no '{name}'; {tail}")
    return name


def build(name: str, classes: int, **options: Any) -> "nn.Module":
    """The network with a head of `classes` outputs and fresh weights; the network is never contacted.

    `options` are keyword arguments of its class in timm: `img_size`, `drop_path_rate`, `patch_size`, ...
    """
    import timm

    return timm.create_model(known_name(name), pretrained=False, num_classes=classes, **options)


def drops(net: "nn.Module", key: str, rate: float) -> bool:
    """Whether some module drops paths, or activations at this rate."""
    if key == "drop_path":
        return any(getattr(m, "drop_prob", 0.0) for m in net.modules() if type(m).__name__ == "DropPath")
    return getattr(net, "drop_rate", None) == rate or any(
        getattr(m, "p", None) == rate for m in net.modules() if type(m).__name__.startswith("Dropout")
    )
