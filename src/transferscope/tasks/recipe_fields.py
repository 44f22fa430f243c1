"""Fields of a recipe: what may be written in them, where its type does not say it, and what changes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from transferscope.strict_models import NUMBER, Real, as_number, as_tuple


@dataclass(frozen=True)
class Neutral:
    """Of a field of a recipe: the value at which it changes nothing, where it stays out of a step's key."""

    value: Any


def _rates(value: Any) -> Any:
    """lr as one number, a list to search on val, or either per arm."""
    if isinstance(value, Mapping):
        return {str(arm): _rates(one) for arm, one in value.items()}
    if isinstance(value, list):
        return tuple(as_number(one) for one in value)
    return as_number(value)


def _rates_checked(value: Any) -> Any:
    for one in value.values() if isinstance(value, dict) else [value]:
        for lr in one if isinstance(one, tuple) else [one]:
            if not isinstance(lr, float) or not 0 < lr < float("inf"):
                raise ValueError("a learning rate is a number above 0, a list of them, or a mapping from arm to either")
    return value


def _epochs(value: Any) -> Any:
    of = list(value.values()) if isinstance(value, Mapping) else [value]
    if not of or not all(type(one) is int and 1 <= one <= MOST_EPOCHS for one in of):
        raise ValueError(f"a whole number from 1 to {MOST_EPOCHS:,}, or one per arm")
    return {str(arm): one for arm, one in value.items()} if isinstance(value, Mapping) else value


def _scales(value: Any) -> Any:
    if isinstance(value, Mapping):
        value = {str(pattern): as_number(one) for pattern, one in value.items()}
    if value is not None and not (
        isinstance(value, dict) and value and all(isinstance(one, float) and 0 < one <= 1e6 for one in value.values())
    ):
        raise ValueError("a mapping from a pattern of names to a number above 0")
    return value


def _watched(value: Any) -> Any:
    if value != "all" and (not isinstance(value, int) or value < 16):
        raise ValueError("a number of images, 16 or more, or 'all'")
    return value


def _betas_checked(value: Any) -> Any:
    if value is not None and not all(0 <= one < 1 for one in value):
        raise ValueError("numbers from 0 up to, but not, 1")
    return value


def _lists(value: Any) -> Any:
    """Of every field a list to search, or one per arm."""
    if isinstance(value, Mapping):
        return {str(name): _lists(one) for name, one in value.items()}
    return tuple(value) if isinstance(value, list) else value


def by_arm(one: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of what may be said of all arms or by arm, given that of one."""
    return {"anyOf": [one, {"type": "object", "additionalProperties": one}]}


def searched_by_arm(fields: Iterable[str]) -> dict[str, Any]:
    """The JSON schema of `Lists` of these fields."""
    values = {"type": "array", "items": {"anyOf": [{"type": ["number", "null"]}, NUMBER]}, "minItems": 1}
    return {
        "type": "object",
        "properties": dict.fromkeys(fields, by_arm(values)),
        "additionalProperties": False,
    }


MOST_EPOCHS = 100_000
RATE = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, NUMBER]}

# Texts in an annotation are what may be written, in words for the pages, where the type does not say it.
Rates = Annotated[
    Any,
    BeforeValidator(_rates),
    AfterValidator(_rates_checked),
    WithJsonSchema(by_arm({"anyOf": [*RATE["anyOf"], {"type": "array", "items": RATE}]})),
    "number > 0",
    "list of them",
    "mapping from arm to either",
]
Epochs = Annotated[
    Any,
    AfterValidator(_epochs),
    WithJsonSchema(by_arm({"type": "integer", "minimum": 1, "maximum": MOST_EPOCHS})),
    "whole number ≥ 1",
    "mapping from arm to it",
]
Scales = Annotated[
    Any,
    AfterValidator(_scales),
    WithJsonSchema({"anyOf": [{"type": "object", "additionalProperties": RATE, "minProperties": 1}, {"type": "null"}]}),
    "mapping from pattern to number > 0",
    "`null`",
]
Lists = Annotated[dict[str, Any], BeforeValidator(_lists), "mapping from field to list, or to lists by arm"]
Betas = Annotated[tuple[Real, ...] | None, BeforeValidator(as_tuple), AfterValidator(_betas_checked)]
Watched = Annotated[
    int | Literal["all"],
    BeforeValidator(_watched),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 16}, {"const": "all"}]}),
    "whole number ≥ 16",
    "`all`",
]
