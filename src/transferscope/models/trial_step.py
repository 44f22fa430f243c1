"""One trial step of a network on random images: what it returns, or in one sentence why it cannot be trained here."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from transferscope.devices import exact
from transferscope.errors import UserError
from transferscope.input_shape import Example
from transferscope.models.build import seeded
from transferscope.models.outputs import logits_of

IMAGES = 4
LOUD = 1000.0  # times an image: its logits leave [0, 1] then, probabilities stay
OTHER_SIZES = (224, 64, 128, 32, 299, 384)  # pixels, tried where a network refuses images of the study's size


def trial(net: nn.Module, name: str, classes: int, image: Example) -> str:
    """Run `net` forwards and backwards on a few images like `image`; a warning, "" where all is well.

    Gradients and running statistics are changed. Raises UserError for a network that cannot take the images (naming
    the layer, the channels or the size it wants), for outputs that are no finite tensor (images, `classes`), and for
    probabilities instead of logits.
    """
    called: list[tuple[str, nn.Module, tuple[int, ...]]] = []
    try:
        with _recorded(net, called):
            out = net(image.example(IMAGES))
    except Exception as error:  # whatever a network refuses images with: assertions, shapes, types
        raise UserError(_why(net, name, image, called, error)) from None
    logits = logits_of(out, IMAGES, name)
    if logits.shape[1] != classes:
        raise UserError(
            f"network: {name} gives {logits.shape[1]} outputs for {classes} classes; its factory must use num_classes."
        )
    if not bool(torch.isfinite(logits).all()):
        raise UserError(f"network: {name} gives outputs that are not finite before any training; check its start.")
    try:
        logits.square().mean().backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise UserError(f"network: {name} cannot take a step back ({_first_line(error)}).") from None
    return _probabilities(net, name, image, called)


@contextmanager
def _recorded(net: nn.Module, called: list[tuple[str, nn.Module, tuple[int, ...]]]) -> Iterator[None]:
    """Note down every module without children as it is called: (name, module, shape of its first input)."""

    def hook(name: str) -> object:
        def note(module: nn.Module, inputs: tuple[object, ...]) -> None:
            called.append((name, module, tuple(inputs[0].shape) if inputs and isinstance(inputs[0], Tensor) else ()))

        return note

    leaves = [(name, module) for name, module in net.named_modules() if not any(True for _ in module.children())]
    hooks = [module.register_forward_pre_hook(hook(name)) for name, module in leaves]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def _why(
    net: nn.Module, name: str, image: Example, called: list[tuple[str, nn.Module, tuple[int, ...]]], error: Exception
) -> str:
    """The channels, the size or the layer at fault."""
    place, module, shape = called[-1] if called else ("", net, ())
    wanted = getattr(module, "in_channels", None)
    if shape[1:2] == (image.channels,) and len(shape) == 4 and isinstance(wanted, int) and wanted != image.channels:
        many = f"{wanted} channel" + "s" * (wanted != 1)
        here = f"{image.channels}; set network.options.in_chans" if hasattr(net, "default_cfg") else image.channels
        return f"network: {name} wants images of {many} (its layer '{place}'), but images here have {here}."
    where = f" in its layer '{place}'" if place else ""
    opening = f"network: {name} cannot take a step on {image.noun} of {image}{where} ({_first_line(error)})"
    if image.vocabulary is not None:
        return (
            f"{opening}; give a network of texts, whose positions reach to input.text.max_length, and that knows the "
            f"{image.vocabulary:,} tokens of the tokenizer."
        )
    others = ((side, image.resized(side)) for side in _sizes(net))
    fits = next((side for side, other in others if other not in (None, image) and _runs(net, other)), None)
    if fits is not None:
        own = {"img_size", "image_size"} & {*_options(net)}
        option = f", or network.options.{min(own)}: {image.shape[-1]}" if own and len(image.shape) == 3 else ""
        return f"{opening}; set another image_size, {fits} works{option}."
    tried = f"{OTHER_SIZES[0]} and {OTHER_SIZES[1]} px"
    return f"{opening}; it fails at {tried} too, so the network itself needs mending."


def _options(net: nn.Module) -> tuple[str, ...]:
    """Of a network with a fixed grid of patches: by which option its size is set."""
    if hasattr(getattr(net, "patch_embed", None), "img_size"):
        return ("img_size",)
    return ("image_size",) if hasattr(getattr(net, "config", None), "image_size") else ()


def _sizes(net: nn.Module) -> tuple[int, ...]:
    """Sides of images to try, the network's own first where it states one (timm)."""
    own = (getattr(net, "default_cfg", None) or {}).get("input_size", (0, 0, 0))[-1]
    return (own, *OTHER_SIZES) if own else OTHER_SIZES


def _runs(net: nn.Module, image: Example) -> bool:
    try:
        with torch.no_grad():
            net(image.example(2))
    except Exception:  # as above
        return False
    return True


def _probabilities(
    net: nn.Module, name: str, image: Example, called: list[tuple[str, nn.Module, tuple[int, ...]]]
) -> str:
    """Refuse a softmax or sigmoid at the end, which the loss would apply once more; a warning where it is likely."""
    training = {module: module.training for module in net.modules()}
    images = image.example(IMAGES)
    with torch.no_grad(), seeded(0):
        out = exact(logits_of(net.eval()(images), IMAGES, name))
        scales = (LOUD, -LOUD) if image.vocabulary is None else ()  # tokens have no size
        loud = [logits_of(net(scale * images), IMAGES, name) for scale in scales]
    for module, flag in training.items():
        module.training = flag
    ones = torch.ones(IMAGES, dtype=torch.float64)
    shares = bool(((out >= 0) & (out <= 1)).all())
    softmax = shares and out.shape[1] > 1 and torch.allclose(out.sum(1), ones, atol=1e-3)
    if softmax or (shares and called and isinstance(called[-1][1], nn.Sigmoid)):
        seen = "each image's outputs add up to 1" if softmax else "all outputs lie between 0 and 1"
        raise UserError(
            f"network: {name} returns probabilities ({seen}), but logits are needed: return the values before the "
            "softmax or sigmoid."
        )
    if shares and loud and bool((out > 0).all()) and all(bool(((o >= 0) & (o <= 1)).all()) for o in loud):
        return "all outputs lie between 0 and 1: if the network ends in a sigmoid, return the values before it"
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
