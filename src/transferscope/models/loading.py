"""Weights into a network, and the proof of it: what was found where, what was adapted, and what is still missing."""

import fnmatch
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from transferscope.errors import UserError, did_you_mean
from transferscope.models.adapt import EMBEDDING, adapted, converted, stem
from transferscope.models.effective import suited
from transferscope.models.load_report import Loaded
from transferscope.models.names import Choice, choose
from transferscope.models.weights import belongs


def fit(
    net: nn.Module,
    state: Mapping[str, Tensor],
    *,
    head: tuple[str, ...],
    min_share: float = 0.9,
    allow: Iterable[str] = (),
) -> tuple[dict[str, Tensor], Loaded]:
    """The tensors of `state` that belong in the body of `net`, in its names and dtypes, and what was matched.

    Where the file keeps them is found by `names.choose`; a stem of other channels and a position embedding of another
    grid are adapted. Nothing is copied into `net`. Raises UserError below `min_share` of the body's parameters; for a
    stem, running statistics or an embedding that stay unfilled, and for blocks of the file that `net` does not have,
    without being listed in `allow` (names or patterns such as "*.running_mean"); for values that are not finite or not
    of the kind of a network's; and where `choose` does.
    """
    body = {name: tensor for name, tensor in net.state_dict().items() if not belongs(name, head)}
    choice = choose(state, body, net)
    filled, changes = _filled(net, body, choice, state)
    own = _own(net, body)
    counted = [name for name in body if name in filled or name not in own]
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters() if name in body}
    matched = sum(size for name, size in sizes.items() if name in filled)
    loaded = Loaded(
        tensors_matched=len(filled),
        tensors_total=len(counted),
        parameters_matched=matched,
        parameters_total=sum(sizes.values()),
        share=matched / max(sum(sizes.values()), 1),
        missing=tuple(name for name in counted if name not in choice.given and name not in filled),
        unexpected=tuple(name for name in choice.others if name not in filled and not belongs(name, head)),
        mismatched=tuple(name for name in counted if name in choice.given and name not in filled),
        under=choice.under,
        renamed=choice.rule,
        adapted=tuple(changes),
    )
    if loaded.share < min_share:
        raise UserError(_too_little(loaded, body, choice, state, min_share))
    beyond = _beyond(net, loaded)
    _gate(net, body, loaded, choice, beyond, tuple(allow))
    notes = [f"left out, as blocks that the network does not have: {_few(beyond)}"] if beyond else []
    notes += [f"the same values are also under {_places(choice.also)}"] if choice.also else []
    notes += [f"the file also has other values of it, under {_places(choice.besides)}"] if choice.besides else []
    tensors, stored = {}, Counter[str]()
    spread = getattr(state, "spread", {})
    for name, tensor in filled.items():
        tensors[name], kind = suited(name, tensor, body[name], choice.others)
        stored.update(k for k in (kind, spread.get(choice.names.get(name, ""))) if k)
    for kind, count in stored.items():
        notes.append(f"{count} tensor{'s' * (count != 1)} stored as {kind}, read as the network's own kind of numbers")
    return tensors, replace(loaded, notes=tuple(notes))


def _filled(
    net: nn.Module, body: Mapping[str, Tensor], choice: Choice, state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of the body there are in the right shape, and how those came about that were not so in the file."""
    notes: list[str] = []
    fits: dict[str, Tensor] = {}
    own = _own(net, body)

    def take(given: Mapping[str, Tensor]) -> list[str]:
        """Take what `given` has of the body that is not there yet, made to fit where it can be; the names taken."""
        before = set(fits)
        fits.update({n: given[n] for n in body if n in given and n not in fits and given[n].shape == body[n].shape})
        taken = [name for name in fits if name not in before]
        for name, tensor, said in adapted(net, body, {n: t for n, t in given.items() if n not in fits}):
            fits[name] = tensor
            notes.append(said)
        return taken

    take(choice.given)
    for source in ({**choice.others, **choice.plain}, state):
        if any(name not in fits and name not in own for name in body):
            names = take(converted(net, source))
            said = f"made to fit by timm's own conversion for {type(net).__name__}: {_few(names)}"
            notes += [f"{len(names)} tensors {said}" if len(names) > 1 else f"1 tensor {said}"] if names else []
    for how in dict.fromkeys(choice.made.values()):
        names = [name for name, made in choice.made.items() if made == how and name in fits]
        notes += [f"{len(names)} tensors put together from their parts ({how}): {_few(names)}"] if names else []
    return {name: fits[name] for name in body if name in fits}, list(dict.fromkeys(notes))


def _own(net: nn.Module, body: Mapping[str, Tensor]) -> set[str]:
    """Buffers that a network makes itself: counters that nothing reads, index tables and masks of whole numbers."""
    averaging = {
        f"{name}.num_batches_tracked" if name else "num_batches_tracked"
        for name, module in net.named_modules()
        if isinstance(module, _NormBase) and module.momentum is None  # the count is the weight of what was seen
    }
    return {name for name, tensor in body.items() if not _floating(tensor) and name not in averaging}


def _floating(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _kind(name: str, net: nn.Module, first: tuple[str, ...], trained: set[str]) -> str:
    """What no share shows: "the first layer", "running statistics", "an embedding"; "" for other tensors."""
    if name in first:
        return "the first layer"
    if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked"):
        return "running statistics"
    owner = net.get_submodule(name.rpartition(".")[0])
    if name in trained and (isinstance(owner, nn.Embedding) or EMBEDDING.search(name)):
        return "an embedding"
    return ""


def _beyond(net: nn.Module, loaded: Loaded) -> tuple[str, ...]:
    """Tensors of the file in a part of the body, but in a module of it that there is not: `layer1.2.conv1` of a deeper
    network, an adapter beside a layer. Parts that were put together are none."""
    modules = {name for name, _ in net.named_modules()}
    owners = {name: name.rpartition(".")[0] for name in loaded.unexpected if ".parametrizations." not in name}
    return tuple(n for n, owner in owners.items() if owner not in modules and n.partition(".")[0] in modules)


def _gate(
    net: nn.Module,
    body: Mapping[str, Tensor],
    loaded: Loaded,
    choice: Choice,
    beyond: tuple[str, ...],
    allow: tuple[str, ...],
) -> None:
    """Refuse to go on without what a share of parameters does not show, with the file's blocks `beyond` the network,
    and with names in `allow` that there are not."""
    known = [*body, *beyond]
    for pattern in allow:
        if not fnmatch.filter(known, pattern):
            raise UserError(f"pretrained.allow: the network has no tensor '{pattern}'; {did_you_mean(pattern, known)}")
    odd = [name for name in beyond if not any(fnmatch.fnmatchcase(name, pattern) for pattern in allow)]
    if odd:
        more = f" and {len(odd) - 1} more tensors" if len(odd) > 1 else ""
        raise UserError(
            f"weights: they hold '{odd[0]}'{more} of blocks that the network does not have, as those of a larger "
            f"network do; use the network they were made for, or allow it by name, pretrained: {{weights: ..., allow: "
            f"['{odd[0].rpartition('.')[0]}.*', ...]}}."
        )
    first = stem(net, body)
    trained = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    lost: dict[str, list[str]] = {}
    for name in loaded.unfilled:
        kind = _kind(name, net, first, trained)
        if kind and not any(fnmatch.fnmatchcase(name, pattern) for pattern in allow):
            lost.setdefault(kind, []).append(name)
    if lost:
        kind, names = next(iter(lost.items()))
        every = [name for several in lost.values() for name in several]
        more = f" (and {len(every) - 1} more tensors are not filled)" if len(every) > 1 else ""
        shown = dict.fromkeys(f"'*{name.rpartition('.')[2]}'" if "running_" in name else name for name in every)
        raise UserError(
            f"weights: {kind} would start as in a random network: {_shapes(names[0], body, choice)}{more}; use weights "
            f"that hold them all, or allow it by name, pretrained: {{weights: ..., allow: [{', '.join(shown)}]}}."
        )


def _shapes(name: str, body: Mapping[str, Tensor], choice: Choice) -> str:
    wanted = list(body[name].shape)
    if name in choice.given:
        return f"'{name}' has shape {list(choice.given[name].shape)}, the network needs {wanted}"
    return f"'{name}' is missing, the network needs {wanted}"


def _too_little(
    loaded: Loaded, body: Mapping[str, Tensor], choice: Choice, state: Mapping[str, Tensor], min_share: float
) -> str:
    wrong = loaded.mismatched or loaded.missing
    first = next((name for name in wrong if name.endswith("weight")), wrong[0])
    held = ", ".join(list(getattr(state, "all_tensors", state))[:3]) or "none"
    top = [key for key in getattr(state, "top", ()) if key not in getattr(state, "all_tensors", state)]
    keys = f", its keys are {', '.join(top[:6])}" if top else ""
    kind = getattr(state, "kind", "")
    keys += f"; its config.json says {kind}, whose layers may be called otherwise" if kind else ""
    return (
        f"weights: only {100 * loaded.share:.1f}% of the body's parameters are in them, less than the "
        f"{100 * min_share:g}% asked for ({_shapes(first, body, choice)}; the file's names begin with {held}{keys}); "
        "use weights of this architecture, or lower pretrained.min_share to go on regardless."
    )


def _places(prefixes: Iterable[str]) -> str:
    return ", ".join(prefix or "(no prefix)" for prefix in prefixes)


def _few(names: Iterable[str], most: int = 3) -> str:
    listed = sorted(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")
