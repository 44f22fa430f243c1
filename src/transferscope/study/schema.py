"""The parts of a study file: strict, frozen models of the recipe, the split, the weights and the resources.

It is long because the help of every key stands beneath it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from transferscope.data import Target
from transferscope.errors import UserError
from transferscope.tasks import optimisers

Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Strict and frozen: an unknown key or a wrong type is an error, never a guess."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, use_attribute_docstrings=True
    )


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
    """Share of the undivided images that validate, above 0; a source's own val split is kept instead."""
    test: Share = 0.2
    """Share of the undivided images that test; a source's own test split is kept instead."""
    seed: int = 0
    """Seed of the drawing."""


class Augment(Part):
    """Training augmentation: random resized crop and horizontal flip."""

    scale: tuple[Real, Real] = (0.35, 1.0)
    """Least and largest share of the image's area that a crop covers."""
    ratio: tuple[Real, Real] = (0.75, 4 / 3)
    """Least and largest aspect ratio of a crop, width over height."""
    flip: bool = True
    """Whether a crop is mirrored left to right with a chance of one half."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How a crop is resized to `image_size`."""

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


# Texts in an annotation are what may be written, in words for the pages, where the type does not say it.
Rates = Annotated[
    Any,
    BeforeValidator(_rates),
    AfterValidator(_rates_checked),
    "number > 0",
    "list of them",
    "mapping from arm to either",
]
Watched = Annotated[int | Literal["all"], BeforeValidator(_watched), "whole number ≥ 16", "`all`"]


class Recipe(Part):
    """All of training that can change a number."""

    epochs: Annotated[int, Field(ge=1)] = 20
    """How often training goes through the training images."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images of a step of training; a last image by itself joins the batch before."""
    lr: Rates = {"pretrained": 0.01, "random": 0.05}
    """The learning rate: a number, a list to search on val (with a seed of its own), or either per arm, where `stats`
    and `permuted` follow `random`, and `transfuse` follows `pretrained`."""
    optimizer: str = optimisers.USUAL
    """What takes the steps: `sgd`, `adamw` (whose rates are ten to a hundred times lower), or your own module by its
    dotted name."""
    momentum: Annotated[Real, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Whether the momentum is Nesterov's."""
    weight_decay: Annotated[Real, Field(ge=0)] = 1e-4
    """Weight decay of every parameter: SGD adds it to the gradient, AdamW takes it off the weight, times the rate."""
    schedule: Literal["cosine", "multistep", "constant"] = "cosine"
    """The learning rate after the warmup: `cosine` falls to 0, `multistep` drops at `milestones`, `constant` stays."""
    milestones: Annotated[tuple[Real, ...], BeforeValidator(as_tuple)] = (0.3, 0.6, 0.9)
    """Where `multistep` drops the learning rate, as shares of all epochs."""
    gamma: Real = 0.1
    """What each drop of `multistep` multiplies the learning rate by."""
    warmup: Annotated[Real, Field(ge=0)] = 1.0
    """Epochs in which the learning rate rises linearly; 0 for none."""
    mixup: Annotated[Real, Field(ge=0)] = 0.0
    """Alpha of mixup's Beta(alpha, alpha), one weight drawn a batch; 0 turns it off."""
    label_smoothing: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    """Share of a label that is spread over all classes; not for several labels an image."""
    augment: Augment | None = Augment()
    """Random resized crop and flip of the training images; null turns it off."""
    table_size: Annotated[int, Field(ge=8)] | None = None
    """Side in pixels of the decoded images that crops are cut from; null for 1.5 x `image_size`."""
    crop: Annotated[Real, Field(gt=0, le=1)] = 1.0
    """Share of the image's side, around its centre, that evaluation sees (0.875 for the usual 224 of 256)."""
    interpolation: Literal["auto", "bilinear", "bicubic"] = "auto"
    """How images are resized when they are decoded; `auto` is what the weights were trained with."""
    evaluate: Watched = 256
    """Images of each split looked at after every epoch, for the curves and the best epoch, or `all` of them."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """What numbers the network computes in; `auto` is bfloat16 where the processor or GPU has it in hardware, else
    float32."""

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

    weights: str | None = None
    """`timm` (the hub weights of that timm network), `package:efficientnet-lite0`, or `file:PATH`, of which
    `file:PATH#teacher` takes a part."""
    series: Annotated[tuple[str, ...] | None, BeforeValidator(_series), "text", "list of texts", "`null`"] = None
    """The checkpoints of one training, in natural order by the last number of the name: a pattern such as
    `checkpoints/epoch_*.safetensors`, or a list of files; the last one is where the arm `pretrained` starts."""
    source: Annotated[Target | None, "mapping", "reference", "`null`"] = None
    """Images, given like a target (also `fractals:50`), on which the study first trains the network itself."""
    recipe: dict[str, Any] = {}
    """With `source`: what its training changes of the study's recipe."""
    labels: Annotated[tuple[Literal["true", "random"], ...], BeforeValidator(_labellings), Field(min_length=1)] = (
        "true",
    )
    """With `source`: what it learns; `random` labels are the control, and the arm `pretrained` starts from the first
    listed."""
    checkpoints: Literal["log", "all"] = "log"
    """With `source`: the epochs to keep, `all` or by `log`: 0, 1, 2, 4, 8, ..., both sides of every drop of the
    learning rate, and the last."""
    seed: int = 0
    """With `source`: the seed of its training."""
    min_share: Share = 0.9
    """Weights that fill less than this share of the body's parameters are refused."""
    allow: Annotated[tuple[str, ...], BeforeValidator(_series), "text", "list of texts"] = ()
    """Names or patterns (`"*running_mean"`) of tensors that the weights need not fill though a network hardly does
    without them: the first layer, running statistics, embeddings."""

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
    """Where and how fast things run; never part of an identity."""

    slots: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Workers at once; `auto`: on GPUs as many a GPU as pay (measured once, remembered in the store, one if that
    fails), else one a core as far as memory reaches."""
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Threads of each worker; `auto` is cores / slots."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What trains; `auto` is a GPU where there is one."""
    table: Literal["auto", "mapped", "streamed"] = "auto"
    """Decoded images are kept on disk (`mapped`) or decoded on the fly (`streamed`); `auto` streams where the disk is
    small."""
    store: str = "store"
    """The folder of results, relative to the study file; studies may share one."""
    compile: bool = False
    """Whether torch.compile is used, which pays in long runs."""
    executor: str = "local"
    """Who does the steps: `local` (worker processes), `inline` (one after the other in this process, for debuggers and
    notebooks), or the dotted path of your own module."""


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


Seeds = Annotated[
    tuple[int, ...], BeforeValidator(_seeds), Field(min_length=1), "whole number ≥ 1", "list of whole numbers"
]
Arms = Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
Targets = Annotated[
    dict[str, Target],
    BeforeValidator(_named),
    Field(min_length=1),
    "mapping from name to target",
    "reference",
    "list of references",
]
Chosen = Annotated[
    dict[str, dict[str, Any]],
    BeforeValidator(_options),
    Field(min_length=1),
    "mapping from name to options",
    "list of names",
]
Origin = Annotated[Pretrained | None, BeforeValidator(_weights), "mapping", "text", "`null`"]
