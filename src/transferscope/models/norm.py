"""Normalisation with running statistics: which modules of a network keep them, and their estimation anew.

Needed wherever weights were averaged, moved or replaced. "Batch norm" stands for every module that normalises by a mean
and a variance it keeps: torch's own and its subclasses, instance norm that tracks, frozen and fused kinds, a user's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from transferscope.errors import UserError
from transferscope.models.moments import Instances, Moments, measure
from transferscope.models.norm_trial import channel_axis, used_unseen

NAMES = (("running_mean", "running_var"), ("moving_mean", "moving_var"), ("moving_mean", "moving_variance"))
STEMS = ("running_", "moving_")  # what begins like this and is none of `NAMES` is kept in a way not known
KNOWN = ("torch", "torchvision", "timm")  # packages whose norms have the channels in dimension 1 and use what they keep


@dataclass(frozen=True)
class Norm:
    """A module that keeps running statistics of its inputs, and the names of these tensors in it.

    `mean` is None where only a variance is kept (timm's EvoNorm B).
    """

    module: nn.Module
    mean: str | None
    var: str

    @property
    def words(self) -> tuple[str, ...]:
        return (self.var,) if self.mean is None else (self.mean, self.var)

    @property
    def known(self) -> bool:
        """Whether the class's own forward comes from a package that is known, and nothing replaced it."""
        home = type(self.module).forward.__module__.partition(".")[0]
        return home in KNOWN and "forward" not in vars(self.module)

    def tensor(self, word: str) -> Tensor:
        found = getattr(self.module, word)
        assert isinstance(found, Tensor)
        return found


def norms(net: nn.Module) -> dict[str, Norm]:
    """The modules of `net` that keep running statistics, by name; one held under two names comes once.

    Raises UserError for statistics that are no part of the state dict, which no weights would bring along.
    """
    found = {}
    for path, module in net.named_modules():
        held = _like_statistics(module)
        pair = next((pair for pair in NAMES if set(pair) <= held.keys()), None)
        if pair is not None:
            found[path] = Norm(module, *pair)
        elif type(module).__module__.startswith("timm.") and "running_var" in held:
            found[path] = Norm(module, None, "running_var")
        lost = {*_plain(module), *(held.keys() & module._non_persistent_buffers_set)}
        if lost:
            raise UserError(
                f"batch norm: {_called(path, module)} keeps '{min(lost)}' outside its state dict, so it does not go "
                "with the weights; register it as a persistent buffer."
            )
    return found


def has_batch_norm(net: nn.Module) -> bool:
    """Whether `net` keeps running statistics, in a way that is known or not."""
    return bool(norms(net)) or any(_like_statistics(module) for module in net.modules())


def running_statistics(net: nn.Module) -> dict[str, Tensor]:
    """The tensors of running statistics themselves (no copies), by their names in the state dict."""
    return {_join(path, word): one.tensor(word) for path, one in norms(net).items() for word in one.words}


def refresh_batch_norm(net: nn.Module, batches: Iterable[Tensor], *, biased: bool = False) -> int:
    """Set every running mean and variance to that of all values seen over `batches`; the number of batches.

    Pooled over the examples, not averaged over batches: a short last batch weighs what it holds, and the variance is
    the unbiased one of the whole (with `biased` the one that training divides by), added up in float64. (Instance norm
    keeps what its training does: the mean over the examples of each one's mean and unbiased variance.) Each batch (on
    the network's device) is normalised by its own statistics on the way, as in training, whatever the module's class;
    all other layers run in eval mode, so dropout is off. Weights and training flags are left as found; on an exception
    the statistics are too. Raises UserError
    where there are no batches, and for a module whose way of using what it keeps is not known (`norm_trial`).
    """
    layers = norms(net)
    for path, module in net.named_modules():
        if odd := sorted(_like_statistics(module).keys() - set(layers[path].words if path in layers else ())):
            raise UserError(
                f"batch norm: {_called(path, module)} keeps '{odd[0]}', which no known way re-estimates; choose "
                "another batch_norm than 'refresh', or name its statistics running_mean and running_var."
            )
    if not layers:
        return 0
    pooled: dict[str, Moments | Instances] = {
        path: Instances() if isinstance(one.module, _InstanceNorm) else Moments() for path, one in layers.items()
    }
    state = {**dict(net.named_buffers()), **running_statistics(net)}
    before = {name: tensor.clone() for name, tensor in state.items()}
    training = {module: module.training for module in net.modules()}
    axes: dict[str, int | None] = {path: 1 for path, one in layers.items() if one.known}
    hooks = [
        one.module.register_forward_pre_hook(reader(path, one, pooled[path], axes), with_kwargs=True)
        for path, one in layers.items()
    ]
    seen, finished = 0, False
    try:
        net.eval()
        for one in layers.values():
            one.module.training = isinstance(one.module, _InstanceNorm)
        with torch.no_grad():
            for batch in batches:
                net(batch)
                seen += 1
            if not seen:
                raise UserError("batch norm: no batches were given to estimate the statistics from.")
            net.eval()
            while hooks:
                hooks.pop().remove()
            uncalled = {}
            for path, one in layers.items():
                if pooled[path].count:
                    for word in one.words:
                        like = one.tensor(word)
                        like.copy_(
                            (_var(pooled[path], biased) if word == one.var else pooled[path].mean).view(like.shape)
                        )
                elif axes.get(path, 1) is not None:  # nothing is known about it
                    uncalled[path] = one.tensor(one.var)
            if used := used_unseen(lambda: net(batch), uncalled, batch.device):
                raise UserError(
                    f"batch norm: the statistics of {_called(used, layers[used].module)} are used without a call of "
                    "it, so they cannot be re-estimated; call it, or choose another batch_norm than 'refresh'."
                )
        finished = True
    finally:
        for hook in hooks:
            hook.remove()
        for module, flag in training.items():
            module.training = flag
        if not finished:
            with torch.no_grad():
                for name, tensor in state.items():
                    tensor.copy_(before[name])
    return seen


def _var(pooled: Moments | Instances, biased: bool) -> Tensor:
    return pooled.biased_var if biased and isinstance(pooled, Moments) else pooled.var


def reader(path: str, one: Norm, pooled: Moments | Instances, axes: dict[str, int | None]) -> Callable[..., None]:
    """Before a call of `one`: see its input, and let it normalise this batch by the batch's own statistics."""

    def read(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if x is None or x.ndim < 2:
            raise UserError(f"batch norm: {_called(path, module)} is given no batch of inputs, so nothing is known.")
        if path not in axes:
            axes[path] = _axis(path, one, x, args, kwargs)
        axis = axes[path]
        if axis is None:
            return
        if isinstance(pooled, Instances):
            pooled.see(x)  # in training mode it normalises every example by its own
            return
        count, mean, squares = measure(x, axis)
        if count < 2:
            raise UserError(
                f"batch norm: a batch holds one value a channel where it reaches {_called(path, module)}, which has no "
                "variance; give batches of at least 2 images."
            )
        pooled.add(count, mean, squares)
        for word, value in ((one.mean, mean), (one.var, squares / count)):
            if word is not None:
                one.tensor(word).copy_(value.view(one.tensor(word).shape))

    return read


def _axis(path: str, one: Norm, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    def forward(other: Tensor) -> Any:
        given = [other if value is x else value for value in args]
        return one.module.forward(*given, **{name: other if v is x else v for name, v in kwargs.items()})

    try:
        assert one.mean is not None
        return channel_axis(forward, one.tensor(one.mean), one.tensor(one.var), x)
    except LookupError as error:
        raise UserError(
            f"batch norm: {_called(path, one.module)} keeps '{one.mean}' and '{one.var}', but {error}, so they cannot "
            "be re-estimated; choose another batch_norm than 'refresh', or use one of torch's own norms."
        ) from None


def _like_statistics(module: nn.Module) -> dict[str, Tensor]:
    """A module's own tensors of its state that are named like running statistics."""
    own = {**module._buffers, **module._parameters}
    return {name: t for name, t in own.items() if t is not None and name.startswith(STEMS) and t.is_floating_point()}


def _plain(module: nn.Module) -> list[str]:
    return [name for name, value in vars(module).items() if name.startswith(STEMS) and isinstance(value, Tensor)]


def _called(path: str, module: nn.Module) -> str:
    return f"'{path}' ({type(module).__name__})" if path else f"the network ({type(module).__name__})"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
