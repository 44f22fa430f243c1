"""The anatomy of a network: the names of its blocks, remembered on disk so that planning needs no torch."""

import importlib.util
from importlib import metadata
from pathlib import Path
from typing import Any

from transferscope.models.memo import remembered, remembers
from transferscope.models.networks import library, network_schemes, parted

CLASSES = 10  # width of the head of the network that is cut; it moves no block


def block_names(ref: str, memo: Path | None = None) -> tuple[str, ...]:
    """The names of `blocks.blocks` of a network, in definition order; the last is usually the head.

    The first answer builds the network (seconds). It is kept in folder `memo` until timm, torchvision or the file of
    one's own network changes; a kept answer loads no torch. UserError for a network that cannot be built.
    """
    return _known(ref, memo)[0]


def body_names(ref: str, memo: Path | None = None) -> tuple[str, ...]:
    """Those of `block_names` that hold more than the head, which never carries pretrained values."""
    names, alone, _ = _known(ref, memo)
    return tuple(name for name in names if name not in alone)


def patch_side(ref: str, memo: Path | None = None) -> int | None:
    """The side in pixels of the patches that a network cuts images into, as `habits.patch_side`; kept likewise."""
    return _known(ref, memo)[2]


def adaptable_weights(ref: str, memo: Path | None = None) -> tuple[str, ...]:
    """The names of the weights that low-rank adapters may stand on (`adapters.candidates`); remembered as the blocks
    are."""
    question = ["weights for adapters", ref, *_code(ref)]
    return tuple(remembered(memo, question, lambda: _adaptable(ref), lambda: _files(ref)))


def note(ref: str, memo: Path, found: list[Any]) -> None:
    """Remember what `cut` says of a network, found by another process, where nothing is remembered yet."""
    remembered(memo, _question(ref), lambda: found, lambda: _files(ref))


def is_known(ref: str, memo: Path) -> bool:
    """Whether the blocks of a network are told without building it."""
    return remembers(memo, _question(ref))


def _question(ref: str) -> list[str]:
    return ["blocks, wrappers opened, patches", ref, *_code(ref)]


def _known(ref: str, memo: Path | None) -> tuple[tuple[str, ...], tuple[str, ...], int | None]:
    """The names of all blocks, and of those that hold nothing but the head; the side of its patches."""
    names, alone, patch = remembered(memo, _question(ref), lambda: _cut(ref), lambda: _files(ref))
    return tuple(names), tuple(alone), patch


def _cut(ref: str) -> list[Any]:
    from transferscope.models.build import build_network

    return cut(build_network(ref, CLASSES, seed=0))


def cut(net: Any) -> list[Any]:
    """The names of all blocks of a network with `CLASSES` classes, of those that hold nothing but the head, and the
    side of its patches: JSON values."""
    from transferscope.models import usual_settings
    from transferscope.models.blocks import blocks, parameters_of
    from transferscope.models.build import head_names
    from transferscope.models.weights import belongs

    heads = head_names(net, CLASSES)
    body = [name for name in net.state_dict() if not belongs(name, heads)]
    found = blocks(net)
    alone = [block.name for block in found if not parameters_of(block, body)]
    return [[block.name for block in found], alone, usual_settings.patch_side(net)]


def _adaptable(ref: str) -> list[str]:
    from transferscope.models.adapters import candidates
    from transferscope.models.build import build_network

    return [name for name, *_ in candidates(build_network(ref, CLASSES, seed=0), CLASSES)]


def _code(ref: str) -> list[str]:
    """The versions of what, besides timm, a shipped network may be made of."""
    return [metadata.version("torchvision"), *filter(None, [library(ref)])]


def _files(ref: str) -> list[Path]:
    """The file of a network of one's own; the shipped sources are watched by their version."""
    scheme, *_ = parted(ref)
    found = None if scheme in network_schemes() else importlib.util.find_spec(scheme)
    return [Path(found.origin)] if found and found.origin else []
