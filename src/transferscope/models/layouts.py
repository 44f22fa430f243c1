"""By which names a file may hold a network's body: through wrappers, by its layers' other names, behind any prefix.

A file's names are looked up by their endings in an index of the body's names, so the work grows with the number of
names, not with the number of prefixes that could be tried.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn

from transferscope.models.networks.transformers import saved_names

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
# Names that libraries once gave their layers, as their own loaders know them, and Fixup's authors theirs: of today's
# name, the other one.
OLDER = (
    ("DenseNet's names before 2018, norm.1 for norm1", r"(denselayer\d+\.(?:norm|relu|conv))([12])\.", r"\1.\2."),
    ("torchvision's older names, mlp.linear_1 for mlp.0", r"\bmlp\.(0|3)\.", None),
    ("the names of Fixup's own code, bias1a for bias1a.bias", r"\b(bias\d[ab]?)\.bias$", r"\1"),
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


def indices(like: Mapping[str, Tensor], net: nn.Module) -> Iterator[tuple[str, dict[str, str], bool]]:
    """(what is said of it, other names of the body to its own, whether only a complete match counts)."""
    plain = {_bare(name): name for name in like}
    if len(plain) < len(like):  # the network itself tells layers apart by a wrapper's name
        plain = {name: name for name in like}
    yield "", plain, False
    for rule, pattern, older in OLDER:
        said = {re.sub(pattern, older or _linear, name): body for name, body in plain.items()}
        if said.keys() != plain.keys():
            yield f"by {rule}", said, False
    if (saved := saved_names(net, like)).keys() - plain.keys():
        yield "by the names under which transformers saves them", saved, False
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
