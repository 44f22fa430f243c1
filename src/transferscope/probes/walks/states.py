"""Many sets of weights of one network on the same images: what every walk through weight space asks for, fast."""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope import answers, progress
from transferscope.errors import UserError
from transferscope.models.floats import given_in, precision_words, working_type
from transferscope.models.norm import has_batch_norm, refresh_batch_norm, running_statistics
from transferscope.models.precision import running
from transferscope.probes.batch_norm import BatchNorm, known
from transferscope.probes.features.tap import How
from transferscope.probes.inputs.given import walkable
from transferscope.probes.inputs.labelled import LabelledImages, joined, portioned, sent
from transferscope.probes.inputs.samples import unpacked
from transferscope.probes.passes.folding import Folding, foldable
from transferscope.probes.running import Copy, device_of, undisturbed
from transferscope.probes.walks.scored import Scored, scored
from transferscope.probes.weights.combine import same_architecture

Rows = NDArray[np.int64] | slice
DATA = "data"  # the name of data given without one


class States:
    """A copy of `net` that takes one state dict after another and is scored on the same images.

    `data` are batches (x, labels), or several such under names; they are read once and kept on the network's device.
    Of a torch `Dataset` in their place each image (x, label) is read once too, but not before it is asked for.
    `net` itself is never touched. Batch norm's statistics of a state are re-estimated ("refresh") on `images` images
    of `statistics` (batches; the first ones; by default images spread evenly over the first data set), or taken as
    they come ("as found"). `metric` is what judges: that of the batches, else the usual one; `whole` is what its scores
    range over, of which a tolerance is a share: 1, of an error the deviation of the numbers. `precision` is "float32"
    or "bfloat16". Raises UserError where there is no data or no labels. Usable in a `with` statement, which frees the
    images at its end.
    """

    def __init__(
        self,
        net: nn.Module,
        data: Iterable[Any] | Mapping[str, Iterable[Any]],
        *,
        statistics: Iterable[Any] | None = None,
        batch_norm: BatchNorm = "refresh",
        precision: str = "float32",
        images: int = 250,
    ) -> None:
        How(precision=precision)  # refuses an unknown one
        if images < 2:
            raise UserError(f"images: batch norm's statistics need at least 2 images, not {images}.")
        self.batch_norm, self.precision, self.device = known("mixture", batch_norm), precision, device_of(net)
        self.given_in, kind = given_in(net), working_type(net)
        walkable([] if statistics is None else statistics, "statistics")
        with undisturbed([net], "eval"):  # a loader may draw from the global random state
            named = data if isinstance(data, Mapping) else {DATA: data}
            self._sets = {
                str(name): LabelledImages(str(name), given, self.device, kind) for name, given in named.items()
            }
            if not self._sets:
                raise UserError("data: no data set was given to evaluate on.")
            self.names = tuple(self._sets)
            first = self._sets[self.names[0]]
            self._copy = Copy(net, self.device)
            self._net = self._copy.net
            self.has_batch_norm = has_batch_norm(self._net)
            self._like = {n: t for n, t in self._net.state_dict().items() if isinstance(t, Tensor)}
            self.statistics_given = statistics is not None
            self._measured = self._statistics(statistics, images, first) if self.has_batch_norm else None
            with running("float32", str(self.device)):
                few = first.images(np.arange(min(4, len(first))))
                self.outputs = self._copy.tried(few, first.name)
                if self._measured:
                    self._copy.tried(self._measured[0][:2], "statistics")
                pairs = foldable(self._net, lambda: self._copy.forward(few.clone()))
                self._folding = Folding(self._net, pairs, torch.bfloat16 if precision == "bfloat16" else torch.float32)
        for one in self._sets.values():
            one.check(self.outputs)
        several, classes = first.labels_of(np.arange(1)).ndim == 2, 2 if self.outputs == 1 else self.outputs
        self.metric = first.metric or answers.usual("labels" if several else "class", classes)
        self.whole = 1.0
        if answers.metric(self.metric).error:
            deviations = np.std(first.labels, axis=0) if first.scale is None else first.scale
            self.whole = float(np.mean(deviations))
        self.evaluated = 0  # images that went through the network to be scored
        self.refreshed = 0  # images that went through it to re-estimate statistics
        self._bar = progress.bar("sets of weights")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sets = {}
        self._measured = None
        self._bar.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided about the labels, and of images that came more than once."""
        return tuple(note for one in self._sets.values() for note in one.notes)

    @property
    def precision_words(self) -> str:
        """The precision, and what the network was given in where that was narrower than float32."""
        return precision_words(self.precision, self.given_in)

    @property
    def measured(self) -> int:
        """Number of images that batch norm's statistics are re-estimated on; 0 for a network without."""
        return sum(map(len, self.portions))

    @property
    def portions(self) -> tuple[Tensor, ...]:
        """These images; each portion is normalised by its own statistics on the way."""
        return self._measured or ()

    @property
    def measured_words(self) -> str:
        """Where re-estimated statistics come from: "on 250 images given as statistics"."""
        if self.statistics_given:
            return f"on {self.measured} images given as statistics"
        return f"on {self.measured} of the images of '{self.names[0]}' that are scored"

    @property
    def running_names(self) -> tuple[str, ...]:
        """Names of the state's tensors that are batch norm's running statistics."""
        return tuple(running_statistics(self._net))

    def count(self, name: str) -> int:
        """Number of images of a data set."""
        return len(self._sets[name])

    def labels(self, name: str) -> NDArray[Any]:
        """Labels of a data set, (n,) or (n, k)."""
        return self._sets[name].labels

    def judge(self, name: str, outputs: NDArray[np.float32]) -> Scored:
        """Outputs (n, k) for all images of a data set, scored."""
        of = self._sets[name]
        return scored(outputs, self.labels(name), self.metric, of.spread, of.scale)

    def __call__(
        self,
        state: Mapping[str, Tensor],
        *,
        batch_norm: BatchNorm | None = None,
        place: str = "these weights",
        rows: Mapping[str, Rows] | None = None,
    ) -> dict[str, Scored]:
        """Every data set scored under the weights `state`; with `rows`, only the named sets, each on those rows.

        `batch_norm` overrides that of the construction. `place` ("alpha 0.5") enters messages. Raises UserError for
        tensors missing or of another shape (it names the first), weights or outputs that are not finite, and negative
        variances.
        """
        self.load(state, batch_norm=batch_norm, place=place)
        return self.score(rows, place=place)

    def load(
        self, state: Mapping[str, Tensor], *, batch_norm: BatchNorm | None = None, place: str = "these weights"
    ) -> dict[str, Tensor]:
        """Put `state` into the copy; the statistics now in it, which make `state | statistics` a state "as found"."""
        kind = known("mixture", batch_norm or self.batch_norm)
        same_architecture(place, self._like, {"the weights given": state})
        with torch.no_grad():
            for name, like in self._like.items():
                like.copy_(state[name].detach())
        return self._finished(kind, place)

    def load_between(
        self,
        a: Mapping[str, Tensor],
        b: Mapping[str, Tensor],
        alpha: float,
        *,
        instead: Mapping[str, Tensor],
        batch_norm: BatchNorm,
        place: str,
    ) -> dict[str, Tensor]:
        """`load` of `weights.blend(a, b, alpha) | instead` without new memory; a and b are adopted states."""
        with torch.no_grad():
            for name, like in self._like.items():
                if name in instead or alpha in (0, 1) or not like.is_floating_point():
                    like.copy_(instead.get(name, (b if alpha == 1 else a)[name]))
                else:
                    torch.lerp(a[name], b[name], alpha, out=like)
        return self._finished(known("mixture", batch_norm), place)

    def _finished(self, kind: BatchNorm, place: str) -> dict[str, Tensor]:
        statistics: dict[str, Tensor] = {}
        if self._measured is not None:
            if kind == "refresh":
                with torch.no_grad(), running(self.precision, str(self.device)), self._copy.drawing():
                    refresh_batch_norm(self._net, self._measured)
                self.refreshed += sum(map(len, self._measured))
            statistics = self._found(place)
        self._folding = self._folding.again()
        return statistics

    def score(self, rows: Mapping[str, Rows] | None = None, *, place: str = "these weights") -> dict[str, Scored]:
        """What was loaded last, on every data set or on the given rows of the named ones."""
        found = {}
        for name, which in (rows or dict.fromkeys(self.names, slice(None))).items():
            data = self._sets[name]
            index = np.arange(len(data))[which]
            if not len(index):
                raise UserError(f"data: no image of '{name}' is left to evaluate on.")
            outputs = self._outputs(data, index, place)
            data.check(self.outputs)
            found[name] = scored(outputs, data.labels_of(index), self.metric, data.spread, data.scale)
            self.evaluated += len(index)
        self._bar.update()
        return found

    def adopt(self, state: Mapping[str, Tensor], place: str = "these weights") -> dict[str, Tensor]:
        """`state`, checked as in a call, in the device, type and memory layout of the copy: later loads are fast."""
        same_architecture(place, self._like, {"the weights given": state})
        return {n: torch.empty_like(like).copy_(state[n].detach()) for n, like in self._like.items()}

    def _outputs(self, data: LabelledImages, index: NDArray[np.int64], place: str) -> NDArray[np.float32]:
        with running(self.precision, str(self.device)), self._folding.running():
            parts = [self._copy.forward(data.images(part), i).float() for i, part in enumerate(data.portions(index))]
        out = torch.cat(parts)
        if not bool(torch.isfinite(out).all()):
            lost = int((~torch.isfinite(out)).any(1).sum())
            raise UserError(
                f"{place}: the outputs of {lost} of {len(out)} images are NaN or infinite; no score is given."
            )
        return np.asarray(out.cpu().numpy())

    def _found(self, place: str) -> dict[str, Tensor]:
        found = running_statistics(self._net)
        for name, tensor in found.items():
            if name.endswith(("var", "variance")) and bool((tensor < 0).any()):
                raise UserError(
                    f"{place}: a variance of batch norm '{name.rpartition('.')[0]}' is negative, which averaged "
                    "statistics are beyond the ends of a line; use batch_norm='refresh'."
                )
        return {name: tensor.detach().clone() for name, tensor in found.items()}

    def _statistics(self, batches: Iterable[Any] | None, images: int, first: LabelledImages) -> tuple[Tensor, ...]:
        if batches is None:
            x = first.images(np.unique(np.linspace(0, len(first) - 1, images).round().astype(np.int64)))
        else:
            parts: list[Tensor] = []
            for batch in unpacked(batches, "statistics"):
                parts.append(sent(batch.x[: images - sum(map(len, parts))], self.device, first.dtype))
                if sum(map(len, parts)) >= images:
                    break
            if not parts:
                raise UserError("statistics: there were no images to estimate batch norm's statistics from.")
            x = joined(parts, "statistics", self.device)
        if len(x) < 2:
            raise UserError("statistics: batch norm's statistics need at least 2 images, and there is 1.")
        return portioned(x, self.device)
