"""Calling a factory with the options that a study gives it: what it raises names the option at fault."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from transferscope.errors import UserError, did_you_mean, reason

T = TypeVar("T")
UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")


def called(make: Callable[..., T], factory: Callable[..., Any], options: Mapping[str, Any], ref: str) -> T:
    """`make(**options)`, which hands them to `factory`, that of the network `ref`.

    Raises UserError for an option that it does not know or refuses; without options, whatever the factory raises.
    """
    if not options:
        return make()
    known = _known(factory)
    for key in options if known is not None else ():
        if key not in known:  # type: ignore[operator]
            raise UserError(f"network.options.{key}: '{ref}' takes no such option; {_hint(key, known)}")
    try:
        return make(**options)
    except UserError:
        raise
    except Exception as error:  # whatever a library or somebody's code raises
        found = UNKNOWN.search(str(error)) if isinstance(error, TypeError) else None
        if found and found[1] in options:
            raise UserError(
                f"network.options.{found[1]}: '{ref}' takes no such option (keyword argument); remove it, or correct "
                "its name."
            ) from None
        key = _at_fault(make, options)
        where, what = (f".{key}", f"{options[key]!r}") if key else ("", ", ".join(options))
        raise UserError(f"network.options{where}: '{ref}' refuses {what} ({reason(error)}).") from error


def _known(factory: Callable[..., Any]) -> list[str] | None:
    """The keyword arguments of a factory; None where it takes any, or its signature is not known."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    fixed = ("name", "classes", "num_classes")
    return [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY and p.name not in fixed]


def _hint(key: str, known: list[str] | None) -> str:
    return did_you_mean(key, known) if known else "remove it."


def _at_fault(make: Callable[..., Any], options: Mapping[str, Any]) -> str:
    """The option without which the factory is content; "" where it is no single one."""
    for key in options:
        try:
            make(**{name: value for name, value in options.items() if name != key})
        except Exception:  # as above
            continue
        return key
    return ""
