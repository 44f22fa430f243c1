"""The contract of an augmentation: images of the same kind, drawn by global generators; what is given stays."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from contract.opening import called, check_first_line, check_light
from transferscope.errors import UserError
from transferscope.strict_models import Strict
from transferscope.tasks import augmentations
from transferscope.tasks.augmented import Augmented, augmented

PACKAGE = "transferscope.tasks.augmentations"
COUNT, SIDE = 12, 24
ROUNDED = 4  # grey values that rounding to 8 bits after each of up to four changes may make


def check_augmentation(module: ModuleType, **options: Any) -> None:
    """The whole contract; `options` are set where the defaults may leave many images as they are."""
    check_form(module)
    name = called(module, PACKAGE)
    entry = augmentations.settled({name: options})
    again = augmentations.settled(entry)
    assert entry == again and set(entry[name]) == set(module.Options.model_fields), "all options are written out"
    if augmentations.mixes(name):
        check_mixing(entry)
    else:
        check_altering(entry)


def check_form(module: ModuleType) -> None:
    check_first_line(module)
    check_light(module)
    assert issubclass(module.Options, Strict) and hasattr(module, "alter") != hasattr(module, "mix")
    module.Options()  # every option has a default
    for option, info in module.Options.model_fields.items():
        assert info.description, f"say what '{option}' is beneath it"


def images() -> Tensor:
    """Noise on a gradient: uint8 (COUNT, 3, SIDE, SIDE), channels_last."""
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 128, (COUNT, 3, SIDE, SIDE), generator=draw)
    made = (noise + torch.arange(SIDE) * 5).to(torch.uint8)
    return made.contiguous(memory_format=torch.channels_last)


def rows() -> np.ndarray:
    return np.arange(100, 100 + COUNT)


def of(entry: augmentations.Entry, seed: int = 1, epoch: int = 2) -> Augmented:
    return augmented([entry], seed=seed, epoch=epoch)


def check_altering(entry: augmentations.Entry) -> None:
    given, before = images(), images()
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    out = of(entry).altered(given, rows())
    assert torch.equal(torch.get_rng_state(), state[0]) and (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002
    assert torch.equal(given, before), "what it is given stays as it is"
    assert out.shape == given.shape and out.dtype == torch.uint8
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert (out != given).flatten(1).any(1).float().mean() > 0.5, "give options with which it changes images"
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    for part in order.split(5):  # in other company, in another order, one after the other
        torch.manual_seed(int(part[0]))
        assert torch.equal(of(entry).altered(given[part], rows()[part.numpy()]), out[part])
    fixed = getattr(augmentations.load(next(iter(entry))), "FIXED", False)
    for changed in ({"seed": 3}, {"epoch": 3}):
        assert fixed == torch.equal(of(entry, **changed).altered(given, rows()), out)
    check_floats(entry, given, out)


def check_floats(entry: augmentations.Entry, given: Tensor, out: Tensor) -> None:
    """Of grey values with fractions, where it takes them, it draws the same; else they are refused."""
    ((name, _),) = entry.items()
    if not augmentations.takes_floats(name):
        with pytest.raises(UserError, match="takes pictures of 8 bits"):
            of(entry).altered(given.float(), rows())
        return
    exact = of(entry).altered(given.float(), rows())
    assert exact.dtype == torch.float32 and exact.is_contiguous(memory_format=torch.channels_last)
    assert exact.min() >= 0 and exact.max() <= 255 and (exact - out.float()).abs().max() < ROUNDED
    finer = given.float().mul(0.5).add(0.25)
    assert (of(entry).altered(finer, rows()) % 1 != 0).any(), "fractions are kept"


def check_mixing(entry: augmentations.Entry) -> None:
    given = (images().float() - 100) / 50
    x, labels = given.clone(), torch.arange(COUNT)
    out, targets = of(entry).mixed(x, labels, rows(), COUNT)
    assert torch.equal(x, given) and out.shape == (COUNT - 1, 3, SIDE, SIDE) and out.dtype == x.dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    own, other = targets.diagonal(), targets.diagonal(1)
    torch.testing.assert_close(targets.sum(1), torch.ones(COUNT - 1))
    torch.testing.assert_close(own + other, torch.ones(COUNT - 1))
    assert ((own >= 0) & (own <= 1)).all() and (own < 1).float().mean() > 0.5, "give options with which it mixes"
    low, high = torch.minimum(x[:-1], x[1:]), torch.maximum(x[:-1], x[1:])
    assert ((out >= low - 1e-5) & (out <= high + 1e-5)).all(), "each value lies between those of the two"
    for first in (0, 4, 9):  # in other company
        part = slice(first, first + 3)
        mixed, shares = of(entry).mixed(x[part], labels[part], rows()[part], COUNT)
        assert torch.equal(mixed, out[first : first + 2]) and torch.equal(shares, targets[first : first + 2])
    several = torch.stack([labels % 2, labels % 3 == 0, torch.ones(COUNT)], 1)
    _, multi = of(entry).mixed(x, several, rows(), 3)
    torch.testing.assert_close(multi, own[:, None] * several[:-1] + other[:, None] * several[1:])
