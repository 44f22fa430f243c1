"""Finding a network's body in a file: under which prefix, by which names, and which of several is meant."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.effective import put_together
from transferscope.models.layouts import found, indices

NEAR, HALF = 0.9, 0.5  # of the best's share, and of the body: another place of the file that holds as much is a rival
NOTHING = 0.1  # of the body: a part that was asked for and holds less is not where the network is


class NoSuchPartError(UserError):
    """The part of a file that was asked for is not there, or is another thing than the network."""


@dataclass(frozen=True)
class Choice:
    """Where a body was found in a file.

    `given`: its tensors, of whatever shape, by the network's names; `names`: theirs in the file; `under`: the prefix
    that came off; `rule`: a sentence's part on other names ("" for the same); `also`: other prefixes with the same
    values, `besides`: with others, where a part was asked for; `made`: how those tensors came about that the file keeps
    in parts; `others`: what is under the prefix besides, by name.
    """

    given: dict[str, Tensor]
    names: dict[str, str]
    under: str
    rule: str
    also: tuple[str, ...]
    besides: tuple[str, ...]
    made: dict[str, str]
    others: dict[str, Tensor]

    @property
    def plain(self) -> dict[str, Tensor]:
        """The tensors found, by their names in the file without the prefix."""
        lead = f"{self.under}." if self.under else ""
        return {name.removeprefix(lead): self.given[body] for body, name in self.names.items()}


def choose(state: Mapping[str, Tensor], like: Mapping[str, Tensor], net: nn.Module) -> Choice:
    """The tensors of `state` that are those of `like` (part of the state dict of `net`), wherever the file keeps them.

    The place that holds most of it, counted in numbers of the right shape, is taken. Raises UserError when several do
    that differ in their values, or when it is not in the part of the file that is looked at first.
    """
    whole: Mapping[str, Tensor] = getattr(state, "all_tensors", state)
    made, how = put_together(whole)
    tensors = {**whole, **made}
    rule, groups = _places(tensors, like, net, getattr(state, "fragment", ""))
    near = _near(groups, tensors, like)
    besides = _besides(state, tensors, like, net, groups) if getattr(state, "fragment", "") else ()
    if not near:
        return Choice({}, {}, "", "", (), (), {}, dict(state))
    under, names = near[0], groups[near[0]]
    rivals = [p for p in near[1:] if not _same(groups[p], names, tensors)]
    if rivals:
        _ask(state, [under, *rivals])
    nest = getattr(state, "nest", "")
    if _score(names, tensors, like) and not f"{under}.".startswith(nest):
        raise UserError(
            f"weights: this network is found under '{under}' of the file, not where the file keeps its weights by the "
            f"usual name ('{nest.rstrip('.')}'); write 'file:{getattr(state, 'file', '')}#{under}' to take it."
        )
    lead = f"{under}." if under else ""
    used = set(names.values())
    others = {n.removeprefix(lead): t for n, t in whole.items() if n.startswith(nest) and n not in used}
    return Choice(
        given={body: tensors[name] for body, name in names.items()},
        names=names,
        under=under,
        rule=rule,
        also=tuple(near[1:]),
        besides=besides,
        made={body: how[name] for body, name in names.items() if name in how},
        others=others,
    )


def _places(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], net: nn.Module, fragment: str
) -> tuple[str, dict[str, dict[str, str]]]:
    """By which of the network's names (see `layouts`) most is found in that part of the file, and where."""
    best: tuple[float, str, dict[str, dict[str, str]]] = (-1.0, "", {})
    for rule, index, exact in indices(like, net):
        groups = _under_fragment(found(tensors, index), fragment)
        score = max((_score(group, tensors, like) for group in groups.values()), default=0.0)
        complete = any(_complete(group, tensors, like) for group in groups.values())
        if score > best[0] and (complete or not exact):
            best = (score, rule, groups)
        if complete:
            break
    return best[1:]


def _near(
    groups: Mapping[str, Mapping[str, str]], tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]
) -> list[str]:
    """The place that holds most, and the others that hold about as much and half of the body."""
    scores = {prefix: _score(group, tensors, like) for prefix, group in groups.items()}
    ranked = sorted(groups, key=lambda prefix: -scores[prefix])
    enough = max(NEAR * scores[ranked[0]], HALF * _size(like)) if ranked else 0.0
    return [*ranked[:1], *(prefix for prefix in ranked[1:] if scores[prefix] >= enough)]


def _besides(
    state: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    like: Mapping[str, Tensor],
    net: nn.Module,
    chosen: Mapping[str, Mapping[str, str]],
) -> tuple[str, ...]:
    """Where else than in the part of the file that was asked for the network is, with other values. UserError where
    that part holds next to nothing of it, with the parts that do."""
    everywhere = _places(tensors, like, net, "")[1]
    there = [p for p in _near(everywhere, tensors, like) if _score(everywhere[p], tensors, like) >= HALF * _size(like)]
    best = max((_score(group, tensors, like) for group in chosen.values()), default=0.0)
    asked, file = getattr(state, "fragment", ""), getattr(state, "file", "")
    if best < NOTHING * _size(like):
        top = [name for name in getattr(state, "top", ()) if name not in tensors]
        some = f"; its keys are {', '.join(top[:6])}" if top else ""
        known = f"it is under #{', #'.join(_called(there))}." if there else f"nor anywhere else in it{some}."
        raise NoSuchPartError(f"weights: '{file}' holds nothing of this network under '#{asked}', {known}")
    own = next(iter(_near(chosen, tensors, like)))
    return tuple(p for p in there if p not in chosen and not _same(everywhere[p], chosen[own], tensors))


def _size(like: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in like.values())


def _under_fragment(groups: dict[str, dict[str, str]], fragment: str) -> dict[str, dict[str, str]]:
    """The groups in the part of the file that was asked for; one that is called so exactly comes before all others."""
    if not fragment:
        return groups
    asked = fragment.strip(".")
    exact = {prefix: group for prefix, group in groups.items() if prefix == asked}
    return exact or {prefix: group for prefix, group in groups.items() if f".{asked}." in f".{prefix}."}


def _score(group: Mapping[str, str], tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> float:
    """Numbers of the right shape; a hundredth for a name whose shape is another, which may be adapted."""
    return sum(like[b].numel() if tensors[n].shape == like[b].shape else 0.01 for b, n in group.items())


def _complete(group: Mapping[str, str], tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> bool:
    return all(
        (body in group and tensors[group[body]].shape == tensor.shape) or body.endswith("num_batches_tracked")
        for body, tensor in like.items()
    )


def _same(a: Mapping[str, str], b: Mapping[str, str], tensors: Mapping[str, Tensor]) -> bool:
    """Whether two places hold the same values for what both hold."""
    pairs = [(tensors[a[name]], tensors[b[name]]) for name in a.keys() & b.keys()]
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs)


def _ask(state: Mapping[str, Tensor], prefixes: list[str]) -> None:
    """Raise the question which of several places is meant."""
    shown = _called(prefixes)
    file = getattr(state, "file", "") or "PATH"
    raise UserError(
        f"weights: this network is in the file {len(prefixes)} times with different values; say which is meant by "
        f"'file:{file}#{shown[0]}', or #{', #'.join(shown[1:])}."
    )


def _called(prefixes: list[str]) -> list[str]:
    """Of each prefix the first segment that no other has; "." for the top level of a file."""
    split = [prefix.split(".") if prefix else [] for prefix in prefixes]
    shown = []
    for mine in split:
        others = {segment for other in split if other is not mine for segment in other}
        shown.append(next((segment for segment in mine if segment not in others), ".".join(mine) or "."))
    return shown
