"""The recipe: every number that training goes by, each written once.

A field here is a key of the study file's `recipe`, a parameter of the task `train`, and what the loop reads.

A field that is added later is marked with `Neutral`: results made before it existed are still found. It is long because
the help of every key stands beneath it.
"""

import json
from collections.abc import Container, Mapping, Sequence
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from transferscope.answers import Kind
from transferscope.engine.step import REQUIRED
from transferscope.errors import UserError, did_you_mean
from transferscope.strict_models import Real, Strict, as_tuple
from transferscope.tasks import augmentations, optimisers
from transferscope.tasks.augment import Augment
from transferscope.tasks.recipe_fields import Betas, Epochs, Lists, Neutral, Rates, Scales, Watched, searched_by_arm
from transferscope.tasks.schedule import Schedule

SEARCHED = (
    "weight_decay",
    "layer_decay",
    "momentum",
    "label_smoothing",
    "clip_grad",
    "drop_path",
    "dropout",
    "warmup",
)
TIMED = ("optimizer", "decay_norms", "layer_decay", "clip_grad", "ema", "drop_path", "dropout")


class Training(Strict):
    """What a study says of training: all of it can change a number."""

    epochs: Epochs = 20
    """How often training goes through the training images: a number, or one per arm (`{random: 400, pretrained: 200}`),
    where speed is averaged over as many epochs as the shortest arm has."""
    batch_size: Annotated[int, Field(ge=2, le=100_000)] = 64
    """Images of a step of training; a last image by itself joins the batch before."""
    lr: Rates = {"pretrained": 0.01, "random": 0.05}  # noqa: RUF012 (pydantic copies it)
    """The learning rate: a number, a list to search on val (with a seed of its own), or either per arm, where `stats`
    and `permuted` follow `random`, and `transfuse` follows `pretrained`."""
    optimizer: Annotated[str, Neutral(optimisers.USUAL)] = optimisers.USUAL
    """What takes the steps: `sgd`, `adamw` (whose rates are ten to a hundred times lower), any of timm's by its name
    there (`lamb`, `lion`, ...), or your own module by its dotted name."""
    momentum: Annotated[Real, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD, and of those of timm's that have one."""
    nesterov: bool = False
    """Whether the momentum is Nesterov's."""
    betas: Annotated[Betas, Neutral(None)] = None
    """Decay rates of an optimiser's running means, as `[0.9, 0.999]`; null for its own."""
    eps: Annotated[Annotated[Real, Field(gt=0)] | None, Neutral(None)] = None
    """What an optimiser adds to a denominator; null for its own."""
    weight_decay: Annotated[Real, Field(ge=0)] = 1e-4
    """Weight decay of every parameter: SGD adds it to the gradient, AdamW takes it off the weight, times the rate."""
    decay_norms: Annotated[bool, Neutral(True)] = True
    """Whether parameters of norms and biases are decayed as well, as in the paper; false leaves them (and what a timm
    network names in `no_weight_decay`) out."""
    layer_decay: Annotated[Annotated[Real, Field(gt=0, le=1)], Neutral(1.0)] = 1.0
    """What the learning rate is multiplied by for every layer below the head (timm's layers, or else the blocks); 1 for
    one rate."""
    lr_scale: Annotated[Scales, Neutral(None)] = None
    """What the learning rate of parameters is multiplied by whose names fit a pattern, as `{"*bias*": 0.1}`: the first
    that fits counts, and a pattern that fits no parameter is refused."""
    schedule: Literal["cosine", "multistep", "constant", "step", "plateau", "one-cycle"] = "cosine"
    """The learning rate after the warmup: `cosine` falls to 0, `multistep` drops at `milestones`, `step` every
    `step_size` epochs, `plateau` when val has not improved for `patience` epochs, `constant` stays; `one-cycle` rises
    from a 25th in 30% of the epochs, without `warmup`, and falls to nearly 0."""
    milestones: Annotated[tuple[Annotated[Real, Field(gt=0, le=1)], ...], BeforeValidator(as_tuple)] = (0.3, 0.6, 0.9)
    """Where `multistep` drops the learning rate, as shares of all epochs."""
    step_size: Annotated[Annotated[int, Field(ge=1)], Neutral(10)] = 10
    """Epochs between the drops of `step`."""
    patience: Annotated[Annotated[int, Field(ge=0)], Neutral(5)] = 5
    """Epochs without a better val metric that `plateau` bears; after one more it drops the learning rate."""
    gamma: Annotated[Real, Field(gt=0, le=1)] = 0.1
    """What each drop of `multistep`, `step` and `plateau` multiplies the learning rate by."""
    early_stopping: Annotated[Annotated[int, Field(ge=1)] | None, Neutral(None)] = None
    """Epochs without a better val metric after which a run stops and stands still: its later epochs count with its last
    scores, so that all arms are averaged over the same epochs; null for none."""
    warmup: Annotated[Real, Field(ge=0, le=100_000)] = 1.0
    """Epochs in which the learning rate rises linearly; 0 for none."""
    accumulate: Annotated[Annotated[int, Field(ge=1)], Neutral(1)] = 1
    """Batches of an update: its gradient is the mean over their images, in the memory of one; the rate is that of the
    first."""
    clip_grad: Annotated[Annotated[Real, Field(gt=0)] | None, Neutral(None)] = None
    """The most that the norm of all gradients of an update may be; null for no limit."""
    ema: Annotated[Annotated[Real, Field(gt=0, lt=1)] | None, Neutral(None)] = None
    """Decay of a moving average of the weights, running statistics among them (in update n at most (1 + n) / (10 + n)),
    which is scored on val and test at the end and kept for analyses with `checkpoint: ema`; null for none."""
    save_every: Annotated[Annotated[int, Field(ge=1)] | None, Neutral(None)] = None
    """Weights are kept after every so many epochs, besides those after 1, 2, 4, 8 and so on, as points of the path that
    training took; null for those alone."""
    mixup: Annotated[Real, Field(ge=0, le=1000)] = 0.0
    """Alpha of mixup's Beta(alpha, alpha), one weight drawn a batch; 0 turns it off."""
    label_smoothing: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    """Share of a label that is spread over all classes; not for several labels an image."""
    class_weights: Annotated[Literal["balanced"] | None, Neutral(None)] = None
    """`balanced` weighs the loss of each class against its share of the training images; of several labels an image,
    what is there against what is not."""
    sampler: Annotated[Literal["shuffled", "balanced"], Neutral("shuffled")] = "shuffled"
    """`balanced` draws as many images of every class in an epoch (one that comes twice is cut the same way)."""
    drop_path: Annotated[Annotated[Real, Field(ge=0, lt=1)], Neutral(0.0)] = 0.0
    """Chance of a residual branch to be dropped for an image (stochastic depth), timm's `drop_path_rate`."""
    dropout: Annotated[Annotated[Real, Field(ge=0, lt=1)], Neutral(0.0)] = 0.0
    """Share of activations that are dropped before the head, timm's `drop_rate`; 0 leaves it to the network."""
    augment: Augment | None = Augment()
    """Random resized crop and flip of the training images; null turns it off."""
    prepare: Annotated[augmentations.Fixed, Neutral(None)] = None
    """What is done to every picture, after augmentation and in evaluation alike, as `[equalize, gaussian_blur]`: those
    augmentations that draw nothing."""
    best_on: Annotated[Literal["val", "test"], Neutral("val")] = "val"
    """The split on which the best epoch is chosen; `test` repeats studies that did so, leans upward, and is said
    wherever it is used."""
    evaluate: Annotated[Watched, Neutral("all")] = 256
    """Images of each split looked at after every epoch, for the curves and the best epoch, or `all` of them."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """What numbers the network computes in; `auto` is bfloat16 where the processor or GPU has it in hardware, else
    float32."""

    @property
    def drops(self) -> dict[str, float]:
        """The rates of what is dropped in training, without those that are 0."""
        return {key: rate for key in ("drop_path", "dropout") if (rate := getattr(self, key))}

    def timed(self) -> tuple[tuple[str, Any], ...]:
        """What of it, besides the batch size and the precision, changes how long a step takes; () for the usual."""
        later = [(key, said) for key in TIMED if (said := getattr(self, key)) != self.neutral()[key]]
        if self.prepare:
            later.append(("prepare", json.dumps(self.model_dump(mode="json", include={"prepare"})["prepare"])))
        if self.augment is not None and self.augment.then:
            later.append(("then", json.dumps(self.augment.model_dump(mode="json")["then"])))
        return tuple(later)

    @classmethod
    def of_timed(cls, timed: tuple[tuple[str, Any], ...]) -> Self:
        """A recipe of which `timed` says the same."""
        said = dict(timed)
        then = {"augment": {"then": json.loads(said.pop("then"))}} if "then" in said else {}
        fixed = {"prepare": json.loads(said.pop("prepare"))} if "prepare" in said else {}
        return cls.model_validate({"lr": 1e-3, **said, **then, **fixed})

    def check_answers(self, kind: Kind, where: str = "recipe") -> None:
        """UserError where it asks of numbers to predict what only classes have."""
        asked = [field for field in ("label_smoothing", "class_weights") if getattr(self, field)]
        asked += ["sampler"] if self.sampler != "shuffled" else []
        if kind == "numbers" and asked:
            raise UserError(f"{where}.{asked[0]}: it is for classes, and the target has numbers to predict; remove it.")

    @classmethod
    def neutral(cls) -> dict[str, Any]:
        """The fields that came later, each with the value at which it changes nothing."""
        return {
            name: mark.value
            for name, info in cls.model_fields.items()
            for mark in info.metadata
            if isinstance(mark, Neutral)
        }

    def learning_rates(self, lr: float, epochs: int | None = None) -> Schedule:
        """lr over so many epochs (by default its own, where they are not by arm), where `lr` is its peak."""
        more = {"step_size": self.step_size, "patience": self.patience}
        return Schedule(self.schedule, lr, epochs or self.epochs, self.warmup, self.milestones, self.gamma, **more)


class Recipe(Training):
    """All of training and decoding that can change a number."""

    table_size: Annotated[int, Field(ge=8, le=16384)] | None = None
    """Side in pixels of the decoded images that crops are cut from; null for 1.5 x `image_size`."""
    table_jpeg: Annotated[int, Field(ge=50, le=100)] | None = None
    """Quality of the JPEGs as which decoded images are kept, a fifth of the bytes at 95 and little to see, for sets too
    large for a disk; null keeps their pixels."""
    crop: Annotated[Real, Field(gt=0, le=1)] = 1.0
    """Share of the image's side, around its centre, that evaluation sees (0.875 for the usual 224 of 256)."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How pictures with unequal sides become squares: `crop` keeps the square in the centre, `pad` all of it on black
    with its ratio, `stretch` resizes each side by itself."""
    interpolation: Literal["auto", "bilinear", "bicubic"] = "auto"
    """How images are resized when they are decoded; `auto` is what the weights were trained with."""
    search: Annotated[Lists, WithJsonSchema(searched_by_arm(SEARCHED))] = {}  # noqa: RUF012 (pydantic copies it)
    """Fields that are searched on val as a list in `lr` is, each value with each: `weight_decay: [0.0001, 0.05]`, or by
    arm `layer_decay: {pretrained: [0.65, 1]}`."""

    def check_optimiser(self, where: str) -> None:
        """UserError where there is no such optimiser, it pays no heed to a field that is set, or is given no rates.

        `where` is the key of the recipe in the study file.
        """
        name = self.optimizer
        try:
            optimisers.check(name)
        except UserError as error:
            raise UserError(f"{where}.optimizer: {error}") from None
        for field in sorted(set(optimisers.OFFERED) - set(optimisers.heeded(name)), key=optimisers.OFFERED.index):
            usual = type(self).model_fields[field].default
            if getattr(self, field) != usual:
                said = "null" if usual is None else str(usual).lower()  # as YAML writes it
                raise UserError(f"{where}.{field}: '{name}' pays no heed to it; remove it, or leave it at {said}.")
        count = optimisers.betas(name)
        if self.betas is not None and count is not None and len(self.betas) != count:
            raise UserError(f"{where}.betas: '{name}' takes {count} numbers, not {len(self.betas)}.")
        if name != optimisers.USUAL and "lr" not in self.model_fields_set:
            raise UserError(
                f"{where}.lr: the rates that go without saying are those of {optimisers.USUAL}; give '{name}' its own."
            )

    def check_schedule(self, where: str) -> None:
        """UserError where a field is set that the schedule pays no heed to; `where` is as in `check_optimiser`."""
        for field, kind in (("step_size", "step"), ("patience", "plateau")):
            usual = type(self).model_fields[field].default
            if self.schedule != kind and getattr(self, field) != usual:
                raise UserError(f"{where}.{field}: it is for 'schedule: {kind}'; remove it, or leave it at {usual}.")
        if self.schedule == "one-cycle" and self.warmup and "warmup" in self.model_fields_set:
            raise UserError(f"{where}.warmup: 'one-cycle' has a rise of its own; remove the key.")

    def check_search(self, where: str) -> None:
        """UserError where a field is not one to search, or a value none of its own; `where` is as above."""
        for field, said in self.search.items():
            place = f"{where}.search.{field}"
            if field not in SEARCHED:
                raise UserError(f"{place}: it cannot be searched; {did_you_mean(field, SEARCHED)}")
            if field in set(optimisers.OFFERED) - set(optimisers.heeded(self.optimizer)):
                raise UserError(f"{place}: '{self.optimizer}' pays no heed to it; remove it.")
            for values in said.values() if isinstance(said, dict) else [said]:
                if not isinstance(values, tuple) or not values or len({*map(repr, values)}) < len(values):
                    raise UserError(f"{place}: give a list of different values, or one per arm.")
                for value in values:
                    try:
                        Training.model_validate({field: value})
                    except ValidationError as error:
                        why = error.errors()[0]["msg"]
                        raise UserError(f"{place}: {value!r}: {why[0].lower()}{why[1:]}.") from None

    def searched(self, arm: str) -> dict[str, tuple[Any, ...]]:
        """The values to try for an arm of every field besides `lr`; a control arm without its own follows its parent.

        A field that is searched for other arms alone is not in it.
        """
        found = {field: _of_arm(said, arm) for field, said in self.search.items()}
        return {field: values for field, values in found.items() if values is not None}

    def points(
        self, arm: str, rates: Sequence[float] | None = None, given: Container[str] = ()
    ) -> list[dict[str, Any]]:
        """What to try for an arm: `lr` (of `rates`, else its own) with every searched field that is not `given`."""
        searched = {field: values for field, values in self.searched(arm).items() if field not in given}
        return [
            {"lr": lr, **dict(zip(searched, values, strict=True))}
            for lr in rates or self.rates(arm)
            for values in product(*searched.values())
        ]

    def check_mixing(self, where: str) -> None:
        """UserError where images would be blended in two ways; `where` is as in `check_optimiser`."""
        if self.mixup and self.augment and self.augment.mixing:
            raise UserError(
                f"{where}.mixup: {where}.augment.then blends images already ({', '.join(self.augment.mixing)}); set "
                "mixup to 0, and list it there beside the others if it should alternate with them."
            )

    def epochs_of(self, arm: str) -> int:
        """The epochs of an arm; a control arm without its own follows its parent."""
        found = _of_arm(self.epochs, arm)
        if found is None:
            raise UserError(f"recipe.epochs has no number for the arm '{arm}': add '{arm}: 20' under recipe.epochs.")
        return int(found)

    def rates(self, arm: str) -> tuple[float, ...]:
        """The learning rates to try for an arm; a control arm without its own follows its parent."""
        found = _of_arm(self.lr, arm)
        if found is None:
            raise UserError(f"recipe.lr has no rate for the arm '{arm}': add '{arm}: 0.01' under recipe.lr.")
        return found if isinstance(found, tuple) else (found,)


def _of_arm(said: Any, arm: str) -> Any:
    """What is said of an arm, where it may be said of all or by arm; None where it says nothing of it."""
    if not isinstance(said, dict):
        return said
    parent = "pretrained" if arm.startswith("transfuse") else "random"
    return next((said[name] for name in (arm, arm.partition(":")[0], parent) if name in said), None)


class Run(Training):
    """What the steps of a study say of one training run besides: its network and start, its images, what it keeps."""

    network: str
    """As in the study file."""
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    """How often this run goes through its training images."""
    arm: str
    """How the run starts: see `models.inits`."""
    lr: Real
    """The learning rate after the warmup; where several are searched on val, the one that was found."""
    min_share: Real | None
    """Pretrained weights that fill less than this share of the body's parameters are refused."""
    seed: int
    """Of the weights, the order of the images, and everything else that is drawn."""
    head_seed: int
    """Of the head's first values."""
    mean: Annotated[tuple[Real, ...], BeforeValidator(as_tuple)]
    """Of the values in [0, 1] of every channel, which the network is fed less and divided by `std`."""
    std: Annotated[tuple[Real, ...], BeforeValidator(as_tuple)]
    """See `mean`."""
    shuffle: Annotated[dict[str, Any] | None, Neutral(None)]
    """``{"block": b}`` or ``{"block": "channels"}``: one fixed permutation of the images' blocks a seed, with
    ``"per_image": true`` one an image; ``"published": true`` draws it as the paper's code does."""
    fraction: Annotated[Real, Neutral(1.0)]
    """Share of the training images (nested, stratified, by seed)."""
    trainable: Annotated[str, Neutral("all")]
    """What trains: "all", "head", "top:K", the last K blocks, or "lora:R", the head and adapters of rank R."""
    drop_in: Annotated[Literal["trained", "nothing"], Neutral("nothing")]
    """Where only a part trains: whether dropout acts in it, or, as it was at first, nowhere."""
    views: Annotated[Annotated[int, Field(ge=1)] | None, Neutral(None)]
    """How many crops of every training image there are: those of the first epochs, by turns; null for one an epoch."""
    begin_at: Annotated[str, Neutral("final")]
    """With `begin`: under which name that run saved the weights to start from."""
    first_epoch: Annotated[int, Neutral(0)]
    """The epoch that counting begins with, for the schedule and the order of the images; momentum starts afresh."""
    weights_at: Annotated[str | None, Neutral(None)]
    """Where `weights` is a training run on other images: under which name it saved them."""
    labels: Annotated[Literal["true", "random"], Neutral("true")]
    """The images' own, or "random": shuffled over the images of each split."""
    keep: Annotated[Literal["log", "drops", "all"], Neutral("log")]
    """The epochs whose weights stay: 0, 1, 2, 4, ... ("log"), besides both sides of every drop of the learning rate
    ("drops"), or "all"."""
    mean_over: Annotated[Literal["images", "batches"], Neutral("batches")]
    """What the gradient of accumulated batches is the mean over: their images, or, as it was at first, the batches,
    whatever their lengths. Of a single batch both are the same."""
    allow: Annotated[tuple[str, ...] | None, BeforeValidator(as_tuple), Neutral(None)]
    """What of the body the pretrained weights need not fill."""
    input: Annotated[dict[str, Any] | None, Neutral(None)]
    """Options of the kind of input that change what training is fed."""

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """The run that a step's parameters describe, as JSON gives them back."""
        return cls.model_validate({**cls.neutral(), **said}, strict=False)

    @classmethod
    def parameters(cls) -> dict[str, Any]:
        """Every field, with the value it takes where a step does not say it, or `REQUIRED`."""
        return dict.fromkeys(cls.model_fields, REQUIRED) | cls.neutral()
