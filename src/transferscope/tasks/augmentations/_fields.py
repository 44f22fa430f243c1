"""Kinds of options that several augmentations have."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from transferscope.strict_models import Real, as_tuple


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if not 0 < value[0] <= value[1]:
        raise ValueError("two numbers above 0, the first not above the second")
    return value


def _within_one(value: tuple[float, float]) -> tuple[float, float]:
    if value[1] > 1:
        raise ValueError("two shares of at most 1")
    return value


Chance = Annotated[Real, Field(ge=0, le=1)]
Grey = Annotated[Real, Field(ge=0, le=255)]
Range = Annotated[tuple[Real, Real], BeforeValidator(as_tuple), AfterValidator(_rising)]
Shares = Annotated[Range, AfterValidator(_within_one)]
Alpha = Annotated[Real, Field(gt=0, le=1000)]
