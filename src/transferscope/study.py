"""The study: the YAML file as strict, frozen models, and the steps it stands for."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from transferscope import data, models
from transferscope.engine.machine import this_machine
from transferscope.engine.step import Outside, Step
from transferscope.errors import UserError, did_you_mean
from transferscope.pairs import Pair, pairs
from transferscope.streams import stream_seed
from transferscope.tasks.calibrate import chosen_precision
from transferscope.tasks.pace import Question

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
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


class Pretrained(_Part):
    """Where the pretrained weights come from: ``package:efficientnet-lite0``, ``timm``, ``file:PATH``."""

    weights: str
    min_share: Share = 0.9  # refuse weights that fill less of the body's parameters than this


class Split(_Part):
    """How a source without its own splits is divided; seeded and stratified, groups kept whole."""

    val: Share = 0.15
    test: Share = 0.2
    seed: int = 0


class Augment(_Part):
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


def _milestones(value: Any) -> Any:
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


class Recipe(_Part):
    """All of training that can change a number. `lr`: one number, a list searched on val, or either per arm."""

    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=2)] = 64
    lr: Annotated[Any, BeforeValidator(_rates), AfterValidator(_rates_checked)] = {"pretrained": 0.01, "random": 0.05}
    momentum: Annotated[Real, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[Real, Field(ge=0)] = 1e-4
    schedule: Literal["cosine", "multistep", "constant"] = "cosine"
    milestones: Annotated[tuple[Real, ...], BeforeValidator(_milestones)] = (0.3, 0.6, 0.9)  # shares of all epochs
    gamma: Real = 0.1
    warmup: Annotated[Real, Field(ge=0)] = 1.0  # epochs of linear warmup
    mixup: Annotated[Real, Field(ge=0)] = 0.0  # alpha of Beta(alpha, alpha); 0 is off
    label_smoothing: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    augment: Augment | None = Augment()
    table_size: Annotated[int, Field(ge=8)] | None = None  # side of the decoded images crops are cut from
    crop: Annotated[Real, Field(gt=0, le=1)] = 1.0  # centre share of the image that evaluation sees
    interpolation: Literal["auto", "bilinear", "bicubic"] = "auto"  # of the decoded table; auto: as for the weights
    precision: Literal["float32", "bfloat16", "auto"] = "float32"  # auto: bfloat16 where it is clearly faster

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


class Resources(_Part):
    """Where and how fast things run. Never part of an identity."""

    slots: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    table: Literal["auto", "mapped", "streamed"] = "auto"
    store: str = "store"  # relative to the study file
    compile: bool = False


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


class Study(_Part):
    """One study: targets x arms x seeds, a recipe, and the analyses to run on them."""

    name: str = "study"
    targets: Annotated[dict[str, str], BeforeValidator(_named), Field(min_length=1)]
    image_size: Annotated[int, Field(ge=8)] = 64
    network: str
    pretrained: Annotated[Pretrained | None, BeforeValidator(_weights)] = None
    arms: Annotated[tuple[str, ...], BeforeValidator(_milestones), Field(min_length=1)] = ("random", "pretrained")
    seeds: Annotated[tuple[int, ...], BeforeValidator(_seeds), Field(min_length=1)] = (0, 1)
    head: Literal["shared", "per-seed"] = "shared"
    split: Split = Split()
    recipe: Recipe = Recipe()
    analyses: Annotated[dict[str, dict[str, Any]], BeforeValidator(_options), Field(min_length=1)] = {"transfer": {}}
    resources: Resources = Resources()
    folder: Path = Field(default=Path(), exclude=True)  # where the file lies; relative paths start there
    _tables: dict[str, Step] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, ref in self.targets.items():
            _checked(f"targets.{name}", lambda ref: data.check_ref(data.absolute(ref, self.folder)), ref)
        _checked("network", models.check_network_ref, self.network)
        for arm in self.arms:
            _checked("arms", models.check_arm, arm)
            if arm != "random" and self.pretrained is None:
                raise ValueError(f"arms: '{arm}' needs weights to start from: add 'pretrained: ...'")
            _checked("recipe.lr", self.recipe.rates, arm)
        for arm in self.recipe.lr if isinstance(self.recipe.lr, dict) else ():
            if arm != "transfuse":
                _checked("recipe.lr", models.check_arm, arm)
        if self.pretrained is not None:
            _checked("pretrained.weights", self._check_weights, self.pretrained.weights)
        for field, values in (("arms", self.arms), ("seeds", self.seeds)):
            if twice := sorted({str(v) for v in values if values.count(v) > 1}):
                raise ValueError(f"{field}: {', '.join(twice)} is listed twice")
        if self.split.val <= 0 or self.split.val + self.split.test >= 1:
            raise ValueError("split: val must be above 0, and val + test below 1")
        if self.recipe.table_size is not None and self.recipe.table_size < self.image_size:
            raise ValueError(f"recipe.table_size: must be at least image_size ({self.image_size})")
        return self

    def _check_weights(self, ref: str) -> None:
        models.check_weights_ref(models.absolute_weights(ref, self.folder), self.network)

    @classmethod
    def load(cls, path: Path | str, changes: Mapping[str, str] | None = None) -> "Study":
        """Read a study file; `changes` are ``{"recipe.epochs": "3"}``, as by ``--set``. UserError in one sentence."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"There is no study file {path}; 'transferscope init FOLDER' writes one.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"The study file {path} cannot be read: {error}.") from None
        try:
            raw = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f" line {mark.line + 1}" if mark else ""
            raise UserError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', None) or error}).") from None
        if not isinstance(raw, dict):
            raise UserError(f"{path}: a study is a mapping of keys such as 'targets:' and 'network:'.")
        for key, value in (changes or {}).items():
            _set(raw, key, value)
        raw.pop("folder", None)
        return cls.parse(raw, where=str(path), folder=path.parent)

    @classmethod
    def parse(cls, raw: Mapping[str, Any], *, where: str = "study", folder: Path = Path()) -> "Study":
        """A study from plain values. UserError in one sentence."""
        try:
            return cls.model_validate({"name": folder.resolve().name or "study", **raw, "folder": folder})
        except ValidationError as error:
            raise UserError(explain(error, cls, where)) from None

    def resolved(self) -> str:
        """The study as YAML with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)

    @property
    def store_folder(self) -> Path:
        return self.folder / Path(self.resources.store).expanduser()

    @property
    def memo(self) -> Path:
        """Where facts about outside files are remembered (content hashes by path, size and date)."""
        return self.store_folder / "memo"

    # -- the steps -----------------------------------------------------------------------------------------------

    def data(self, target: str) -> Step:
        """The step that decodes a target once into a table."""
        if target not in self._tables:
            self._tables[target] = self._data(target)
        return self._tables[target]

    def _data(self, target: str) -> Step:
        from transferscope.tasks.ingest import ingest

        ref = data.absolute(self.targets[target], self.folder)
        size, recipe = self.image_size, self.recipe
        table = size if recipe.augment is None else recipe.table_size or round(1.5 * size)
        how = self.preprocessing()
        return ingest.step(
            source=Outside(ref, _cached(data.source_fingerprint, ref, self.memo)),
            train_size=table,
            eval_size=size,
            interpolation=how["interpolation"] if recipe.interpolation == "auto" else recipe.interpolation,
            crop=recipe.crop,
            val=self.split.val,
            test=self.split.test,
            split_seed=self.split.seed,
        )

    def run(self, target: str, arm: str, seed: int, **changes: Any) -> Step:
        """The training run of one arm and seed; `changes` replace recipe fields. A list of rates is searched first."""
        from transferscope.tasks.choose import choose_lr

        rates = self.recipe.rates(arm)
        if "lr" in changes or len(rates) == 1:
            return self._train(target, arm, seed, **{"lr": rates[0], **changes})
        trials = [[lr, self._train(target, arm, SEARCH_SEED, **{**changes, "lr": lr})] for lr in rates]
        return self._train(target, arm, seed, **{**changes, "lr": choose_lr.step(trials=trials)})

    def _train(self, target: str, arm: str, seed: int, **changes: Any) -> Step:
        from transferscope.tasks.train import train

        recipe = self.recipe.model_dump(mode="json", exclude={"table_size", "crop", "interpolation"}) | changes
        if recipe["precision"] == "auto":
            recipe["precision"] = self.precision()
        how = self.preprocessing()
        weights = None
        if arm != "random" and self.pretrained is not None:
            ref = models.absolute_weights(self.pretrained.weights, self.folder)
            weights = Outside(ref, _cached(models.weights_fingerprint, ref, self.network, self.memo))
        return train.step(
            data=self.data(target),
            network=self.network,
            arm=arm,
            weights=weights,
            min_share=self.pretrained.min_share if weights and self.pretrained else None,
            seed=seed,
            head_seed=stream_seed(0, "head") % 2**31 if self.head == "shared" else seed,
            mean=how["mean"],
            std=how["std"],
            **recipe,
        )

    def pairs(self, target: str) -> Iterator[Pair]:
        """The pairs of weights that analyses compare (see `pairs.pairs`)."""
        return pairs(self, target)

    def precision(self) -> str:
        """What training computes in; 'auto' is decided by timing the network once, then remembered in the store."""
        if self.recipe.precision != "auto":
            return self.recipe.precision
        return str(_cached(chosen_precision, self.question(), self.memo))

    def question(self) -> Question:
        """What a calibration of this study times."""

        device = "cuda" if self.resources.device != "cpu" and this_machine().gpus else "cpu"
        return Question(self.network, self.image_size, self.recipe.batch_size, device)

    def preprocessing(self) -> dict[str, Any]:
        """Mean, std and interpolation the pretrained weights expect; every arm is fed the same way."""
        if self.pretrained is None:
            return dict(models.PLAIN_PREPROCESSING)
        ref = models.absolute_weights(self.pretrained.weights, self.folder)
        return dict(_cached(models.describe_weights, ref, self.network, self.memo))


SEARCH_SEED = 1_000_003  # lr search has a seed of its own, so that no reported run took part in choosing its rate

_known: dict[tuple[Any, ...], Any] = {}


def _cached(function: Any, *arguments: Any) -> Any:
    """Ask about an outside thing once a process: a plan of 3,000 steps must not stat its files 3,000 times."""
    key = (function.__qualname__, *arguments)
    if key not in _known:
        _known[key] = function(*arguments)
    return _known[key]


def forget(study: Study | None = None) -> None:
    """Look at outside files afresh; called at the start of every plan."""
    _known.clear()
    if study is not None:
        study._tables.clear()


def _checked(where: str, check: Any, *arguments: Any) -> None:
    try:
        check(*arguments)
    except UserError as error:
        raise ValueError(f"{where}: {error}") from None


def _set(raw: dict[str, Any], key: str, value: str) -> None:
    """``recipe.epochs=3``: the value is read as YAML."""
    *parents, last = key.split(".")
    place: Any = raw
    for name in parents:
        if not isinstance(place.get(name), dict):
            place[name] = {} if place.get(name) is None else place[name]
        place = place[name]
        if not isinstance(place, dict):
            raise UserError(f"--set {key}: '{name}' is not a mapping in the study file.")
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {key}={value}: the value is not valid YAML.") from None


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """The first mistake of a validation error as one sentence with the key's path."""
    first = error.errors()[0]
    path = [str(p) for p in first["loc"] if not str(p).startswith(("function-", "literal[", "constrained-", "tuple["))]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key '{key}'; {did_you_mean(path[-1], _fields(model, path[:-1]))}"
    if first["type"] == "missing":
        return f"{where}: the key '{key}' is missing."
    message = first["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list").rstrip(".")
    if not key:
        return f"{where}: {message}{'' if message.endswith('?') else '.'}"
    given = repr(first["input"])
    return f"{where}: {key}: {message[0].lower() + message[1:]} (it is {given[:60]})."


def _fields(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys known at a path of nested models."""
    here: Any = model
    for name in path:
        field = here.model_fields.get(name) if isinstance(here, type) and issubclass(here, BaseModel) else None
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        here = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if here is None:
            return []
    return [name for name in here.model_fields if name != "folder"]
