"""A validation error as one sentence: the key, what is wrong, and the nearest known name."""

from typing import Any, get_origin

from pydantic import BaseModel, ValidationError

from transferscope.errors import did_you_mean

NO_KEYS = frozenset({"folder", "growing"})  # fields of a study that no file may say


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """The first mistake of a validation error as one sentence with the key's path."""
    found = error.errors()
    first = found[0]
    if first["type"] == "missing":  # for want of a key that is there, misspelt
        first = next((one for one in found if one["type"] == "extra_forbidden"), first)
    path = [str(p) for p in first["loc"] if not str(p).startswith(("function-", "literal[", "constrained-", "tuple["))]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key '{key}'; {did_you_mean(path[-1], _fields(model, path[:-1]))}"
    if first["type"] == "missing":
        return f"{where}: the key '{key}' is missing."
    message = first["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list").rstrip(".")
    if not key:
        return f"{where}: {message}{'' if message.endswith('?') else '.'}"
    return f"{where}: {key}: {message[0].lower() + message[1:]} (it is {_given(first['input'])})."


def _given(value: Any) -> str:
    """What was written, as Python writes it, if that is short."""
    try:
        return repr(value)[:60]
    except ValueError:
        return "a number of thousands of digits"


def _fields(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys known at a path of nested models."""
    here: Any = model
    names = iter(path)
    for name in names:
        field = here.model_fields.get(name) if isinstance(here, type) and issubclass(here, BaseModel) else None
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        here = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if here is None:
            return []
        if get_origin(kinds[0]) is dict:
            next(names, None)  # a name of the user's, which no model knows
    return [name for name in here.model_fields if name not in NO_KEYS]
