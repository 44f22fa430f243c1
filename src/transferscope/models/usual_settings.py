"""What a network is used to: the optimiser of its published recipes, the size of its images, the patches it cuts."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

SMALL = 4  # images of less than the usual side over this are said to be small
RATES = {"pretrained": 1e-4, "random": 1e-3}  # of AdamW, about what published recipes come to in small batches


def optimiser(net: nn.Module) -> str:
    """`adamw` for networks that normalise by layer norms and never by batch norms, as transformers and ConvNeXts do,
    else `sgd`: the kind of optimiser that published recipes of such networks use."""
    kinds = [type(module).__name__ for module in net.modules()]
    batch = any(isinstance(module, _BatchNorm) or "BatchNorm" in type(module).__name__ for module in net.modules())
    return "adamw" if not batch and any("LayerNorm" in kind for kind in kinds) else "sgd"


def usual_side(net: nn.Module) -> int | None:
    """The side in pixels of the images that a network of timm or transformers says it was made for, else None."""
    timm = getattr(net, "default_cfg", None)
    found = timm.get("input_size", (None,))[-1] if isinstance(timm, Mapping) else None
    if found is None:
        found = getattr(getattr(net, "config", None), "image_size", None)
    return found if isinstance(found, int) and found > 0 else None


def patch_side(net: nn.Module) -> int | None:
    """The side in pixels of the patches that a network cuts images into before anything else; None where it cuts none.

    Known of timm, torchvision and transformers, and of any network with a `patch_size`.
    """
    places: list[Any] = [getattr(net, "patch_embed", None), getattr(net, "config", None), net]
    for place in places:
        size = getattr(place, "patch_size", None)
        size = size[0] if isinstance(size, tuple | list) and len({*size}) == 1 else size
        if isinstance(size, int) and size > 1:
            return size
    return None


def remarks(net: nn.Module, optimizer: str, side: int | None) -> list[str]:
    """Where a study treats a network otherwise than its published recipes do, a clause each."""
    said = []
    if optimizer == "sgd" and optimiser(net) == "adamw":
        said.append(
            "it normalises by layer norm alone, as networks do whose recipes take AdamW, but recipe.optimizer "
            f"is sgd: consider adamw, with a recipe.lr of about {RATES['pretrained']:g} (pretrained) and "
            f"{RATES['random']:g} (random)"
        )
    usual = usual_side(net)
    if side is not None and usual is not None and SMALL * side < usual:
        patch = patch_side(net)
        left = f", of which patches of {patch} px leave {side // patch} x {side // patch}" if patch else ""
        more = " (or a smaller network.options.patch_size)" if patch else ""
        said.append(
            f"it was made for images of {usual} px and gets {side} px{left}: consider a larger image_size{more}, or a "
            "network made for small images"
        )
    return said
