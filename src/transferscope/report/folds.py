"""Everything below the first screen, folded by the question it answers, in a reader's order."""

from collections.abc import Mapping, Sequence
from typing import Any

FOLDS = {
    "helped": ("Did it help?", ("transfer", "labels", "mistakes")),
    "why": ("Why?", ("reuse", "shuffle", "similarity", "spectrum")),
    "where": ("Where in the network?", ("distance", "rewind", "criticality", "barrier", "basin", "spawn")),
    "choose": ("Can I freeze, average, choose?", ("tuning", "average", "choose", "checkpoint", "crossdomain")),
    "published": ("Beside published numbers", ("published",)),
    "further": ("Further analyses", ()),
}
DATA = ("images",)  # opens the last fold, before where the numbers come from


def folds(sections: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The folds that hold a section, each with the sections of its analyses in the order given here; analyses of
    anyone's own are further ones. The sections of `DATA` are left to the fold of the data."""
    placed = {kind for _, kinds in FOLDS.values() for kind in kinds} | set(DATA)
    found = []
    for name, (asks, kinds) in FOLDS.items():
        own = [section for kind in kinds for section in sections if section["kind"] == kind]
        own += [section for section in sections if section["kind"] not in placed] if name == "further" else []
        if own:
            found.append({"id": f"fold-{name}", "asks": asks, "sections": own, "holds": _holds(own)})
    return found


def of_data(sections: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The sections of the last fold."""
    return [section for section in sections if section["kind"] in DATA]


def _holds(sections: Sequence[Mapping[str, Any]]) -> str:
    """What a fold holds, in words."""
    findings = sum(len(section["findings"]) for section in sections)
    return f"{', '.join(section['title'] for section in sections)} · {findings} finding{'s' if findings != 1 else ''}"
