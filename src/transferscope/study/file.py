"""The study file: what its YAML says, as a strict, frozen model; nothing is looked up yet."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from transferscope import data, models, registry
from transferscope.data import Target
from transferscope.data.target import alike
from transferscope.engine import bucket, executors, remote
from transferscope.engine.bucket import is_url
from transferscope.errors import UserError, legible
from transferscope.measures.deciding import LEAST, MOST_PLANNED
from transferscope.strict_models import Also, Strict
from transferscope.study import extends, yaml_text
from transferscope.study.beside import settled
from transferscope.study.explain import explain
from transferscope.study.schema import LOOKS, Arms, Chosen, Input, Network, Origin, Resources, Seeds, Split, Targets
from transferscope.tasks import inputs
from transferscope.tasks.recipe import Recipe, Training


class StudyFile(Strict):
    """One study: targets x arms x seeds, a recipe, and the analyses to run on them."""

    extends: str | None = Field(default=None, exclude=True)
    """Another study file, whose keys hold where this one says nothing: mappings are merged key by key and all else is
    replaced, and a relative path starts at the file that says it."""
    name: str = "study"
    """The title of the report; when left out the name of the file, or of its folder where that is `study.yaml`."""
    targets: Targets
    """The images to train on, by a name of yours; a list of references, or a single one, is fine too."""
    image_size: Annotated[int, Field(ge=8, le=16384)] = 64
    """Side in pixels of what the network sees."""
    input: Input = inputs.USUAL
    """What the network is fed: `images`, `arrays`, `text`, or your own kind by the dotted name of its module, which
    `{arrays: {jitter: 0.1}}` gives options."""
    network: Network
    """`timm:NAME`, `torchvision:NAME`, `transformers:FOLDER` (or a name in the hub's cache), `package:minilm-l6`, or
    `package.module:factory`, your own function taking `num_classes` and returning a network from images of three
    channels (or as many as `targets.NAME.channels` names, or of what `input` says) to logits;
    `{ref: timm:NAME, options: {img_size: 32}}` hands the factory keyword arguments."""
    pretrained: Origin = None
    """Where the pretrained weights come from; a text is short for `{weights: ...}`, and null leaves only the arm
    `random`."""
    arms: Arms = ("random", "pretrained")
    """The starts to compare: `random`; `pretrained`; the controls `stats` (every tensor redrawn with the pretrained
    mean and variance), `permuted` (the pretrained values shuffled within each tensor), `transfuse:K` and
    `transfuse:K+stats` (pretrained up to block K)."""
    seeds: Annotated[Seeds, Also(LOOKS), "`{from: 3, to: 8}`"] = (0, 1, 2)
    """The replicas of every arm, fixed in advance: a count (the first so many, from 0), or a list; `{from: 3, to: 8}`
    adds one at a time until every claim is decided."""
    growing: tuple[int, int] | None = Field(default=None, exclude=True)
    """The first and the last look of seeds that are added one at a time; not a key of the file."""
    head: Literal["shared", "per-seed"] = "shared"
    """The new head's initial values: `shared` by all replicas, or drawn `per-seed`."""
    split: Split = Split()
    """How images are divided where their source does not say."""
    recipe: Recipe = Recipe()
    """How every arm is trained."""
    analyses: Chosen = {"transfer": {}}  # noqa: RUF012 (pydantic copies it)
    """What is measured, with the options of each; a list of names takes their defaults."""
    resources: Resources = Resources()
    """Where and how fast it runs."""
    folder: Path = Field(default=Path(), exclude=True)
    """Where the file lies, from which relative paths start; not a key of the file."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, target in self.targets.items():
            _checked(f"targets.{name}", lambda target: data.check_ref(self.reference(target)), target)
        source = self.pretrained.source if self.pretrained else None
        _checked("targets", alike, [*self.targets.values(), *([source] if source else [])])
        _checked("input", inputs.check, self.input)
        _check_options(self.input)
        _checked("network", models.check_network_ref, self.network)
        for arm in self.arms:
            _checked("arms", models.check_arm, arm)
            if arm != "random" and self.pretrained is None:
                raise ValueError(f"arms: '{arm}' needs weights to start from: add 'pretrained: ...'")
            _checked("recipe.lr", self.recipe.rates, arm)
            _checked("recipe.epochs", self.recipe.epochs_of, arm)
        by_arm = {"recipe.lr": self.recipe.lr, "recipe.epochs": self.recipe.epochs}
        by_arm |= {f"recipe.search.{k}": said for k, said in self.recipe.search.items()}
        for where, said in by_arm.items():
            for arm in said if isinstance(said, dict) else ():
                if arm != "transfuse":
                    _checked(where, models.check_arm, arm)
        try:
            self.recipe.check_optimiser("recipe")
            self.recipe.check_schedule("recipe")
            self.recipe.check_search("recipe")
            self.recipe.check_mixing("recipe")
        except UserError as error:
            raise ValueError(str(error)) from None
        self._check_origin()
        _checked("resources.executor", executors.check, self.resources.executor)
        if is_url(self.resources.store):
            _checked("resources.store", bucket.check, self.resources.store)
            if self.resources.store.startswith("memory:") and self.resources.executor != "inline":
                raise ValueError("resources.store: memory:// is of one process: it goes with executor: inline alone")
        if self.resources.compile and self.resources.gpus_per_run != 1:
            raise ValueError("resources.compile: what is compiled trains on one GPU; remove it, or gpus_per_run")
        for key, values in (("arms", self.arms), ("seeds", self.seeds)):
            if twice := sorted(str(v) for v, count in Counter(values).items() if count > 1):
                raise ValueError(f"{key}: {', '.join(twice)} is listed twice")
        if self.split.val <= 0 or self.split.val + self.split.test >= 1:
            raise ValueError("split: val must be above 0, and val + test below 1")
        if self.input != inputs.USUAL and "augment" in self.recipe.model_fields_set and self.recipe.augment is not None:
            raise ValueError(f"recipe.augment: it cuts images, and the input is {self.input}; remove it, or give null")
        if self.input != inputs.USUAL and self.recipe.prepare is not None:
            raise ValueError(f"recipe.prepare: it alters pictures, and the input is {self.input}; remove it")
        if self.recipe.table_jpeg is not None and self.input != inputs.USUAL:
            raise ValueError(f"recipe.table_jpeg: JPEGs hold pictures, and the input is {self.input}; remove it")
        if self.recipe.table_jpeg is not None and self.resources.table == "streamed":
            raise ValueError("recipe.table_jpeg: a streamed table keeps no squares (resources.table); remove one")
        if self.recipe.table_size is not None and self.recipe.table_size < self.image_size:
            raise ValueError(f"recipe.table_size: must be at least image_size ({self.image_size})")
        return self

    def _check_origin(self) -> None:
        how = self.pretrained
        if how is None:
            return
        if how.weights is not None:
            where = "pretrained.weights"
            ref = _checked(where, models.absolute_weights, how.weights, self.folder)
            _checked(where, models.check_weights_ref, ref, self.network)
        if how.source is not None:
            _checked("pretrained.source", lambda target: data.check_ref(self.reference(target)), how.source)
            try:
                self.pretraining_recipe()
            except UserError as error:
                raise ValueError(str(error).rstrip(".")) from None

    @classmethod
    def load(cls, path: Path | str, changes: Mapping[str, str] | None = None) -> Self:
        """Read a study file; `changes` are ``{"recipe.epochs": "3"}``, as by ``--set``. UserError in one sentence."""
        path = Path(path)
        raw, (_, *others) = extends.read(path)
        for key, value in (changes or {}).items():
            _set(raw, key, value)
        raw.pop("folder", None)
        if path.stem != "study":
            raw.setdefault("name", legible(path.stem))
        where = f"{path} (extends {', '.join(map(str, others))})" if others else str(path)
        return cls.parse(raw, where=where, folder=path.parent)

    @classmethod
    def parse(cls, raw: Mapping[str, Any], *, where: str = "study", folder: Path = Path()) -> Self:
        """A study from plain values. UserError in one sentence."""
        if raw.get("extends") is not None:
            raise UserError(f"{where}: extends: only a study file says what it extends; write it there.")
        if "growing" in raw:
            raise UserError(f"{where}: unknown key 'growing'; 'seeds: {{from: 3, to: 8}}' adds seeds one at a time.")
        try:
            seeds = _looks(raw["seeds"]) if isinstance(raw.get("seeds"), Mapping) else {}
            said = {"name": legible(folder.resolve().name) or "study", **raw, **seeds, "folder": folder}
            return cls.model_validate(said | settled(raw, where, folder))
        except ValidationError as error:
            raise UserError(explain(error, cls, where)) from None
        except ValueError as error:
            raise UserError(f"{where}: seeds: {error}.") from None

    def resolved(self) -> str:
        """The study as YAML with every default written out."""
        said = self.model_dump(mode="json")
        if self.growing is not None:
            said["seeds"] = dict(zip(("from", "to"), self.growing, strict=True))
        return yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=120)

    @property
    def store_place(self) -> str:
        """Where results lie, for `Store.at`: a path, or the address of a bucket."""
        said = self.resources.store
        return said if is_url(said) else str(self.folder / Path(said).expanduser())

    @property
    def store_folder(self) -> Path:
        """The folder of results; of those in a bucket, where this machine keeps what it has of them."""
        place = self.store_place
        return remote.folder(place) if is_url(place) else Path(place)

    @property
    def memo(self) -> Path:
        """Where facts about outside files are remembered (content hashes by path, size and date)."""
        return self.store_folder / "memo"

    def reference(self, target: Target) -> str:
        """What a source is asked for: a target's reference and options, its paths made absolute."""
        return data.absolute(target.reference, self.folder)

    def pretraining_recipe(self) -> Recipe:
        """The study's recipe with what `pretrained.recipe` changes. UserError for what no recipe has."""
        changed = self.pretrained.recipe if self.pretrained else {}
        kept = self.recipe.model_dump(exclude_unset=True, exclude={"search"})
        for key in changed:
            if key in Recipe.model_fields and key not in {"search", *Training.model_fields}:
                raise UserError(f"pretrained.recipe.{key}: all images are decoded alike; set recipe.{key}.")
        try:
            recipe = Recipe.model_validate({**kept, **changed})
        except ValidationError as error:
            raise UserError(explain(error, Recipe, "pretrained.recipe")) from None
        usual, other = self.recipe.optimizer, recipe.optimizer
        if other != usual and "lr" not in changed:
            raise UserError(f"pretrained.recipe.lr: the study's rates are those of {usual}; give '{other}' its own.")
        recipe.check_optimiser("pretrained.recipe")
        recipe.check_schedule("pretrained.recipe")
        recipe.check_mixing("pretrained.recipe")
        if len(recipe.rates("random")) > 1:
            raise UserError("pretrained.recipe.lr: pretraining takes one learning rate; give one number.")
        recipe.epochs_of("random")
        if recipe.search:
            raise UserError("pretrained.recipe.search: pretraining takes one value of everything; remove it.")
        return recipe


def _looks(said: Mapping[str, Any]) -> dict[str, Any]:
    """`{from: 3, to: 8}` as the seeds of the first look, and where looks begin and end. ValueError for others."""
    ends = said.get("from"), said.get("to")
    if set(said) != {"from", "to"} or not all(type(end) is int for end in ends):
        raise ValueError("a count, a list, or '{from: 3, to: 8}' with two whole numbers")
    first, last = int(said["from"]), int(said["to"])
    if not LEAST <= first < last <= MOST_PLANNED:
        raise ValueError(f"from {first} to {last} must begin at {LEAST} or more and rise to {MOST_PLANNED} at most")
    return {"seeds": tuple(range(first)), "growing": (first, last)}


def _check_options(text: str) -> None:
    """ValueError unless the kind of input takes the options of its text; one without options is not looked at."""
    name, given = registry.apart(text)
    try:
        if given:
            inputs.options(text)
    except UserError as error:
        raise ValueError(str(error)) from None
    except ValidationError as error:
        raise ValueError(explain(error, inputs.load(text).Options, f"input.{name}")) from None  # type: ignore[attr-defined]


def _checked(where: str, check: Any, *arguments: Any) -> Any:
    try:
        return check(*arguments)
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
    place[last] = yaml_text.read(value, f"--set {key}={value[:60]}")
