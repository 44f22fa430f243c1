"""The augmentations of a run at work: every image by draws of its own, whatever else is in its batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transferscope.data.epoch_order import with_gaps
from transferscope.errors import UserError
from transferscope.models.build import reseed, seeded
from transferscope.random_streams import stream_seed
from transferscope.tasks import augmentations

Alter = Callable[[Tensor], Tensor]
Mix = Callable[[Tensor, Tensor], tuple[Tensor, float]]


@dataclass(frozen=True)
class Augmented:
    """What one epoch does to its images. What it draws for an image is a pure function of (seed, epoch, row): the
    streams are `alter` and `mix`."""

    seed: int
    epoch: int
    alters: Mapping[str, Alter]
    mixes: Mapping[str, Mix]

    def altered(self, images: Tensor, rows: np.ndarray) -> Tensor:
        """Images (b, 3, S, S) of `rows` (b,), uint8 or float32 of 0 to 255, one by one through all of `alters`: the
        same type, shape and layout. UserError where one takes 8 bits only, and is given more."""
        out = torch.empty_like(images)
        with seeded(0, images.device):
            for place, row in enumerate(rows.tolist()):
                self._reseed("alter", row, images.device)
                image = images[place].contiguous()
                for name, alter in self.alters.items():
                    image = _kept(name, image, alter(image))
                out[place] = image
        return out

    def mixed(self, x: Tensor, labels: Tensor, rows: np.ndarray, classes: int) -> tuple[Tensor, Tensor]:
        """Each input with the one after it: `x` (b + 1, ...) gives (b, ...), and `labels` (b + 1,) or (b + 1, L)
        targets (b, L), float32. Of several mixes each image takes one, all with the same chance.
        """
        y = with_gaps(labels) if labels.ndim == 2 else F.one_hot(labels, classes).float()
        mixes, out, own = list(self.mixes.items()), torch.empty_like(x[:-1]), torch.ones(len(x) - 1)
        with seeded(0, x.device):
            for place, row in enumerate(rows[:-1].tolist()):
                self._reseed("mix", row, x.device)
                name, mix = mixes[int(torch.randint(len(mixes), (1,))) if len(mixes) > 1 else 0]
                image, share = mix(x[place], x[place + 1])
                if not 0 <= share <= 1:  # NaN neither
                    raise UserError(f"recipe.augment.then.{name} left {share} of a label; it must be from 0 to 1.")
                out[place], own[place] = _kept(name, x[place], image), share
        own = own.to(y.device)[:, None]
        return out, own * y[:-1] + (1 - own) * y[1:]

    def on_trial(self, pictures: Tensor) -> None:
        """All of it done to pictures (b, C, S, S) and thrown away, to see that it works, and how long."""
        rows = np.arange(len(pictures))
        crops = self.altered(pictures, rows) if self.alters else pictures
        if self.mixes:
            self.mixed(crops.float(), torch.zeros(len(crops), dtype=torch.long), rows, 2)

    def _reseed(self, stream: str, row: int, device: torch.device) -> None:
        reseed(stream_seed(self.seed, stream, self.epoch, row), device)


def augmented(then: Sequence[augmentations.Entry], *, seed: int, epoch: int) -> Augmented:
    """The augmentations that a recipe lists, in its order, for one epoch of one run."""
    alters: dict[str, Alter] = {}
    mixes: dict[str, Mix] = {}
    for place, entry in enumerate(then):
        for name, options in entry.items():
            module = augmentations.load(name)
            said: Any = module.Options.model_validate(options)
            where = f"{place}.{name}"  # one may come twice
            if augmentations.mixes(name):
                mixes[where] = module.mix(said)
            else:
                alters[where] = (
                    module.alter(said) if augmentations.takes_floats(name) else _shallow(where, module, said)
                )
    return Augmented(seed, epoch, alters, mixes)


def _shallow(where: str, module: Any, said: Any) -> Alter:
    """An augmentation that takes 8 bits only."""
    alter: Alter = module.alter(said)

    def altered(image: Tensor) -> Tensor:
        if image.is_floating_point():
            name = where.partition(".")[2]
            raise UserError(
                f"recipe.augment.then.{where}: {name} takes pictures of 8 bits; leave it out, or the targets' depth."
            )
        return alter(image)

    return altered


def _kept(where: str, before: Tensor, after: Tensor) -> Tensor:
    """What an augmentation returned, if it is an image like the one it was given. UserError otherwise."""
    if not isinstance(after, Tensor) or after.shape != before.shape or after.dtype != before.dtype:
        got = f"{after.dtype} {tuple(after.shape)}" if isinstance(after, Tensor) else type(after).__name__
        raise UserError(
            f"recipe.augment.then.{where} made {got} of an image {before.dtype} {tuple(before.shape)}; it must return "
            "an image of the same kind."
        )
    return after
