"""The recipe's augmentation: how training images are cropped, and what is done to the crops."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, SerializerFunctionWrapHandler, model_serializer, model_validator

from transferscope.strict_models import Real, Strict
from transferscope.tasks import augmentations


class Augment(Strict):
    """Training augmentation: random resized crop and horizontal flip, then what else is listed."""

    scale: tuple[Real, Real] = (0.35, 1.0)
    """Least and largest share of the image's area that a crop covers."""
    ratio: tuple[Real, Real] = (0.75, 4 / 3)
    """Least and largest aspect ratio of a crop, width over height."""
    flip: bool = True
    """Whether a crop is mirrored left to right with a chance of one half."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How a crop is resized to `image_size`."""
    then: Annotated[
        tuple[Annotated[augmentations.Entry, BeforeValidator(augmentations.settled)], ...],
        BeforeValidator(augmentations.listed),
        AfterValidator(augmentations.in_order),
        "list of names",
        "list of names with options",
    ] = ()
    """What happens to the crops next, in order: `[{rotate: {degrees: 15}}, rand_augment, cutmix]`, or your own by its
    dotted name; an image's draws are a function of seed, epoch and image alone."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for key, (least, largest), most in (("scale", self.scale, 1.0), ("ratio", self.ratio, 1000.0)):
            if not 0 < least <= largest <= most:
                raise ValueError(f"{key}: two numbers, the first not above the second, above 0 and at most {most:g}")
        return self

    @model_serializer(mode="wrap")
    def _said(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Of `then` nothing where it is empty: keys of steps are those of before there was a choice."""
        return {name: value for name, value in whole(self).items() if name != "then" or value}

    @property
    def mixing(self) -> tuple[str, ...]:
        """The names of those in `then` that blend images."""
        return tuple(name for entry in self.then for name in entry if augmentations.mixes(name))

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return (
            {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()} if isinstance(value, dict) else value
        )
