"""Weights for a notebook: a path, or a dictionary as a file holds it, as the state dict of a network at hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from transferscope.errors import UserError, a_kind
from transferscope.models.build import head_names
from transferscope.models.checkpoint import contents, read_state
from transferscope.models.load_report import Loaded
from transferscope.models.loading import fit
from transferscope.models.names import choose
from transferscope.models.pretrained.file import place
from transferscope.models.weights import belongs


@dataclass(frozen=True, repr=False)
class Report:
    """What was read for a network: from where, `loaded` for its body (see `models.load_report`), and of its `head`
    whether the source has one of the same shapes; `filled` are buffers the network makes itself, from `like`."""

    source: str
    loaded: Loaded
    head: bool
    filled: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The sentences, a line each."""
        head = "the head is that of the source" if self.head else "no head that fits; it is left out"
        return "\n".join([f"{self.source}: {self.loaded}", *self.loaded.sentences(), head])


def read_weights(
    source: str | Path | Mapping[str, Any], *, like: nn.Module, min_share: float = 0.9
) -> tuple[dict[str, Tensor], Report]:
    """What a weights file (`PATH`, `PATH#teacher`, a folder; a dictionary as one holds it) has for a network of the
    form of `like`, as its state dict, and the report of it. Neither is changed.

    The body as `pretrained: file:PATH` takes it, and the head where its shapes agree. Tensors that are missing stay
    out; counters and index tables come from `like`. Raises UserError where the study file would, and for less than
    `min_share` of the body's parameters.
    """
    if not isinstance(like, nn.Module):
        raise UserError(f"read_weights: like is {a_kind(like)}, not a network (a torch.nn.Module).")
    if isinstance(source, str | Path):
        state, named = read_state(*place(str(source).removeprefix("file:"))), str(source)
    elif isinstance(source, Mapping):
        state, named = contents(source), "a dictionary"
    else:
        raise UserError(f"read_weights: give a path or a state dict, not {a_kind(source)}.")
    head = classifier(like)
    own = like.state_dict()
    found, loaded = fit(like, state, head=head, min_share=min_share)
    mine = [name for name in own if belongs(name, head)]
    given = choose(state, own, like).given
    fits = bool(mine) and all(name in given and given[name].shape == own[name].shape for name in mine)
    tops = {name: given[name].to(own[name].dtype, copy=True) for name in mine} if fits else {}
    made = [n for n in own if n not in found and n not in mine and not own[n].is_floating_point()]
    whole = {**found, **tops, **{name: own[name].detach().cpu().clone() for name in made}}
    return {name: whole[name] for name in own if name in whole}, Report(named, loaded, fits, tuple(made))


def classifier(net: nn.Module) -> tuple[str, ...]:
    """The head of any network: what timm names, else its last linear layer; () when there is neither, and for a
    network of timm without a classifier, whose last linear layer belongs to the body."""
    if callable(get := getattr(net, "get_classifier", None)):
        given = get()
        heads = given if isinstance(given, tuple | list) else (given,)
        if not any(isinstance(m, nn.Module) and any(True for _ in m.parameters()) for m in heads):
            return ()
    widths = [module.out_features for module in net.modules() if isinstance(module, nn.Linear)]
    try:
        return head_names(net, widths[-1] if widths else 0)
    except UserError:
        return ()
