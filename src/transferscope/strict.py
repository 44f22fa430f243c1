"""Strict: models of what people write, where an unknown key or a wrong type is an error and never a guess."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Strict(BaseModel):
    """Strict and frozen; the help of a field is the docstring beneath it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, use_attribute_docstrings=True
    )


def as_tuple(value: Any) -> Any:
    """A list of YAML as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def as_number(value: Any) -> Any:
    """Whole numbers are fine where a decimal is expected; `1e-4`, which YAML reads as text, is a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Real = Annotated[float, BeforeValidator(as_number), Field(allow_inf_nan=False)]
