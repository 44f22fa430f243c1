"""Every probe asked on batches, and the same numbers by slow float64 arithmetic on the samples that these hold."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

import transferscope as ts
from transferscope.measures.ridge import ridge
from transferscope.probes.features.penultimate import penultimate

LAYERS = ["0", "4"]
Parts = list[tuple[Tensor, Tensor]]  # (x in float64, class indices) of each batch


def network(seed: int, classes: int = 4) -> nn.Sequential:
    """(n, 3, h, w) to (n, classes): a convolution (blocks "0" and "4"), a mean over space and a linear head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = [nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*body, nn.Linear(6, classes)).requires_grad_(False)


def in_float64(net: nn.Module) -> nn.Module:
    return copy.deepcopy(net).double().eval()


def blended(a: nn.Module, b: nn.Module, alpha: float, names: str = "") -> nn.Module:
    """a, with (1 - alpha) a + alpha b in the tensors whose names start with `names`."""
    mixed, there = in_float64(a), in_float64(b).state_dict()
    for name, tensor in mixed.state_dict().items():
        if name.startswith(names):
            tensor.copy_((1 - alpha) * tensor + alpha * there[name])
    return mixed


def outputs(net: nn.Module, parts: Parts) -> Tensor:
    return torch.cat([in_float64(net)(x) for x, _ in parts])


def wrong(net: nn.Module, parts: Parts) -> Tensor:
    return (outputs(net, parts).argmax(1) != torch.cat([y for _, y in parts])).double()


def layer(net: nn.Module, parts: Parts, name: str) -> list[Tensor]:
    """The layer's features on each batch, averaged over space."""
    cut = in_float64(net)[: int(name) + 1]
    return [features.flatten(2).mean(2) if features.ndim > 2 else features for features in (cut(x) for x, _ in parts)]


def hsic(k: Tensor, m: Tensor) -> float:
    """n (n - 3) HSIC_1 of two Grams (Song et al. 2012, eq. 5)."""
    n = len(k)
    k, m = (g - g.diagonal().diag() for g in (k, m))
    one = torch.ones(n, dtype=torch.float64)
    both = (k @ m).trace() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
    return float(both)


def cka(a: nn.Module, b: nn.Module, parts: Parts) -> np.ndarray:
    def total(p: nn.Module, i: str, q: nn.Module, j: str) -> float:
        return sum(hsic(f @ f.T, g @ g.T) for f, g in zip(layer(p, parts, i), layer(q, parts, j), strict=True))

    return np.array(
        [[total(a, i, b, j) / np.sqrt(total(a, i, a, i) * total(b, j, b, j)) for j in LAYERS] for i in LAYERS]
    )


def biased(a: nn.Module, b: nn.Module, parts: Parts) -> np.ndarray:
    def centred(net: nn.Module, name: str) -> Tensor:
        features = torch.cat(layer(net, parts, name))
        features = features - features.mean(0)
        return features / (features.T @ features).norm().sqrt()

    return np.array([[float((centred(a, i).T @ centred(b, j)).square().sum()) for j in LAYERS] for i in LAYERS])


def votes(net: nn.Module, parts: Parts, k: int = 3) -> np.ndarray:
    y = torch.cat([y for _, y in parts]).tolist()
    found = []
    for name in LAYERS:
        features = torch.cat(layer(net, parts, name))
        hits = []
        for i in range(len(y)):
            near = [j for j in (features - features[i]).square().sum(1).argsort().tolist() if j != i][:k]
            each = [y[j] for j in near]
            most = max(map(each.count, each))
            hits.append(next(v for v in each if each.count(v) == most) == y[i])
        found.append(np.mean(hits))
    return np.array(found)


def rotation(a: nn.Module, b: nn.Module, parts: Parts) -> np.ndarray:
    found = []
    for name in LAYERS:
        p, q = (torch.cat(layer(net, parts, name)) for net in (a, b))
        p, q = ((f - f.mean(0)) / (f - f.mean(0)).norm() for f in (p, q))
        found.append(2 - 2 * float(torch.linalg.svdvals(p.T @ q).sum()))
    return np.array(found)


def probe_accuracy(a: nn.Module, parts: Parts) -> float:
    """A ridge classifier on the features of all but the last batch, scored on all."""
    features = [f.numpy() for f in (x for x in [in_float64(a)[:4](x) for x, _ in parts])]
    y = [y.numpy() for _, y in parts]
    fitted = ridge(np.concatenate(features[:-1]), np.concatenate(y[:-1]), 4)
    return float((fitted.predict(np.concatenate(features)).argmax(1) == np.concatenate(y)).mean())


Ask = Callable[[nn.Module, nn.Module, Any], Any]
Truth = Callable[[nn.Module, nn.Module, Parts], Any]


def _mean(net: nn.Module, parts: Parts) -> float:
    return float(wrong(net, parts).mean())


def _fresh(batches: Any) -> Any:
    """Batches for a second pass: a function makes those that can be walked once."""
    return batches() if callable(batches) else batches


def _fewer(batches: Any) -> Any:
    """All but the last batch, where there are more."""
    several = isinstance(batches, list | tuple | DataLoader | IterableDataset) or hasattr(batches, "__next__")
    return list(batches)[:-1] or batches if several else batches


# name: (asked, by hand (None: itself on plain batches), whether it needs labels, whether it reads the network's output)
PROBES: dict[str, tuple[Ask, Truth | None, bool, bool]] = {
    "predictions": (
        lambda a, b, g: ts.predictions(a, _fresh(g)).logits,
        lambda a, b, p: outputs(a, p).numpy(),
        False,
        True,
    ),
    "wrong": (
        lambda a, b, g: ts.predictions(a, _fresh(g)).wrong.mean(),
        lambda a, b, p: _mean(a, p),
        True,
        True,
    ),
    "mistakes": (
        lambda a, b, g: ts.mistakes(ts.predictions(a, _fresh(g)), ts.predictions(b, _fresh(g))).overall.common,
        lambda a, b, p: float((wrong(a, p) * wrong(b, p)).sum()),
        True,
        True,
    ),
    "similarity": (
        lambda a, b, g: ts.similarity(a, b, _fresh(g), LAYERS, "mean").matrix,
        cka,
        False,
        False,
    ),
    "similarity_matrix": (
        lambda a, b, g: ts.similarity_matrix([a, b], _fresh(g), LAYERS, "mean").pair(0, 1).matrix,
        cka,
        False,
        False,
    ),
    "grams": (
        lambda a, b, g: (
            ts.grams(a, _fresh(g), LAYERS, "mean").similarity(ts.grams(b, _fresh(g), LAYERS, "mean")).matrix
        ),
        cka,
        False,
        False,
    ),
    "full batch": (
        lambda a, b, g: ts.similarity(a, b, _fresh(g), LAYERS, "mean", "biased").matrix,
        biased,
        False,
        False,
    ),
    "neighbours": (
        lambda a, b, g: ts.neighbours(a, _fresh(g), LAYERS, k=3).accuracy,
        lambda a, b, p: votes(a, p),
        True,
        False,
    ),
    "procrustes": (lambda a, b, g: ts.procrustes(a, b, _fresh(g), LAYERS).distance, rotation, False, False),
    "penultimate": (
        lambda a, b, g: penultimate(a, _fresh(g)).features,
        lambda a, b, p: torch.cat([in_float64(a)[:4](x) for x, _ in p]).numpy(),
        False,
        True,
    ),
    "transferability": (
        lambda a, b, g: ts.transferability(a, _fewer(_fresh(g)), _fresh(g)).probe_metric,
        lambda a, b, p: probe_accuracy(a, p),
        True,
        True,
    ),
    "path": (
        lambda a, b, g: ts.path(a, b, _fresh(g), alphas=[0, 0.5, 1]).error[0],
        lambda a, b, p: np.array([_mean(blended(a, b, t), p) for t in (0, 0.5, 1)]),
        True,
        True,
    ),
    "line_barrier": (
        lambda a, b, g: ts.line_barrier(a, b, _fresh(g), tolerance=0.2).height,
        None,
        True,
        True,
    ),
    "plane": (
        lambda a, b, g: 1 - ts.plane(a, b, network(3), _fresh(g), steps=2).own[:2],
        lambda a, b, p: np.array([_mean(a, p), _mean(b, p)]),
        True,
        True,
    ),
    "average": (
        lambda a, b, g: ts.average([a, b], _fresh(g)).errors["data"][2].mean(),
        lambda a, b, p: _mean(blended(a, b, 0.5), p),
        True,
        True,
    ),
    "wise_ft": (
        lambda a, b, g: 1 - ts.wise_ft(a, b, _fresh(g), alphas=[0.0, 1.0]).metric[0],
        lambda a, b, p: np.array([_mean(blended(b, a, 1.0, "0"), p), _mean(b, p)]),
        True,
        True,
    ),
    "basin": (
        lambda a, b, g: ts.basin(a, b, _fresh(g), samples=3, draws=2, per_weight=[0.01, 0.02], extend=False).losses,
        None,
        True,
        True,
    ),
    "layerwise_barrier": (
        lambda a, b, g: ts.layerwise_barrier(a, b, _fresh(g), alphas=3, blocks=["0"]).error[0, 0],
        lambda a, b, p: np.array([_mean(blended(a, b, t, "0"), p) for t in (0, 0.5, 1)]),
        True,
        True,
    ),
    "rewind": (
        lambda a, b, g: 1 - ts.rewind(a, b, _fresh(g), blocks=["4"]).score,
        lambda a, b, p: np.array([_mean(a, p), _mean(blended(a, b, 1.0, "4"), p)]),
        True,
        True,
    ),
    "criticality": (
        lambda a, b, g: ts.criticality(a, b, _fresh(g), blocks="4", alphas=2, sigmas=1, draws=1).final_error,
        lambda a, b, p: _mean(a, p),
        True,
        True,
    ),
}
