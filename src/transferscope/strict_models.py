"""Strict: models of what people write, where an unknown key or a wrong type is an error and never a guess."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}


class Strict(BaseModel):
    """Strict and frozen; the help of a field is the docstring beneath it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, use_attribute_docstrings=True
    )


@dataclass(frozen=True, eq=False)
class Also:
    """Of a type: a JSON schema of another form that may be written, which a validator makes a value of the type."""

    form: Mapping[str, Any]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        forms = [handler(core), dict(self.form)]
        return {"anyOf": [one for form in forms for one in (form["anyOf"] if set(form) == {"anyOf"} else [form])]}


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


NUMBER = {"type": "string", "pattern": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"}  # as `1e-4` is read
Real = Annotated[float, BeforeValidator(as_number), Field(allow_inf_nan=False), Also(NUMBER)]
