"""The parts of a study file: strict, frozen models of the recipe, the split, the weights and the resources."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from transferscope.data import Target
from transferscope.errors import UserError
from transferscope.tasks import optimisers

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Strict and frozen: an unknown key or a wrong type is an error, never a guess."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


def _number(value: Any) -> Any:
    """Whole numbers are fine where a decimal is expected; `1e-4`, which YAML reads as text, is a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Real = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]


class Split(Part):
    """How a source without its own splits is divided; seeded and stratified, groups kept whole."""

    val: Share = 0.15
    test: Share = 0.2
    seed: int = 0


class Augment(Part):
    """Training augmentation: random resized crop (share of the area, aspect ratio) and horizontal flip."""

    scale: tuple[Real, Real] = (0.35, 1.0)
    ratio: tuple[Real, Real] = (0.75, 4 / 3)
    flip: bool = True
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return (
            {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()} if isinstance(value, dict) else value
        )


def as_tuple(value: Any) -> Any:
    """A list of YAML as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _rates(value: Any) -> Any:
    """lr as one number, a list to search on val, or either per arm."""
    if isinstance(value, Mapping):
        return {str(arm): _rates(one) for arm, one in value.items()}
    if isinstance(value, list):
        return tuple(_number(one) for one in value)
    return _number(value)


def _rates_checked(value: Any) -> Any:
    for one in value.values() if isinstance(value, dict) else [value]:
        for lr in one if isinstance(one, tuple) else [one]:
            if not isinstance(lr, float) or not 0 < lr < float("inf"):
                raise ValueError("a learning rate is a number above 0, a list of them, or a mapping from arm to either")
    return value


def _watched(value: Any) -> Any:
    if value != "all" and (not isinstance(value, int) or value < 16):
        raise ValueError("a number of images, 16 or more, or 'all'")
    return value


class Recipe(Part):
    """All of training that can change a number. `lr`: one number, a list searched on val, or either per arm."""

    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=2)] = 64
    lr: Annotated[Any, BeforeValidator(_rates), AfterValidator(_rates_checked)] = {"pretrained": 0.01, "random": 0.05}
    optimizer: str = optimisers.USUAL  # sgd, adamw, or your own module
    momentum: Annotated[Real, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[Real, Field(ge=0)] = 1e-4
    schedule: Literal["cosine", "multistep", "constant"] = "cosine"
    milestones: Annotated[tuple[Real, ...], BeforeValidator(as_tuple)] = (0.3, 0.6, 0.9)  # shares of all epochs
    gamma: Real = 0.1
    warmup: Annotated[Real, Field(ge=0)] = 1.0  # epochs of linear warmup
    mixup: Annotated[Real, Field(ge=0)] = 0.0  # alpha of Beta(alpha, alpha); 0 is off
    label_smoothing: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    augment: Augment | None = Augment()
    table_size: Annotated[int, Field(ge=8)] | None = None  # side of the decoded images crops are cut from
    crop: Annotated[Real, Field(gt=0, le=1)] = 1.0  # centre share of the image that evaluation sees
    interpolation: Literal["auto", "bilinear", "bicubic"] = "auto"  # of the decoded table; auto: as for the weights
    evaluate: Annotated[int | Literal["all"], BeforeValidator(_watched)] = 256  # images of a split, every epoch
    precision: Literal["float32", "bfloat16", "auto"] = "auto"  # auto: bfloat16 where hardware has it

    def check_optimiser(self, where: str) -> None:
        """UserError where there is no such optimiser, it pays no heed to a field that is set, or is given no rates.

        `where` is the key of the recipe in the study file.
        """
        name = self.optimizer
        try:
            optimisers.check(name)
        except UserError as error:
            raise UserError(f"{where}.optimizer: {error}") from None
        for field in optimisers.unused(name):
            usual = type(self).model_fields[field].default
            if getattr(self, field) != usual:
                said = str(usual).lower()  # as YAML writes it
                raise UserError(f"{where}.{field}: '{name}' pays no heed to it; remove it, or leave it at {said}.")
        if name != optimisers.USUAL and "lr" not in self.model_fields_set:
            raise UserError(
                f"{where}.lr: the rates that go without saying are those of {optimisers.USUAL}; give '{name}' its own."
            )

    def rates(self, arm: str) -> tuple[float, ...]:
        """The learning rates to try for an arm; a control arm without its own follows its parent."""
        if not isinstance(self.lr, dict):
            return self.lr if isinstance(self.lr, tuple) else (self.lr,)
        parent = "pretrained" if arm.startswith("transfuse") else "random"
        for name in (arm, arm.partition(":")[0], parent):
            if name in self.lr:
                found = self.lr[name]
                return found if isinstance(found, tuple) else (found,)
        raise UserError(f"recipe.lr has no rate for the arm '{arm}': add '{arm}: 0.01' under recipe.lr.")


def _series(value: Any) -> Any:
    return (value,) if isinstance(value, str) else as_tuple(value)


def _labellings(value: Any) -> Any:
    """`true` (which YAML reads as a truth value), `random`, or a list of both."""
    listed = value if isinstance(value, list | tuple) else [value]
    return tuple("true" if one is True else one for one in listed)


class Pretrained(Part):
    """Where the pretrained weights come from: exactly one of `weights`, `series` and `source`."""

    weights: str | None = None  # package:efficientnet-lite0, timm, file:PATH
    series: Annotated[tuple[str, ...] | None, BeforeValidator(_series)] = None  # a pattern or paths, in natural order
    source: Target | None = None  # images to pretrain on, here and now
    recipe: dict[str, Any] = {}  # of the pretraining: what differs from the study's recipe
    labels: Annotated[tuple[Literal["true", "random"], ...], BeforeValidator(_labellings), Field(min_length=1)] = (
        "true",
    )
    checkpoints: Literal["log", "all"] = "log"  # saved: log-spaced and both sides of every drop of lr, or every epoch
    seed: int = 0
    min_share: Share = 0.9  # refuse weights that fill less of the body's parameters than this
    allow: Annotated[tuple[str, ...], BeforeValidator(_series)] = ()  # a stem, statistics, embedding may stay unfilled

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [name for name in ("weights", "series", "source") if getattr(self, name) is not None]
        if len(given) != 1:
            has = " and ".join(given) or "none of them"
            raise ValueError(f"exactly one of weights, series and source says where they come from (it has {has})")
        own = ("checkpoints", "labels", "recipe", "seed")
        off = [name for name in own if getattr(self, name) != type(self).model_fields[name].default]
        if self.source is None and off:
            raise ValueError(f"{off[0]} describes a pretraining done here: it goes with source, not with {given[0]}")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels are listed twice")
        return self

    @property
    def told(self) -> str:
        """The origin in words, for a sentence: "the weights timm", "pretraining on fractals:50"."""
        if self.source is not None:
            return f"pretraining on {self.source.ref}"
        return f"the weights {self.weights}" if self.weights else f"the checkpoints {', '.join(self.series or ())}"


class Resources(Part):
    """Where and how fast things run. Never part of an identity."""

    slots: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    table: Literal["auto", "mapped", "streamed"] = "auto"
    store: str = "store"  # relative to the study file
    compile: bool = False
    executor: str = "local"  # who does the steps: local (worker processes), inline (this process), or your own module


def _seeds(value: Any) -> Any:
    """A count means the first so many seeds."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("a count of seeds is at least 1")
        return tuple(range(value))
    return tuple(value) if isinstance(value, list) else value


def _named(value: Any) -> Any:
    """`[openmoji:color]` or `openmoji:color` is short for a mapping from name to reference."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return {ref: ref for ref in value}
    return value


def _options(value: Any) -> Any:
    """`[transfer]` is short for `{transfer: {}}`; so is `transfer:` with nothing after it."""
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return {name: {} for name in value}
    if isinstance(value, Mapping):
        return {name: {} if options is None else options for name, options in value.items()}
    return value


def _weights(value: Any) -> Any:
    return {"weights": value} if isinstance(value, str) else value


Seeds = Annotated[tuple[int, ...], BeforeValidator(_seeds), Field(min_length=1)]
Arms = Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
Targets = Annotated[dict[str, Target], BeforeValidator(_named), Field(min_length=1)]
Chosen = Annotated[dict[str, dict[str, Any]], BeforeValidator(_options), Field(min_length=1)]
Origin = Annotated[Pretrained | None, BeforeValidator(_weights)]
