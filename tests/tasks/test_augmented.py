"""Augmentations are torchvision's, drawn for every image by itself: no batch, thread or stop changes a byte."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from transferscope.errors import UserError
from transferscope.models.build import seeded
from transferscope.random_streams import stream_seed
from transferscope.tasks import augmentations
from transferscope.tasks.augmented import augmented

LINEAR = InterpolationMode.BILINEAR
BY_HAND = {
    "rotate": ({"degrees": 30, "fill": 9}, lambda: v2.RandomRotation(30, LINEAR, fill=9)),
    "affine": (
        {"degrees": 5, "translate": 0.2, "scale": [0.8, 1.3], "shear": 7},
        lambda: v2.RandomAffine(5, (0.2, 0.2), (0.8, 1.3), 7, LINEAR),
    ),
    "color_jitter": (
        {"brightness": 0.3, "contrast": 0.4, "saturation": 0.5, "hue": 0.1},
        lambda: v2.ColorJitter(0.3, 0.4, 0.5, 0.1),
    ),
    "rand_augment": ({"num_ops": 3, "magnitude": 12}, lambda: v2.RandAugment(3, 12, interpolation=LINEAR, fill=0.0)),
    "trivial_augment": ({}, lambda: v2.TrivialAugmentWide(interpolation=LINEAR, fill=0.0)),
    "random_erasing": (
        {"p": 0.8, "scale": [0.1, 0.4], "ratio": [0.5, 2], "fill": 50},
        lambda: v2.RandomErasing(0.8, (0.1, 0.4), (0.5, 2.0), value=50),
    ),
    "equalize": ({}, lambda: v2.RandomEqualize(1.0)),
    "gaussian_blur": ({"size": 5, "sigma": 1.5}, lambda: v2.GaussianBlur(5, (1.5, 1.5))),
    "vertical_flip": ({"p": 0.6}, lambda: v2.RandomVerticalFlip(0.6)),
}


def pictures(count: int, side: int = 20) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=draw)


def entries(*then: Any) -> list[augmentations.Entry]:
    return [augmentations.settled(one) for one in then]


def test_each_of_the_project_is_held_against_torchvision() -> None:
    assert {name for name in augmentations.names() if not augmentations.mixes(name)} == set(BY_HAND)
    assert {name for name in augmentations.names() if augmentations.mixes(name)} == {"cutmix", "mixup"}


@pytest.mark.parametrize("name", BY_HAND)
def test_it_is_torchvisions_with_the_seed_of_the_image(name: str) -> None:
    options, by_hand = BY_HAND[name]
    images, rows = pictures(10), np.arange(40, 50)
    out = augmented(entries({name: options}), seed=3, epoch=4).altered(images, rows)
    for image, row, altered in zip(images, rows.tolist(), out, strict=True):
        with seeded(stream_seed(3, "alter", 4, row)):
            assert torch.equal(by_hand()(image), altered)
    assert (out != images).flatten(1).any(1).sum() >= 4


def test_several_follow_each_other_with_draws_of_their_own() -> None:
    names = ["rotate", "rand_augment", "random_erasing", "rotate"]
    images, rows = pictures(6), np.arange(6)
    out = augmented(entries(*({name: BY_HAND[name][0]} for name in names)), seed=0, epoch=1).altered(images, rows)
    chain = v2.Compose([BY_HAND[name][1]() for name in names])
    for image, row, altered in zip(images, rows.tolist(), out, strict=True):
        with seeded(stream_seed(0, "alter", 1, row)):
            assert torch.equal(chain(image), altered)


@pytest.mark.parametrize("name", BY_HAND)
def test_threads_change_nothing(name: str) -> None:
    images, rows = pictures(8, 64), np.arange(8)
    after = augmented(entries({name: BY_HAND[name][0]}), seed=0, epoch=0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = after.altered(images, rows)
        torch.set_num_threads(2)
        assert torch.equal(after.altered(images, rows), one)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize(("name", "theirs"), [("cutmix", v2.CutMix), ("mixup", v2.MixUp)])
def test_mixing_is_torchvisions_with_the_next_image(name: str, theirs: Any, alpha: float) -> None:
    x, labels, rows = pictures(9).float() / 50 - 2, torch.arange(9), np.arange(20, 29)
    out, targets = augmented(entries({name: {"alpha": alpha}}), seed=3, epoch=4).mixed(x, labels, rows, 9)
    by_hand = theirs(alpha=alpha, num_classes=9)
    for place in range(8):
        with seeded(stream_seed(3, "mix", 4, 20 + place)):  # theirs blends the second of a pair with the first
            images, shares = by_hand(x[[place + 1, place]], labels[[place + 1, place]])
        torch.testing.assert_close(out[place], images[1], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(targets[place], shares[1], atol=1e-6, rtol=1e-6)
    assert (targets.diagonal() < 1).sum() >= 6


def test_the_share_of_a_label_is_that_of_the_pixels() -> None:
    x = torch.arange(40.0)[:, None, None, None].expand(40, 3, 16, 16).clone()
    after = augmented(entries("cutmix"), seed=0, epoch=0)
    out, targets = after.mixed(x, torch.arange(40), np.arange(40), 40)
    stays = (out == x[:-1]).double().mean((1, 2, 3))
    torch.testing.assert_close(targets.diagonal().double(), stays, atol=1e-6, rtol=0)
    assert 0.3 < float(stays.mean()) < 0.8 and len(set(stays.tolist())) > 20


def test_chances_are_kept() -> None:
    x, rows = torch.randn(400, 1, 4, 4), np.arange(400)
    for entry in ({"mixup": {"p": 0.3}}, {"cutmix": {"p": 0.3, "alpha": 1000}}):  # a rectangle of a half, to be seen
        out, _ = augmented(entries(entry), seed=0, epoch=0).mixed(x, torch.zeros(400, dtype=torch.long), rows, 2)
        mixed = (out != x[:-1]).flatten(1).any(1).double().mean()
        assert abs(float(mixed) - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 399)


def test_several_mixes_alternate() -> None:
    x, labels, rows = torch.randn(300, 3, 8, 8), torch.arange(300) % 2, np.arange(300)
    out, _ = augmented(entries({"mixup": {"alpha": 1}}, {"cutmix": {"alpha": 1}}), seed=0, epoch=0).mixed(
        x, labels, rows, 2
    )
    blended = ((out != x[:-1]) & (out != x[1:])).flatten(1).all(1)  # by mixup no value is either image's own
    assert 0.38 < float(blended.double().mean()) < 0.62


def test_what_is_no_image_any_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from transferscope.tasks.augmentations import rotate

    for wrong, said in (
        (lambda image: image.float(), r"made torch.float32 \(3, 20, 20\)"),
        (lambda image: image[:, 1:], r"made torch.uint8 \(3, 19, 20\)"),
        (lambda image: None, "made NoneType"),
    ):
        monkeypatch.setattr(rotate, "alter", lambda options, wrong=wrong: wrong)
        before = torch.get_rng_state()
        with pytest.raises(UserError, match=rf"recipe.augment.then.0.rotate {said} of an image torch.uint8"):
            augmented(entries("rotate"), seed=0, epoch=0).altered(pictures(2), np.arange(2))
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_a_share_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    from transferscope.tasks.augmentations import mixup

    monkeypatch.setattr(mixup, "mix", lambda options: lambda image, partner: (image, share))
    with pytest.raises(UserError, match=rf"^recipe.augment.then.0.mixup left {share} of a label; it must be from 0"):
        augmented(entries("mixup"), seed=0, epoch=0).mixed(torch.zeros(3, 3, 4, 4), torch.arange(3), np.arange(3), 3)
