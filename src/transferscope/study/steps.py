"""The steps that a study stands for: its tables of images, its runs and where they start from.

It is long because all of them are made here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import PrivateAttr, ValidationError

from transferscope import data, models
from transferscope.data import Listing, Target
from transferscope.engine.machine import this_machine
from transferscope.engine.step import Outside, Step
from transferscope.errors import UserError
from transferscope.input_shape import Example, picture
from transferscope.random_streams import stream_seed
from transferscope.study import origin
from transferscope.study.explain import explain
from transferscope.study.file import StudyFile
from transferscope.study.origin import Checkpoint
from transferscope.tasks import inputs
from transferscope.tasks.recipe import Recipe, Training
from transferscope.tasks.schedule import Schedule
from transferscope.timing.calibrate import remembered_precision
from transferscope.timing.step_time import Question

SHARED_HEAD = stream_seed(0, "head") % 2**31
SEARCH_SEED = 1_000_003  # lr search has a seed of its own, so that no reported run took part in choosing its rate


@dataclass
class LookedUp:
    """What one study has found out: of outside things (`asked`, by question), and what follows from its own fields."""

    asked: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    tables: dict[str, Step] = field(default_factory=dict)
    targets: dict[str, Step] = field(default_factory=dict)  # their tables, by name
    checkpoints: tuple[Checkpoint, ...] | None = None
    precision: tuple[str, str] | None = None  # what 'auto' means here, and why
    training: dict[str, Any] | None = None  # the parameters that all trainings by the study's own recipe share
    fed: dict[str, Any] | None = None  # how images are brought to what the weights expect

    def ask(self, function: Any, *arguments: Any) -> Any:
        """Its answer about an outside thing, asked once: a plan of 3,000 steps must not stat its files 3,000 times."""
        key = (function.__qualname__, *arguments)
        if key not in self.asked:
            self.asked[key] = function(*arguments)
        return self.asked[key]


class Study(StudyFile):
    """A study file and its steps; what it looks up outside is asked once, until `forget`."""

    _looked: LookedUp = PrivateAttr(default_factory=LookedUp)

    def changed(self, **fields: Any) -> Self:
        """This study with other fields; what was found of outside things holds for it too, and its precision."""
        other = self.model_copy(update=fields)
        kept = self.recipe.precision == "auto" and "resources" not in fields
        other._looked = LookedUp(self._looked.asked, precision=self.precision_and_reason() if kept else None)
        return other

    def retrained(self, changes: Mapping[str, Any], where: str) -> Self:
        """This study with what `changes` say of its recipe. UserError, opening with `where`, for what cannot be."""
        for key in changes:
            if key in Recipe.model_fields and key not in {"search", *Training.model_fields}:
                raise UserError(f"{where}.{key}: all images are decoded alike; set recipe.{key}.")
        try:
            recipe = Recipe.model_validate({**self.recipe.model_dump(exclude_unset=True), **changes})
        except ValidationError as error:
            raise UserError(explain(error, Recipe, where)) from None
        for check in (recipe.check_optimiser, recipe.check_schedule, recipe.check_search, recipe.check_mixing):
            check(where)
        for arm in self.arms:
            recipe.rates(arm)
            recipe.epochs_of(arm)
        return self.changed(recipe=recipe)

    def forget(self) -> None:
        """Look at outside things afresh; called at the start of every plan."""
        self._looked = LookedUp()

    def data(self, target: str) -> Step:
        """The step that decodes a target once into a table."""
        if (found := self._looked.targets.get(target)) is None:
            found = self._looked.targets[target] = self._table(self.targets[target])
        return found

    def _table(self, target: Target) -> Step:
        ref, tables = target.reference, self._looked.tables
        if ref not in tables:
            tables[ref] = self._ingest(self.reference(target))
        return tables[ref]

    @property
    def kind(self) -> inputs.Kind:
        """What its examples become, and how networks are fed."""
        return inputs.load(self.input)

    @property
    def example(self) -> Example:
        """What the networks are given: one input as evaluation sees it."""
        return self.kind.examples(self.data(next(iter(self.targets))).params)["eval"]

    @property
    def deep(self) -> bool:
        """Whether pictures of some target, or of the pretraining, are kept with more than 8 bits."""
        source = self.pretrained.source if self.pretrained else None
        return any(target.depth != 8 for target in [*self.targets.values(), *([source] if source else [])])

    def listing(self, target: Target) -> Listing:
        """The images of a target and what is known of each. UserError where it cannot be read."""
        found: Listing = self._looked.ask(data.open_listing, self.reference(target))
        return found

    def _ingest(self, ref: str) -> Step:
        how = self.split
        asked = inputs.Asked(
            self.image_size, self.recipe, self.preprocessing(), how.val, how.test, how.seed, inputs.options(self.input)
        )
        source = Outside(ref, self._looked.ask(data.source_fingerprint, ref, self.memo))
        return self.kind.table(source, asked)

    def run(
        self,
        target: str,
        arm: str,
        seed: int,
        *,
        rates: Sequence[float] | None = None,
        checkpoint: Checkpoint | None = None,
        **changes: Any,
    ) -> Step:
        """The training run of one arm and seed; `changes` replace recipe fields or other parameters of `tasks.train`.

        Several learning rates (`rates`, else the recipe's for the arm) are searched on val first, all with the same
        changes, and so are the recipe's other fields to `search`, each with each; an `lr` in `changes` that a search
        found for another run stands for all that was found with it. `checkpoint` is the one that arms other than
        `random` start from: by default the last.
        """
        from transferscope.tasks.choose import choose_fields, choose_lr

        def train(seed: int, **fields: Any) -> Step:
            return self._train(target, arm, seed, checkpoint, **{**changes, **fields})

        given = changes.get("lr")
        if isinstance(given, Step):
            return train(seed)
        points = self.recipe.points(arm, rates if given is None else (given,), changes)
        if len(points) == 1:
            return train(seed, **points[0])
        trials = [(point, train(SEARCH_SEED, **point)) for point in points]
        if len(points[0]) > 1:
            return train(seed, lr=choose_fields.step(trials=[[point, run] for point, run in trials]))
        return train(seed, lr=choose_lr.step(trials=[[point["lr"], run] for point, run in trials]))

    def _train(self, target: str, arm: str, seed: int, checkpoint: Checkpoint | None = None, **changes: Any) -> Step:
        from transferscope.tasks.choose import tried
        from transferscope.tasks.train import train

        if changes.get("first_epoch") and (self.recipe.schedule == "plateau" or self.recipe.early_stopping):
            own = "schedule" if self.recipe.schedule == "plateau" else "early_stopping"
            raise UserError(
                f"recipe.{own}: it goes by a run's own scores, which a run that goes on from another's epoch does not "
                "have; leave out the analysis that asks for one (spawn), or the key."
            )
        if isinstance(lr := changes.get("lr"), Step):  # it says what else was searched
            changes |= {name: None for name in tried(lr) if name != "lr"}
        if str(changes.get("trainable")).startswith("top:"):
            changes |= {"drop_in": "trained"}
        start: dict[str, Any] = {"weights": None, "min_share": None}
        if arm != "random" and self.pretrained is not None:
            chosen = checkpoint or self.last_checkpoint()
            start = {"weights": chosen.weights, "min_share": self.pretrained.min_share, "weights_at": chosen.at}
            start |= {"allow": list(self.pretrained.allow) or None}
        return train.step(
            data=self.data(target),
            arm=arm,
            seed=seed,
            head_seed=SHARED_HEAD if self.head == "shared" else seed,
            **start,
            **self._own_training() | {"epochs": self.recipe.epochs_of(arm)} | changes,
        )

    def _own_training(self) -> dict[str, Any]:
        """What all trainings by the study's own recipe share, looked up once for a plan of very many."""
        looked = self._looked
        if looked.training is None:
            looked.training = self._training(self.recipe)
        return looked.training

    def _training(self, recipe: Recipe) -> dict[str, Any]:
        """The parameters of `tasks.train` that a recipe sets, with those that are the same whatever the recipe."""
        how = self.preprocessing()
        fed = {"input": self._looked.ask(inputs.for_training, self.input), "mean": how["mean"], "std": how["std"]}
        return {"network": self.network, **fed, **self._said_by(recipe)}

    def _said_by(self, recipe: Recipe) -> dict[str, Any]:
        found = recipe.model_dump(mode="json", include=set(Training.model_fields))
        found |= {"mean_over": "images"} if recipe.accumulate > 1 else {}
        found |= {"augment": None} if getattr(self.kind, "UNAUGMENTED", False) else {}
        return found | ({"precision": self.precision()} if recipe.precision == "auto" else {})

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The pretrained weights to start from, track by track in the order of training; () without `pretrained`.

        UserError for a series without files or with two of one number.
        """
        if self._looked.checkpoints is None:
            self._looked.checkpoints = self._checkpoints()
        return self._looked.checkpoints

    def _checkpoints(self) -> tuple[Checkpoint, ...]:
        how = self.pretrained
        if how is None:
            return ()
        if how.source is not None:
            schedule = self.pretraining_schedule()
            return tuple(c for labels in how.labels for c in origin.trained(labels, self.pretraining(labels), schedule))
        if how.series is not None:
            return origin.given_series(how.series, self.folder, self.outside)
        absolute = models.absolute_weights(str(how.weights), self.folder)
        return (Checkpoint("given", str(how.weights), None, self.outside(absolute)),)

    def last_checkpoint(self) -> Checkpoint:
        """What the arm `pretrained` starts from: the last checkpoint of the first track."""
        found = self.checkpoints()
        return [c for c in found if c.track == found[0].track][-1]

    def pretraining(self, labels: str = "true") -> Step:
        """The run that trains the network on `pretrained.source` from a random start."""
        from transferscope.tasks.train import train

        how, recipe = self.pretrained, self.pretraining_recipe()
        if how is None or how.source is None:
            raise UserError("pretrained.source: this study trains no network to start from.")
        said = self._training(recipe) | {"lr": recipe.rates("random")[0], "epochs": recipe.epochs_of("random")}
        seed = stream_seed(how.seed, "pretraining") % 2**31  # none of the replicas' own: epoch 0 is not one of them
        return train.step(
            data=self._table(how.source),
            arm="random",
            weights=None,
            min_share=None,
            seed=seed,
            head_seed=seed,
            labels=labels,
            keep="drops" if how.checkpoints == "log" else "all",
            **said,
        )

    def pretraining_schedule(self) -> Schedule:
        """The learning rates of the pretraining, epoch by epoch."""
        r = self.pretraining_recipe()
        return r.learning_rates(r.rates("random")[0], r.epochs_of("random"))

    def outside(self, ref: str) -> Outside:
        """Weights from outside with the fingerprint of their values. UserError when they cannot be read."""
        return Outside(ref, self._looked.ask(models.weights_fingerprint, ref, self.network, self.memo))

    def precision(self) -> str:
        """What training computes in; 'auto' is bfloat16 where this machine has hardware for it, else float32."""
        return self.precision_and_reason()[0]

    def precision_and_reason(self) -> tuple[str, str]:
        """What training computes in, and a clause that says why: nothing is timed, so machines of a kind agree.

        A store of earlier versions, which timed and remembered a choice, keeps it: its results are found. Studies
        derived from this one (candidates with other networks) compute in the same.
        """
        machine, device, asked = this_machine(), self.device, self.recipe.precision
        slow = "" if machine.has_bfloat16(device) or device == "mps" else ", which is emulated here and slow"
        if asked != "auto":
            rounds = " and rounds what lies below 8 bits" if self.deep else ""
            return asked, "recipe.precision" + (f"{slow}{rounds}" if asked == "bfloat16" else "")
        if self.deep:
            return "float32", "pictures of more than 8 bits are kept, which bfloat16 would round"
        if self._looked.precision is None:
            natural, why = machine.natural(device)
            kept = self._looked.ask(remembered_precision, self.question(natural), self.memo)
            self._looked.precision = (natural, why)
            if kept is not None and kept != natural:
                said = f"chosen when this store was begun, in {self.memo / 'precision.json'}"
                self._looked.precision = (kept, said + (slow if kept == "bfloat16" else ""))
        return self._looked.precision

    @property
    def device(self) -> str:
        """What training runs on: the kind of a GPU ("cuda"), the one that is asked for ("cuda:1"), or "cpu"."""
        asked, machine = self.resources.device, this_machine()
        if asked == "cpu" or not machine.gpus:
            return "cpu"
        return asked if ":" in asked else machine.accelerator

    def question(self, *ways: str) -> Question:
        """What a calibration of this study times: `ways` of computing, by default the one it trains in."""
        asked = ways or (self.precision(),)
        image, batch = self.example, self.recipe.batch_size
        shape = None if image == picture(self.image_size) else image.shape
        how = self.recipe.timed()
        return Question(
            self.network,
            self.image_size,
            batch,
            self.device,
            ways=asked,
            quick=True,
            shape=shape,
            vocabulary=image.vocabulary,
            how=how,
        )

    def preprocessing(self) -> dict[str, Any]:
        """Mean, std and interpolation the pretrained weights expect; every arm is fed the same way."""
        if self._looked.fed is None:
            self._looked.fed = self._preprocessing()
        return dict(self._looked.fed)

    def _preprocessing(self) -> dict[str, Any]:
        how = self.pretrained
        if how is None or how.source is not None:
            return dict(models.PLAIN_PREPROCESSING)
        last = None if how.series is None else self.checkpoints()[-1].weights  # may be missing: others are fed so too
        ref = last.ref if isinstance(last, Outside) else models.absolute_weights(str(how.weights), self.folder)
        known = dict(self._looked.ask(models.describe_weights, ref, self.network, self.memo, last is None))
        if how.mean is None or how.std is None:
            return known
        source = f"{known['source']}; mean and std as pretrained.mean and pretrained.std say"
        return {**known, "mean": list(how.mean), "std": list(how.std), "source": source}
