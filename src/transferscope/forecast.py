"""What a study will cost where no finished step tells: from timings of its network and the number of its images."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transferscope import data
from transferscope.data.split import assign_splits
from transferscope.engine.estimate import Estimate, Past
from transferscope.engine.step import Step
from transferscope.study import Study
from transferscope.tasks.calibrate import Calibration

DECODED = 200.0  # images a second that a core decodes and resizes: photographs of some hundred pixels a side
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Forecast:
    """Estimates like those of `past`, with training and decoding judged by `timed` where the past is silent.

    `images` counts them by split, for the key of every data step. What neither knows counts nothing in a total.
    """

    past: Past
    timed: Calibration
    images: Mapping[str, Mapping[str, int]]

    def of(self, step: Step) -> Estimate:
        """Seconds of one slot and bytes of one step; None when nothing is known about steps of its kind."""
        known = self.past.of(step)
        if known.seconds is not None:
            return known
        if step.task == "train":
            return self._training(step.params, self.images[step.params["data"].key])
        if step.key in self.images:
            return self._decoding(step.params, sum(self.images[step.key].values()))
        return known

    def total(self, steps: Iterable[Step], slots: int) -> Estimate:
        """Wall seconds with `slots` workers, and bytes, of all steps."""
        found = [self.of(step) for step in steps]
        seconds = [e.seconds or 0.0 for e in found]
        return Estimate(max(sum(seconds) / slots, max(seconds, default=0.0)), sum(e.bytes or 0 for e in found))

    def _training(self, params: Mapping[str, Any], images: Mapping[str, int]) -> Estimate:
        epochs, trained = params["epochs"], images["train"] * params["fraction"]
        whole = images["val"] + images["test"]
        cap = math.inf if params["evaluate"] == "all" else params["evaluate"]
        watched = sum(min(count, cap) for count in (trained, images["val"], images["test"]))
        epoch = self.timed.epoch(params["precision"], params["batch_size"], trained, watched)
        first = self.timed.epoch(params["precision"], params["batch_size"], 0, watched + 2 * whole)  # and best and last
        kept = 4 + math.ceil(math.log2(epochs))  # start, powers of two, best, final
        return Estimate((epochs - params["first_epoch"]) * epoch + first, kept * self.timed.bytes)

    def _decoding(self, params: Mapping[str, Any], images: int) -> Estimate:
        sides = {params["train_size"], params["eval_size"]}
        return Estimate(images / DECODED, images * sum(3 * side * side for side in sides))


def image_counts(study: Study) -> dict[str, dict[str, int]]:
    """The images of every split of every target, and of the source of a pretraining, by the key of the data step."""
    found = {study.data(target).key: _counts(study, ref)[1] for target, ref in study.targets.items()}
    if study.pretrained is not None and (source := study.pretrained.source) is not None:
        found[study.pretraining(study.pretrained.labels[0]).params["data"].key] = _counts(study, source)[1]
    return found


def split_counts(study: Study, target: str) -> tuple[data.Listing, dict[str, int]]:
    """A target's listing, and how many of its images each split will hold. UserError when it cannot be split."""
    return _counts(study, study.targets[target])


def split_rows(study: Study, target: str) -> tuple[data.Listing, dict[str, np.ndarray]]:
    """A target's listing, and which of its images each split will hold. UserError when it cannot be split."""
    seen = data.open_listing(data.absolute(target, study.folder))
    how = study.split
    words = assign_splits(seen.labels, seen.groups, seen.splits, how.val, how.test, how.seed, seen.classes)
    return seen, {word: np.flatnonzero(words == word) for word in SPLITS}


def _counts(study: Study, target: str) -> tuple[data.Listing, dict[str, int]]:
    seen, rows = split_rows(study, target)
    return seen, {word: len(of) for word, of in rows.items()}
