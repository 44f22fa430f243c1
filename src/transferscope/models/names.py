"""Finding a network's body in a file: under which prefix, through which wrappers, by which of its other names.

A file's names are looked up by their endings in an index of the body's names, so the work grows with the number of
names, not with the number of prefixes that could be tried.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.effective import put_together

# What torch.compile, DDP, FSDP, activation checkpointing, Lightning and Opacus put into names, anywhere.
WRAPPERS = frozenset(
    {
        "module",
        "_module",
        "_orig_mod",
        "_forward_module",
        "_fpw_module",
        "_fsdp_wrapped_module",
        "_checkpoint_wrapped_module",
    }
)
NEAR = 0.9  # of the best's share, and half of the body: another place of the file that holds as much is a rival
# Names that libraries once gave their layers, as their own loaders know them: of today's name, the older one.
OLDER = (
    ("DenseNet's names before 2018, norm.1 for norm1", r"(denselayer\d+\.(?:norm|relu|conv))([12])\.", r"\1.\2."),
    ("torchvision's older names, mlp.linear_1 for mlp.0", r"\bmlp\.(0|3)\.", None),
)


@dataclass(frozen=True)
class Choice:
    """Where a body was found in a file.

    `given`: its tensors, of whatever shape, by the network's names; `names`: theirs in the file; `under`: the prefix
    that came off; `rule`: a sentence's part on other names ("" for the same); `also`: other prefixes with the same
    values; `made`: how those tensors came about that the file keeps in parts; `others`: what is under the prefix
    besides, by name.
    """

    given: dict[str, Tensor]
    names: dict[str, str]
    under: str
    rule: str
    also: tuple[str, ...]
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
    whole: Mapping[str, Tensor] = getattr(state, "whole", state)
    made, how = put_together(whole)
    tensors = {**whole, **made}
    best: tuple[float, str, dict[str, dict[str, str]]] = (-1.0, "", {})
    for rule, index, exact in _indices(like, net):
        groups = _asked(found(tensors, index), getattr(state, "fragment", ""))
        score = max((_score(group, tensors, like) for group in groups.values()), default=0.0)
        complete = any(_complete(group, tensors, like) for group in groups.values())
        if score > best[0] and (complete or not exact):
            best = (score, rule, groups)
        if complete:
            break
    score, rule, groups = best
    ranked = sorted(groups, key=lambda prefix: -_score(groups[prefix], tensors, like))
    if not ranked:
        return Choice({}, {}, "", "", (), {}, dict(state))
    under, names = ranked[0], groups[ranked[0]]
    enough = max(NEAR * score, 0.5 * sum(tensor.numel() for tensor in like.values()))
    near = [under, *(p for p in ranked[1:] if _score(groups[p], tensors, like) >= enough)]
    rivals = [p for p in near[1:] if not _same(groups[p], names, tensors)]
    if rivals:
        _ask(state, [under, *rivals])
    nest = getattr(state, "nest", "")
    if score and not f"{under}.".startswith(nest):
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
        made={body: how[name] for body, name in names.items() if name in how},
        others=others,
    )


def found(names: Iterable[str], index: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """By prefix: which of `names` end, wrappers left out, in a key of `index`, as {its value: the name}.

    One look-up for each segment a name has, at most as many as the longest key has.
    """
    depth = max((key.count(".") + 1 for key in index), default=0)
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        segments = name.split(".")
        kept = [place for place, segment in enumerate(segments) if segment not in WRAPPERS]
        for first in range(max(0, len(kept) - depth), len(kept)):
            body = index.get(".".join(segments[place] for place in kept[first:]))
            if body is not None:
                groups.setdefault(".".join(segments[: kept[first]]), {}).setdefault(body, name)
    return groups


def _indices(like: Mapping[str, Tensor], net: nn.Module) -> Iterator[tuple[str, dict[str, str], bool]]:
    """(what is said of it, other names of the body to its own, whether only a complete match counts)."""
    plain = {_bare(name): name for name in like}
    if len(plain) < len(like):  # the network itself tells layers apart by a wrapper's name
        plain = {name: name for name in like}
    yield "", plain, False
    for rule, pattern, older in OLDER:
        said = {re.sub(pattern, older or _linear, name): body for name, body in plain.items()}
        if said.keys() != plain.keys():
            yield f"by {rule}", said, False
    lead = _lead(plain)
    if lead:
        yield f"without the network's own '{lead}'", {n[len(lead) + 1 :]: body for n, body in plain.items()}, False
    root = net.get_submodule(lead) if lead and _is_module(net, lead) else net
    places = {child: str(place) for place, (child, _) in enumerate(root.named_children())}
    inner = {name[len(lead) + 1 :] if root is not net else name: body for name, body in plain.items()}
    if all(name.partition(".")[0] in places for name in inner):
        numbered = {places[child] + dot + rest: b for n, b in inner.items() for child, dot, rest in [n.partition(".")]}
        yield "by the numbers of the network's children, as in Sequential(*children)", numbered, True


def _bare(name: str) -> str:
    return ".".join(segment for segment in name.split(".") if segment not in WRAPPERS)


def _linear(match: re.Match[str]) -> str:
    return f"mlp.linear_{1 if match[1] == '0' else 2}."


def _lead(names: Iterable[str]) -> str:
    """The segments that all names begin with, where what follows still tells layers apart."""
    split = [name.split(".") for name in names]
    lead: list[str] = []
    for segments in zip(*split, strict=False):
        if len(set(segments)) > 1:
            break
        lead.append(segments[0])
    return ".".join(lead) if lead and any(len(segments) > len(lead) + 1 for segments in split) else ""


def _is_module(net: nn.Module, name: str) -> bool:
    return any(name == other for other, _ in net.named_modules())


def _asked(groups: dict[str, dict[str, str]], fragment: str) -> dict[str, dict[str, str]]:
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
    """Raise the question which of several places is meant, each by the shortest part of its prefix that tells it."""
    split = [prefix.split(".") if prefix else [] for prefix in prefixes]
    shown = []
    for mine in split:
        others = {segment for other in split if other is not mine for segment in other}
        shown.append(next((segment for segment in mine if segment not in others), ".".join(mine) or "."))
    file = getattr(state, "file", "") or "PATH"
    raise UserError(
        f"weights: this network is in the file {len(prefixes)} times with different values; say which is meant by "
        f"'file:{file}#{shown[0]}', or #{', #'.join(shown[1:])}."
    )
