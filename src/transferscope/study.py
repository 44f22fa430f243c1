"""The study: the YAML file as a strict, frozen model, and the steps it stands for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from transferscope import data, models, origin
from transferscope.data import Listing, Target
from transferscope.engine.machine import this_machine
from transferscope.engine.step import Outside, Step
from transferscope.errors import UserError
from transferscope.explain import explain
from transferscope.origin import Checkpoint
from transferscope.pairs import Pair, pairs
from transferscope.schema import Arms, Chosen, Origin, Part, Recipe, Resources, Seeds, Split, Targets
from transferscope.streams import stream_seed
from transferscope.tasks.calibrate import remembered_precision
from transferscope.tasks.pace import Question
from transferscope.tasks.schedule import Schedule


@dataclass
class LookedUp:
    """What one study has found out: of outside things (`asked`, by question), and what follows from its own fields."""

    asked: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    tables: dict[str, Step] = field(default_factory=dict)
    checkpoints: tuple[Checkpoint, ...] | None = None
    precision: tuple[str, str] | None = None  # what 'auto' means here, and why

    def ask(self, function: Any, *arguments: Any) -> Any:
        """Its answer about an outside thing, asked once: a plan of 3,000 steps must not stat its files 3,000 times."""
        key = (function.__qualname__, *arguments)
        if key not in self.asked:
            self.asked[key] = function(*arguments)
        return self.asked[key]


class Study(Part):
    """One study: targets x arms x seeds, a recipe, and the analyses to run on them."""

    name: str = "study"
    targets: Targets
    image_size: Annotated[int, Field(ge=8)] = 64
    network: str
    pretrained: Origin = None
    arms: Arms = ("random", "pretrained")
    seeds: Seeds = (0, 1)
    head: Literal["shared", "per-seed"] = "shared"
    split: Split = Split()
    recipe: Recipe = Recipe()
    analyses: Chosen = {"transfer": {}}  # noqa: RUF012 (pydantic copies it)
    resources: Resources = Resources()
    folder: Path = Field(default=Path(), exclude=True)  # where the file lies; relative paths start there
    _looked: LookedUp = PrivateAttr(default_factory=LookedUp)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, target in self.targets.items():
            _checked(f"targets.{name}", lambda target: data.check_ref(self.reference(target)), target)
        _checked("network", models.check_network_ref, self.network)
        for arm in self.arms:
            _checked("arms", models.check_arm, arm)
            if arm != "random" and self.pretrained is None:
                raise ValueError(f"arms: '{arm}' needs weights to start from: add 'pretrained: ...'")
            _checked("recipe.lr", self.recipe.rates, arm)
        for arm in self.recipe.lr if isinstance(self.recipe.lr, dict) else ():
            if arm != "transfuse":
                _checked("recipe.lr", models.check_arm, arm)
        self._check_origin()
        for key, values in (("arms", self.arms), ("seeds", self.seeds)):
            if twice := sorted({str(v) for v in values if values.count(v) > 1}):
                raise ValueError(f"{key}: {', '.join(twice)} is listed twice")
        if self.split.val <= 0 or self.split.val + self.split.test >= 1:
            raise ValueError("split: val must be above 0, and val + test below 1")
        if self.recipe.table_size is not None and self.recipe.table_size < self.image_size:
            raise ValueError(f"recipe.table_size: must be at least image_size ({self.image_size})")
        return self

    def _check_origin(self) -> None:
        how = self.pretrained
        if how is None:
            return
        if how.weights is not None:
            ref = models.absolute_weights(how.weights, self.folder)
            _checked("pretrained.weights", models.check_weights_ref, ref, self.network)
        if how.source is not None:
            _checked("pretrained.source", lambda target: data.check_ref(self.reference(target)), how.source)
            try:
                self.pretraining_recipe()
            except UserError as error:
                raise ValueError(str(error).rstrip(".")) from None

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

    def changed(self, **fields: Any) -> "Study":
        """This study with other fields; what was found of outside things holds for it too, and its precision."""
        other = self.model_copy(update=fields)
        kept = self.recipe.precision == "auto" and "resources" not in fields
        other._looked = LookedUp(self._looked.asked, precision=self.precision_and_reason() if kept else None)
        return other

    def forget(self) -> None:
        """Look at outside things afresh; called at the start of every plan."""
        self._looked = LookedUp()

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

    def reference(self, target: Target) -> str:
        """What a source is asked for: a target's reference and options, its paths made absolute."""
        return data.absolute(target.reference, self.folder)

    def data(self, target: str) -> Step:
        """The step that decodes a target once into a table."""
        return self._table(self.targets[target])

    def _table(self, target: Target) -> Step:
        ref, tables = target.reference, self._looked.tables
        if ref not in tables:
            tables[ref] = self._ingest(self.reference(target))
        return tables[ref]

    def listing(self, target: Target) -> Listing:
        """The images of a target and what is known of each. UserError where it cannot be read."""
        found: Listing = self._looked.ask(data.open_listing, self.reference(target))
        return found

    def _ingest(self, ref: str) -> Step:
        from transferscope.tasks.ingest import ingest

        size, recipe = self.image_size, self.recipe
        table = size if recipe.augment is None else recipe.table_size or round(1.5 * size)
        how = self.preprocessing()
        return ingest.step(
            source=Outside(ref, self._looked.ask(data.source_fingerprint, ref, self.memo)),
            train_size=table,
            eval_size=size,
            interpolation=how["interpolation"] if recipe.interpolation == "auto" else recipe.interpolation,
            crop=recipe.crop,
            val=self.split.val,
            test=self.split.test,
            split_seed=self.split.seed,
        )

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
        changes. `checkpoint` is the one that arms other than `random` start from: by default the last.
        """
        from transferscope.tasks.choose import choose_lr

        def train(seed: int, lr: Any) -> Step:
            return self._train(target, arm, seed, checkpoint, **{**changes, "lr": lr})

        tried = (changes["lr"],) if "lr" in changes else tuple(rates or self.recipe.rates(arm))
        if len(tried) == 1:
            return train(seed, tried[0])
        return train(seed, choose_lr.step(trials=[[lr, train(SEARCH_SEED, lr)] for lr in tried]))

    def _train(self, target: str, arm: str, seed: int, checkpoint: Checkpoint | None = None, **changes: Any) -> Step:
        from transferscope.tasks.train import train

        start: dict[str, Any] = {"weights": None, "min_share": None}
        if arm != "random" and self.pretrained is not None:
            chosen = checkpoint or origin.last(self)
            start = {"weights": chosen.weights, "min_share": self.pretrained.min_share, "weights_at": chosen.at}
            start |= {"allow": list(self.pretrained.allow) or None}
        return train.step(
            data=self.data(target),
            network=self.network,
            arm=arm,
            seed=seed,
            head_seed=stream_seed(0, "head") % 2**31 if self.head == "shared" else seed,
            **start,
            **self._constants(),
            **self._recipe(self.recipe) | changes,
        )

    def _constants(self) -> dict[str, Any]:
        how = self.preprocessing()
        return {"mean": how["mean"], "std": how["std"]}

    def _recipe(self, recipe: Recipe) -> dict[str, Any]:
        """The parameters of `tasks.train` that a recipe sets."""
        found = recipe.model_dump(mode="json", exclude={"table_size", "crop", "interpolation"})
        return found | ({"precision": self.precision()} if recipe.precision == "auto" else {})

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The pretrained weights there are to start from (see `origin.checkpoints`)."""
        if self._looked.checkpoints is None:
            self._looked.checkpoints = origin.checkpoints(self)
        return self._looked.checkpoints

    def pretraining(self, labels: str = "true") -> Step:
        """The run that trains the network on `pretrained.source` from a random start."""
        from transferscope.tasks.train import train

        how, recipe = self.pretrained, self.pretraining_recipe()
        if how is None or how.source is None:
            raise UserError("pretrained.source: this study trains no network to start from.")
        said = self._recipe(recipe) | {"lr": recipe.rates("random")[0]}
        seed = stream_seed(how.seed, "pretraining") % 2**31  # none of the replicas' own: epoch 0 is not one of them
        return train.step(
            data=self._table(how.source),
            network=self.network,
            arm="random",
            weights=None,
            min_share=None,
            seed=seed,
            head_seed=seed,
            labels=labels,
            keep="drops" if how.checkpoints == "log" else "all",
            **self._constants(),
            **said,
        )

    def pretraining_recipe(self) -> Recipe:
        """The study's recipe with what `pretrained.recipe` changes. UserError for what no recipe has."""
        changed = self.pretrained.recipe if self.pretrained else {}
        kept = self.recipe.model_dump(exclude_unset=True)
        try:
            recipe = Recipe.model_validate({**kept, **changed})
        except ValidationError as error:
            raise UserError(explain(error, Recipe, "pretrained.recipe")) from None
        if len(recipe.rates("random")) > 1:
            raise UserError("pretrained.recipe.lr: pretraining takes one learning rate; give one number.")
        return recipe

    def pretraining_schedule(self) -> Schedule:
        """The learning rates of the pretraining, epoch by epoch."""
        r = self.pretraining_recipe()
        return Schedule(r.schedule, r.rates("random")[0], r.epochs, r.warmup, r.milestones, r.gamma)

    def outside(self, ref: str) -> Outside:
        """Weights from outside with the fingerprint of their values. UserError when they cannot be read."""
        return Outside(ref, self._looked.ask(models.weights_fingerprint, ref, self.network, self.memo))

    def pairs(self, target: str) -> Iterator[Pair]:
        """The pairs of weights that analyses compare (see `pairs.pairs`)."""
        return pairs(self, target)

    def precision(self) -> str:
        """What training computes in; 'auto' is bfloat16 where this machine has hardware for it, else float32."""
        return self.precision_and_reason()[0]

    def precision_and_reason(self) -> tuple[str, str]:
        """What training computes in, and a clause that says why: nothing is timed, so machines of a kind agree.

        A store of earlier versions, which timed and remembered a choice, keeps it: its results are found. Studies
        derived from this one (candidates with other networks) compute in the same.
        """
        machine, device, asked = this_machine(), self.device, self.recipe.precision
        slow = "" if machine.has_bfloat16(device) else ", which is emulated here and slow"
        if asked != "auto":
            return asked, "recipe.precision" + (slow if asked == "bfloat16" else "")
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
        """The kind of device that training runs on: cuda or cpu."""
        return "cuda" if self.resources.device != "cpu" and this_machine().gpus else "cpu"

    def question(self, *ways: str) -> Question:
        """What a calibration of this study times: `ways` of computing, by default the one it trains in."""
        asked = ways or (self.precision(),)
        return Question(self.network, self.image_size, self.recipe.batch_size, self.device, ways=asked, quick=True)

    def preprocessing(self) -> dict[str, Any]:
        """Mean, std and interpolation the pretrained weights expect; every arm is fed the same way."""
        if self.pretrained is None or self.pretrained.weights is None:
            return dict(models.PLAIN_PREPROCESSING)
        ref = models.absolute_weights(self.pretrained.weights, self.folder)
        return dict(self._looked.ask(models.describe_weights, ref, self.network, self.memo))


SEARCH_SEED = 1_000_003  # lr search has a seed of its own, so that no reported run took part in choosing its rate


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
