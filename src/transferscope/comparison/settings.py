"""What differs between studies: the keys of their files with every default written out, and what outside files hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transferscope.analyses import Chosen
from transferscope.comparison.sides import Side

LEFT_OUT = ("name", "resources")  # neither changes a number
NONE = "–"


@dataclass(frozen=True)
class Setting:
    """One key and its value in every study, "–" where a study has no such key."""

    key: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


def settings(sides: Sequence[Side]) -> list[Setting]:
    """Every key of the studies, in the order of a study file; the digest of what a reference names stands below it.

    What a study does not have at all (an analysis, a target) is one key.
    """
    flat = [dict(_of(side)) for side in sides]
    keys: dict[str, None] = {}
    for one in flat:
        keys |= dict.fromkeys(one)
    order = [key.partition(".")[0] for key in keys]
    ranked = sorted(keys, key=lambda key: order.index(key.partition(".")[0]))
    merged = dict.fromkeys(_shortest(key, flat) for key in ranked)
    return [Setting(key, tuple(_value(key, one) for one in flat)) for key in merged]


def _of(side: Side) -> Iterator[tuple[str, str]]:
    said = side.study.model_dump(mode="json", exclude=set(LEFT_OUT))
    precisions = sorted({str(step.params["precision"]) for step in side.steps.steps if step.task == "train"})
    if precisions:
        said["recipe"]["precision"] = " and ".join(precisions)
    if side.study.growing is not None:
        said["seeds"] = f"{len(side.study.seeds)} (added one at a time, from {side.study.growing[0]} on)"
    said["analyses"] = {name: _asked(one) for name, one in side.chosen.items() if name in side.study.analyses}
    yield from _flat(said, "")
    for key, digest in side.digests.items():
        yield f"{key} (digest)", digest


def _asked(one: Chosen) -> dict[str, Any]:
    """An analysis with every option written out."""
    kind = {} if one.kind == one.name else {"type": one.kind}
    recipe = {"recipe": dict(one.recipe)} if one.recipe else {}
    return {**kind, **recipe, **one.options.model_dump(mode="json")}


def _flat(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Nested mappings by dotted names, everything else as text; an empty mapping is itself."""
    if isinstance(value, Mapping) and value:
        for name, held in value.items():
            yield from _flat(held, f"{place}.{name}" if place else str(name))
    else:
        yield place, _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_text(held)}" for name, held in value.items()) + "}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return str(value)


def _shortest(key: str, flat: Sequence[Mapping[str, str]]) -> str:
    """The key, or of one that lies in a part that some study lacks as a whole that part."""
    parts = key.split(".")
    for count in range(2, len(parts)):
        part = ".".join(parts[:count])
        if any(not any(_inside(part, other) for other in one) for one in flat):
            return part
    return key


def _value(key: str, one: Mapping[str, str]) -> str:
    if key in one:
        return one[key]
    below = {other.removeprefix(f"{key}."): value for other, value in one.items() if other.startswith(f"{key}.")}
    return "{" + ", ".join(f"{name}: {value}" for name, value in below.items()) + "}" if below else NONE


def _inside(part: str, key: str) -> bool:
    return key == part or key.startswith(f"{part}.")
