"""CKA in float64, term by term as published, and features copied out of a network by plain hooks."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]


def features(net: nn.Module, x: Tensor, names: tuple[str, ...]) -> list[Tensor]:
    """Copies of the outputs of the named modules (`name#2`: its second call), in eval mode."""
    found: dict[str, Tensor] = {}
    calls: dict[str, int] = {}

    def hook(name: str):
        def read(_: nn.Module, __: object, out: object) -> None:
            calls[name] = calls.get(name, 0) + 1
            tensor = out[0] if isinstance(out, tuple) else out
            found[f"{name}#{calls[name]}"] = tensor.detach().clone()

        return read

    modules = dict(net.named_modules())
    handles = [modules[n].register_forward_hook(hook(n)) for n in {name.split("#")[0] for name in names}]
    was = net.training
    with torch.no_grad():
        net.eval()(x)
    net.train(was)
    for handle in handles:
        handle.remove()
    return [found[name if "#" in name else f"{name}#1"] for name in names]


def gram(x: Tensor) -> Array:
    rows = x.double().flatten(1)
    rows = rows - rows.mean(0)
    return (rows @ rows.T).numpy()


def hsic1(k: Array, l: Array) -> float:  # noqa: E741
    """Nguyen et al. 2021, eq. 3."""
    n, one = len(k), np.ones(len(k))
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    middle = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return float((np.trace(k @ l) + middle - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3)))


def minibatch_cka(a: list[list[Tensor]], b: list[list[Tensor]]) -> Array:
    """`a[batch][layer]` against `b[batch][layer]`: HSIC_1 weighted by n (n - 3), roots last."""

    def total(x: list[Array], y: list[Array]) -> float:
        return sum(len(k) * (len(k) - 3) * hsic1(k, other) for k, other in zip(x, y, strict=True))

    grams = [[[gram(batch[i]) for batch in side] for i in range(len(side[0]))] for side in (a, b)]
    return np.array([[total(x, y) / np.sqrt(total(x, x) * total(y, y)) for y in grams[1]] for x in grams[0]])


def biased_cka(a: list[Tensor], b: list[Tensor]) -> Array:
    """Kornblith et al. 2019 on all samples at once, layer by layer."""

    def one(x: Tensor, y: Tensor) -> float:
        k, l = gram(x), gram(y)  # noqa: E741
        return float((k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum()))

    return np.array([[one(x, y) for y in b] for x in a])
