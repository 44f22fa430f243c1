"""The parts of a study file: strict, frozen models of the split, the weights and the resources.

It is long because the help of every key stands beneath it.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from transferscope import devices, models
from transferscope.data import Target
from transferscope.engine.step import Keep
from transferscope.errors import UserError
from transferscope.measures.deciding import LEAST, MOST_PLANNED
from transferscope.strict_models import TEXT, TEXTS, Also, Real, Strict, as_tuple
from transferscope.tasks import inputs

MOST_SEEDS = 10_000
LABELLING = {"enum": [True, "true", "random"]}
LABELLINGS = {"anyOf": [LABELLING, {"type": "array", "items": LABELLING, "minItems": 1}]}
LOOKS = {
    "type": "object",
    "properties": {"from": {"type": "integer", "minimum": LEAST}, "to": {"type": "integer", "maximum": MOST_PLANNED}},
    "additionalProperties": False,
}
WITH_OPTIONS = {
    "type": "object",
    "properties": {"ref": TEXT, "options": {"type": ["object", "null"]}},
    "additionalProperties": False,
}
DEVICES = rf"^(auto|cpu|({'|'.join(devices.KINDS)})(:[0-9]+)?)$"
Share = Annotated[float, Field(ge=0, le=1)]
PerChannel = Annotated[tuple[Real, ...], BeforeValidator(as_tuple), Field(min_length=1), "list of numbers"]


class Split(Strict):
    """How a source without its own splits is divided; seeded and stratified, groups kept whole."""

    val: Share = 0.15
    """Share of the undivided images that validate, above 0; a source's own val split is kept instead."""
    test: Share = 0.2
    """Share of the undivided images that test; a source's own test split is kept instead."""
    seed: int = 0
    """Seed of the drawing."""


def _series(value: Any) -> Any:
    return (value,) if isinstance(value, str) else as_tuple(value)


def _labellings(value: Any) -> Any:
    """`true` (which YAML reads as a truth value), `random`, or a list of both."""
    listed = value if isinstance(value, list | tuple) else [value]
    return tuple("true" if one is True else one for one in listed)


class Pretrained(Strict):
    """Where the pretrained weights come from: exactly one of `weights`, `series` and `source`."""

    weights: str | None = None
    """`timm` (the hub weights of that timm network), `transformers` (those in the folder of that network),
    `package:efficientnet-lite0`, `package:minilm-l6`, or `file:PATH`, of which `file:PATH#teacher` takes a part."""
    series: Annotated[
        tuple[str, ...] | None, BeforeValidator(_series), Also(TEXT), "text", "list of texts", "`null`"
    ] = None
    """The checkpoints of one training, in natural order by the last number of the name: a pattern such as
    `checkpoints/epoch_*.safetensors`, or a list of files; the last one is where the arm `pretrained` starts."""
    source: Annotated[Target | None, "mapping", "reference", "`null`"] = None
    """Images, given like a target (also `fractals:50`), on which the study first trains the network itself."""
    recipe: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    """With `source`: what its training changes of the study's recipe."""
    labels: Annotated[
        tuple[Literal["true", "random"], ...], BeforeValidator(_labellings), Field(min_length=1), Also(LABELLINGS)
    ] = ("true",)
    """With `source`: what it learns; `random` labels are the control, and the arm `pretrained` starts from the first
    listed."""
    checkpoints: Literal["log", "all"] = "log"
    """With `source`: the epochs to keep, `all` or by `log`: 0, 1, 2, 4, 8, ..., both sides of every drop of the
    learning rate, and the last."""
    seed: int = 0
    """With `source`: the seed of its training."""
    min_share: Share = 0.9
    """Weights that fill less than this share of the body's parameters are refused."""
    allow: Annotated[tuple[str, ...], BeforeValidator(_series), Also(TEXT), "text", "list of texts"] = ()
    """Names or patterns (`"*running_mean"`) of tensors that the weights need not fill though a network hardly does
    without them: the first layer, running statistics, embeddings."""
    mean: PerChannel | None = None
    """What the training of the weights took off pixels of 0 to 1, by channel (a list of one number serves all); null
    for what is known of the weights, or else of the network (`check` says it); it goes with `std`."""
    std: PerChannel | None = None
    """What that training divided them by then, above 0."""

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
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std go together, each with one number a channel")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std: what pixels are divided by must be above 0")
        if self.source is not None and self.mean is not None:
            raise ValueError("mean and std are those of weights from elsewhere: they go with weights or series")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels are listed twice")
        return self

    @property
    def in_words(self) -> str:
        """The origin in words, for a sentence: "the weights timm", "pretraining on fractals:50"."""
        if self.source is not None:
            return f"pretraining on {self.source.ref}"
        return f"the weights {self.weights}" if self.weights else f"the checkpoints {', '.join(self.series or ())}"


def _device(value: Any) -> Any:
    """`auto`, `cpu`, a kind of GPU or one of several."""
    if isinstance(value, str) and not re.fullmatch(DEVICES, value):
        raise ValueError(f"'{value}' is not 'auto', 'cpu', 'cuda', 'xpu' or 'mps', nor one of several, as 'cuda:1'")
    return value


Device = Annotated[
    str,
    BeforeValidator(_device),
    Field(json_schema_extra={"pattern": DEVICES}),
    *(f"`{name}`" for name in ("auto", "cpu", *devices.KINDS, "cuda:1")),
]


class Resources(Strict):
    """Where and how fast things run; never part of an identity."""

    slots: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    """Workers at once; `auto`: on GPUs as many a GPU as pay (measured once, remembered in the store, one if that
    fails), else one a core as far as memory reaches."""
    threads: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    """Threads of each worker; `auto` is cores / slots."""
    gpus_per_run: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = 1
    """GPUs that train one run together, each with its share of every batch (on a CPU so many processes); `auto` divides
    the GPUs of this machine among the runs that are to do, and is 1 where there are more runs than GPUs."""
    device: Device = "auto"
    """What trains; `auto` is a GPU where torch finds one: `cuda` (NVIDIA, and AMD with ROCm), `xpu` (Intel) or `mps`
    (Apple). `cuda:1` is that one of several."""
    table: Literal["auto", "mapped", "streamed"] = "auto"
    """Decoded images are kept on disk (`mapped`) or decoded on the fly (`streamed`); `auto` streams where the disk is
    small."""
    store: str = "store"
    """The folder of results, relative to the study file, or the address of a bucket (`s3://BUCKET/PREFIX`, `gs://`,
    `az://`); studies may share one."""
    keep: Keep = "all"
    """What stays of a finished study: `all`; `ends`, of a training the start, the best and the last weights, and not
    those of epochs between; `findings`, no weights, only what the page, tables and curves are made of."""
    compile: bool = False
    """Whether torch.compile is used, which pays in long runs."""
    patience: Annotated[Real, Field(ge=1)] | None = 600.0
    """Seconds for which a step may neither report nor compute before its worker is ended and it is tried once more;
    null for no limit."""
    executor: str = "local"
    """Who does the steps: `local` (worker processes), `inline` (one after the other in this process, for debuggers and
    notebooks), `ray` or `ray://HOST:10001` (all nodes of a Ray cluster), `slurm` (jobs of a batch system), or the
    dotted path of your own module."""
    slurm: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    """With `executor: slurm`: how many jobs (`workers`, 1), and what each asks sbatch for, in submitit's names:
    `partition`, `timeout_min`, `cpus_per_task`, `gpus_per_node`, `mem_gb`, `setup`, ..."""


def _seeds(value: Any) -> Any:
    """A count means the first so many seeds."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("a count of seeds is at least 1")
        if value > MOST_SEEDS:
            raise ValueError(f"a study has at most {MOST_SEEDS:,} seeds")
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


def _text(value: Any) -> Any:
    """A network with options is one text from here on."""
    try:
        return models.written(value)
    except UserError as error:
        raise ValueError(str(error).rstrip(".")) from None


Input = Annotated[
    str, BeforeValidator(inputs.written), PlainSerializer(inputs.said), "text", "mapping from it to its options"
]
Network = Annotated[
    str,
    BeforeValidator(_text),
    PlainSerializer(models.said),
    Also(WITH_OPTIONS),
    "text",
    "mapping of `ref` and `options`",
]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Seeds = Annotated[
    tuple[Seed, ...],
    BeforeValidator(_seeds),
    Field(min_length=1, max_length=MOST_SEEDS),
    Also({"type": "integer", "minimum": 1, "maximum": MOST_SEEDS}),
    "whole number ≥ 1",
    "list of whole numbers",
]
Arms = Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
Targets = Annotated[
    dict[str, Target],
    BeforeValidator(_named),
    Field(min_length=1),
    Also({"anyOf": [TEXT, {**TEXTS, "minItems": 1}]}),
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
Origin = Annotated[Pretrained | None, BeforeValidator(_weights), Also(TEXT), "mapping", "text", "`null`"]
