"""Running statistics of a changed network, estimated anew: what runs before the change is not run again.

The layers before a change see what they saw, so their statistics stay. The images that statistics are estimated from
go through a `Prefix` of their own, in which every norm normalises by what reaches it: a pass that starts at the changed
block then gives the statistics of all norms behind it, as a full pass would.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from transferscope.models.blocks import Block
from transferscope.models.moments import Moments
from transferscope.models.norm import Norm, norms, reader, refresh_batch_norm, running_statistics
from transferscope.models.precision import running
from transferscope.probes.passes.entry_points import Variant, swapped_in
from transferscope.probes.passes.folding import rest
from transferscope.probes.passes.prefix import Prefix
from transferscope.probes.running import device_of, undisturbed

Forward = Callable[..., Any]
Inside = Block | str | Sequence[Block | str] | None


class Sight:
    """How a network runs while its norms see what reaches them; stands where a `folding.Folding` stands.

    `seen`: by norm, what it saw in the last pass.
    """

    pairs: tuple[Any, ...] = ()
    names: frozenset[str] = frozenset()

    def __init__(self, found: Mapping[str, Norm]) -> None:
        self._norms = found
        self.seen: dict[str, Moments] = {}

    def again(self) -> "Sight":
        return self

    def of(self, state: Mapping[str, Tensor]) -> dict[str, nn.Module]:
        return {}

    def compute(self, layers: Mapping[str, nn.Module]) -> Callable[[str, Forward], Forward]:
        self.seen = {}  # a pass begins
        return lambda name, forward: self._seeing(name, forward) if name in self._norms else forward

    def _seeing(self, name: str, forward: Forward) -> Forward:
        def run(*args: Any, **kwargs: Any) -> Any:
            norm = self._norms[name]
            if len(args) == 1 and not kwargs and (found := at_once(norm.module, args[0])) is not None:
                out, self.seen[name] = found
                return out
            self.seen[name] = Moments()
            reader(name, norm, self.seen[name], {name: 1})(norm.module, args, kwargs)
            return forward(*args, **kwargs)

        return run


def at_once(norm: nn.Module, x: Tensor) -> tuple[Tensor, Moments] | None:
    """What a batch norm makes of `x` (n, C, ...) by the statistics of `x`, and these, in torch's one pass for training:
    half the time of measuring before normalising. Added up in float32, so that they are off by up to 1e-5 standard
    deviations. None for other norms, other types of numbers, other devices than a CPU and too few values.
    """
    behind = rest(norm)
    if behind is None or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return None
    assert isinstance(norm, _BatchNorm)
    count = x.numel() // x.shape[1]
    if count < 2 or any(t is not None and t.dtype != x.dtype for t in (norm.weight, norm.bias)):
        return None
    out, mean, inverse = torch.native_batch_norm(x, norm.weight, norm.bias, None, None, True, 0.0, norm.eps)
    var = (inverse.double().square().reciprocal() - norm.eps).clamp(min=0)
    return behind(out), Moments(count, mean.double(), var * count)


class Anew:
    """Changes of a prefix's network, each with the statistics re-estimated from `portions` of images.

    Each portion is normalised by its own statistics on the way. Variances are the unbiased ones of all images, or with
    `biased` those that a norm divides by on the way: with one portion `outputs` are then those of the variant. The
    network holds its own estimates from now on, so give a prefix on a copy. Passes start at the change; where a norm is
    of a kind that needs whole ones (tracking instance norms, a user's own, norms called several times), all are whole.
    """

    def __init__(self, prefix: Prefix, portions: Sequence[Tensor], precision: str, *, biased: bool = False) -> None:
        self.prefix, self._portions, self._precision, self._biased = prefix, portions, precision, biased
        self._norms = norms(prefix.net)
        self._own = running_statistics(prefix.net)
        self._sight = Sight(self._norms)
        times = Counter(prefix.called)
        plain = all(one.known and not isinstance(one.module, _InstanceNorm) for one in self._norms.values())
        short = plain and all(times[name] == 1 for name in self._norms)
        self._twin = prefix.twin(portions, self._sight) if short else None
        self.again()

    def again(self) -> None:
        """Begin anew, with the weights that the network has now."""
        base = self._by_full_passes({})
        for name, tensor in self._own.items():
            tensor.data.copy_(base[name])
        self.prefix.again()
        if self._twin is not None:
            self._twin.again()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Around many calls: see `Prefix.open`."""
        with ExitStack() as stack:
            for prefix in (self.prefix, self._twin):
                if prefix is not None:
                    stack.enter_context(prefix.open())
            yield

    def variant(self, inside: Inside, state: Mapping[str, Tensor]) -> Variant:
        """`state`, tensors of the blocks `inside`, and the statistics that follow from it, ready for the prefix to run.

        Outputs are not finite where the changed network overflows.
        """
        return self.estimated(inside, state)[0]

    @property
    def exact(self) -> bool:
        """Whether `outputs` are those of a variant, with the statistics that it has."""
        return self._biased and len(self._portions) == 1 and self._twin is not None

    def outputs(self, inside: Inside, state: Mapping[str, Tensor]) -> np.ndarray:
        """The outputs (n, k) of the changed network on the images that its statistics come from, where `exact`."""
        assert self._twin is not None
        return self._behind(self._twin, inside, state)[1]

    def estimated(self, inside: Inside, state: Mapping[str, Tensor]) -> tuple[Variant, np.ndarray | None]:
        """A `variant`, and outputs (n, k) of the images with each portion normalised by its own statistics.

        Near the variant's own (with one portion only the variances differ: on the way they are the biased ones), in
        the order the images had before `labelled.portioned`. None where passes are whole.
        """
        found, outputs = (
            (self._by_full_passes(state), None) if self._twin is None else self._behind(self._twin, inside, state)
        )
        values = {name: tensor for name, tensor in state.items() if name not in found}
        return self.prefix.variant(None if self._twin is None else inside, values, found), outputs

    def _behind(
        self, twin: Prefix, inside: Inside, state: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], np.ndarray]:
        """Statistics by name, of all norms behind a change, and outputs."""
        pooled: dict[str, Moments] = {}
        count = len(self._portions)
        outputs: np.ndarray | None = None
        with twin.open(), self._private():
            variant = twin.variant(inside, state)
            for number in range(count):
                part = twin.run(variant, [number])
                outputs = np.empty((twin.samples, part.shape[1]), np.float32) if outputs is None else outputs
                outputs[number::count] = part
                for path, of in self._sight.seen.items():
                    pooled.setdefault(path, Moments()).add(of.count, of.mean, of.squares)
        found = {}
        for path, of in pooled.items():
            one = self._norms[path]
            for word in one.words:
                like = one.tensor(word)
                found[f"{path}.{word}"] = (self._var(of) if word == one.var else of.mean).to(like).view_as(like)
        assert outputs is not None  # there is at least one portion
        return found, outputs

    def _var(self, of: Moments) -> Tensor:
        return of.biased_var if self._biased else of.var

    def _by_full_passes(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All statistics under a change, by whole passes."""
        net = self.prefix.net
        held = {**dict(net.named_parameters(remove_duplicate=False)), **dict(net.named_buffers(remove_duplicate=False))}
        values = {name: tensor.to(held[name], copy=True) for name, tensor in state.items()}
        with undisturbed([net], "eval"), swapped_in(held, values), self._private(), torch.no_grad():
            with running(self._precision, str(device_of(net))):
                refresh_batch_norm(net, self._portions, biased=self._biased)
            return {name: tensor.detach().clone() for name, tensor in self._own.items()}

    @contextmanager
    def _private(self) -> Iterator[None]:
        """Running statistics in memory of their own: what norms see on the way leaves no trace."""
        with swapped_in(self._own, {name: tensor.detach().clone() for name, tensor in self._own.items()}):
            yield
