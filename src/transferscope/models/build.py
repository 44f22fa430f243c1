"""From a reference to a network: fresh initial values as a pure function of (ref, classes, seed), and its head."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from transferscope import devices
from transferscope.errors import UserError
from transferscope.models.networks import make_network
from transferscope.models.weights import belongs
from transferscope.random_streams import stream_seed


@contextmanager
def seeded(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Seed the global generators (torch's for the CPU and for `device`, numpy's, Python's) inside the block only.

    The one place where global random state is set: other people's initialisers, and dropout, read it. It is left as
    found, also on an exception.
    """
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    on_device = devices.random_state(device)
    try:
        reseed(seed, device)
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        if on_device is not None:
            devices.set_random_state(on_device, device)


def reseed(seed: int, device: str | torch.device = "cpu") -> None:
    """Seed them anew, inside a block of `seeded` for the same device alone."""
    torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which would also reseed every GPU
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    devices.seed(seed, device)


def build_network(ref: str, classes: int, *, seed: int, drops: Mapping[str, float] | None = None) -> nn.Module:
    """The network of `ref` with `classes` outputs, freshly initialised on the CPU, in training mode.

    A pure function of its arguments (stream `init` of the seed); global random state is left as found. `drops` are the
    rates of what it drops in training, by the recipe's keys; they change no value and no name.
    Raises UserError for an unknown network and for a factory that does not return an `nn.Module` with such a head.
    """
    with seeded(stream_seed(seed, "init")), torch.device("cpu"):
        net = make_network(ref, classes, drops)
    if not isinstance(net, nn.Module):
        raise UserError(f"network: '{ref}' returned a {type(net).__name__}, not a torch.nn.Module.")
    if lazy := [name for name, p in (*net.named_parameters(), *net.named_buffers()) if is_lazy(p)]:
        raise UserError(
            f"network: '{ref}' has lazy layers ('{lazy[0]}' has no shape yet); give their sizes, or let the factory "
            "run one batch through the network before it returns it."
        )
    head_names(net, classes)
    return net.train()


def head_names(net: nn.Module, classes: int) -> tuple[str, ...]:
    """The state-dict prefixes of the classifier head, e.g. `("fc",)`; distilled networks of timm have two.

    What timm's `get_classifier` names, of a network of transformers the layers with `classes` outputs outside its base
    model, else the last linear layer with `classes` outputs in definition order, else the last such convolution.
    Raises UserError where there is none.
    """
    if callable(get := getattr(net, "get_classifier", None)):
        found = get()
        heads = found if isinstance(found, tuple | list) else (found,)
        names = tuple(
            name
            for name, module in net.named_modules()
            if any(module is head for head in heads) and any(True for _ in module.parameters())
        )
        if names:
            return names
    for kind, attribute in ((nn.Linear, "out_features"), (nn.Conv2d, "out_channels")):
        fitting = [n for n, m in net.named_modules() if isinstance(m, kind) and getattr(m, attribute) == classes and n]
        base = getattr(net, "base_model_prefix", "")
        outside = [name for name in fitting if not belongs(name, (str(base),))]
        if base and outside:
            return tuple(outside)
        if fitting:
            return (fitting[-1],)
    raise UserError(
        f"network: {type(net).__name__} has no head with {classes} outputs (no linear layer or convolution of that "
        "width); its factory must use num_classes."
    )
