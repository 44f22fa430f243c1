"""What a study will cost: from finished steps, else from a short timing of its network, else from other kinds."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import median

import numpy as np

from transferscope import data
from transferscope.data.split import assign_splits
from transferscope.engine.estimate import Estimate, Past
from transferscope.engine.step import Keep, Step, find
from transferscope.errors import UserError
from transferscope.study import Study
from transferscope.tasks import costs, inputs
from transferscope.timing.calibrate import Calibration

DECODED = 200.0  # images a second that a core decodes and resizes: photographs of some hundred pixels a side
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Forecast:
    """Seconds of one slot and bytes of every step of a study whose network is `network`.

    A kind of step that has been done is judged by `past`. Others by their work in passes (`tasks.costs`) and the
    seconds of a pass: as `timed`, or as finished steps of the network took. `images` counts them by split, for the key
    of every data step. A `pace` in seconds of a pass, where it is given, holds for all steps but those that decode;
    `weights` are then the bytes of the network's. `outputs` counts what a network answers to an image, by data step.
    """

    past: Past
    network: str
    images: Mapping[str, Mapping[str, int]]
    timed: Calibration | None = None
    pace: float | None = None
    weights: int | None = None
    outputs: Mapping[str, int] = field(default_factory=dict)

    def paced(self, steps: Iterable[Step], seconds: float, weights: int) -> "Forecast":
        """This forecast where a training run takes so many seconds, and all else in proportion to its work, of a
        network with so many bytes of `weights`. UserError where nothing is trained."""
        runs = [self.passes(step) for step in steps if step.task == "train"]
        if not runs:
            raise UserError("--seconds-per-run: nothing is left to train; leave it out.")
        return replace(self, pace=seconds / median(runs), weights=weights)

    def of(self, step: Step) -> Estimate:
        """The estimate of one step; None for what nothing tells."""
        known, size = self.past.of(step), self._size(step)
        if self.pace is not None and not self.decodes(step):
            return Estimate(self.pace * self.passes(step), size)
        return Estimate(known.seconds if known.seconds is not None else self._seconds(step), size)

    def total(self, steps: Iterable[Step], slots: int) -> Estimate:
        """Wall seconds with `slots` workers, None where those of any step are not known, and bytes of all steps."""
        found = [self.of(step) for step in steps]
        size = sum(e.bytes or 0 for e in found)
        seconds = [e.seconds for e in found if e.seconds is not None]
        if len(seconds) < len(found):
            return Estimate(None, size)
        return Estimate(max(sum(seconds) / slots, max(seconds, default=0.0)), size)

    def kept(self, steps: Iterable[Step], keep: Keep) -> int:
        """Bytes of all steps that stay where `keep` says so, when all is done: by past shares, else of a training three
        weights at its ends, or none."""
        return round(sum(self._kept(step, keep) for step in steps))

    def _size(self, step: Step) -> int | None:
        known = self.past.of(step).bytes
        return self._bytes(step) if known is None else known

    def _kept(self, step: Step, keep: Keep) -> float:
        size, share = self._size(step) or 0, self.past.share(step, keep)
        if share is None and step.task == "train" and keep != "all":
            return self._trained(step, 3 if keep == "ends" else 0) or 0
        return size if share is None else share * size

    def passes(self, step: Step) -> float:
        """The work of a step, with the images that its data has where its task asks for them."""
        cost, images = find(step.call).cost, self._images(step)
        if cost is None or images is None or not _goes_by_images(cost):
            return step.cost
        return float(cost(step.params, images))

    def decodes(self, step: Step) -> bool:
        """Whether a step makes a table of images: its seconds hang on the images and the disk, not on the network."""
        return step.key in self.images

    def _images(self, step: Step) -> Mapping[str, int] | None:
        source = step.params.get("data", step.params.get("data_a"))
        return self.images.get(source.key if isinstance(source, Step) else step.key)

    def _seconds(self, step: Step) -> float | None:
        if self.decodes(step):
            return sum(self.images[step.key].values()) / DECODED
        if self.timed is None:
            rate = self.past.seconds_per_cost(self.network)
            return None if rate is None else rate * self.passes(step)
        precision = step.params.get("precision")
        time_of = self.timed.step_times.get(str(precision)) or next(iter(self.timed.step_times.values()))
        if step.task == "train":
            trained, evaluated = costs.epochs(step.params, self._images(step) or costs.USUAL)
            steps: float = trained / step.params["batch_size"]
            return time_of.step * steps + time_of.evaluation * evaluated
        return time_of.evaluation * self.passes(step)

    def _bytes(self, step: Step) -> int | None:
        if self.decodes(step):
            return sum(self.images[step.key].values()) * inputs.of_step(step).stored_bytes(step.params)
        if step.task == "train":  # the start, powers of two, best, final
            epochs, every = int(step.params["epochs"]), step.params["save_every"]
            return self._trained(step, 3 + math.ceil(math.log2(epochs)) + (epochs // every if every else 0))
        return None

    def _trained(self, step: Step, weights: int) -> int | None:
        """Bytes of a training that keeps so many files of weights, and its answers at its best and its last epoch."""
        size = self.weights if self.timed is None else self.timed.bytes
        data, images = step.params["data"], self._images(step)
        if size is None:
            return None
        answers = (images["val"] + images["test"]) * self.outputs.get(data.key, 0) if images else 0
        return weights * size + 2 * 4 * answers


@cache  # of a few tasks, for every step of a plan
def _goes_by_images(cost: Callable[..., float]) -> bool:
    return "images" in inspect.signature(cost).parameters


def image_counts(study: Study) -> dict[str, dict[str, int]]:
    """The images of every split of every target, and of the source of a pretraining, by the key of the data step."""
    found = {study.data(target).key: _counts(study, of) for target, of in study.targets.items()}
    if study.pretrained is not None and (source := study.pretrained.source) is not None:
        found[study.pretraining(study.pretrained.labels[0]).params["data"].key] = _counts(study, source)
    return found


def output_counts(study: Study) -> dict[str, int]:
    """How many numbers a network answers to an image, by the key of the data step."""
    found = {study.data(name).key: len(study.listing(target).classes) for name, target in study.targets.items()}
    if study.pretrained is not None and (source := study.pretrained.source) is not None:
        data = study.pretraining(study.pretrained.labels[0]).params["data"]
        found[data.key] = len(study.listing(source).classes)
    return found


def split_rows(study: Study, target: data.Target) -> tuple[data.Listing, dict[str, np.ndarray]]:
    """A target's listing, and which of its images each split will hold. UserError when it cannot be split."""
    seen = study.listing(target)
    how = study.split
    words = assign_splits(seen.labels, seen.groups, seen.splits, how.val, how.test, how.seed, seen.classes)
    return seen, {word: np.flatnonzero(words == word) for word in SPLITS}


def _counts(study: Study, target: data.Target) -> dict[str, int]:
    return {word: len(rows) for word, rows in split_rows(study, target)[1].items()}
