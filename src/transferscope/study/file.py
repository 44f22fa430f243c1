"""The study file: what its YAML says, as a strict, frozen model; nothing is looked up yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from transferscope import data, models
from transferscope.data import Target
from transferscope.engine import executors
from transferscope.errors import UserError
from transferscope.study.explain import explain
from transferscope.study.schema import Arms, Chosen, Origin, Part, Recipe, Resources, Seeds, Split, Targets


class StudyFile(Part):
    """One study: targets x arms x seeds, a recipe, and the analyses to run on them."""

    name: str = "study"
    """The title of the report; the name of the file's folder when left out."""
    targets: Targets
    """The images to train on, by a name of yours; a list of references, or a single one, is fine too."""
    image_size: Annotated[int, Field(ge=8)] = 64
    """Side in pixels of what the network sees."""
    network: str
    """`timm:NAME`, `torchvision:NAME`, or `package.module:factory`, your own function taking `num_classes` and
    returning a network from images of three channels to one tensor of logits."""
    pretrained: Origin = None
    """Where the pretrained weights come from; a text is short for `{weights: ...}`, and null leaves only the arm
    `random`."""
    arms: Arms = ("random", "pretrained")
    """The starts to compare: `random`; `pretrained`; the controls `stats` (every tensor redrawn with the pretrained
    mean and variance), `permuted` (the pretrained values shuffled within each tensor), `transfuse:K` and
    `transfuse:K+stats` (pretrained up to block K)."""
    seeds: Seeds = (0, 1)
    """The replicas of every arm: a count (the first so many, from 0), or a list."""
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
        _checked("network", models.check_network_ref, self.network)
        for arm in self.arms:
            _checked("arms", models.check_arm, arm)
            if arm != "random" and self.pretrained is None:
                raise ValueError(f"arms: '{arm}' needs weights to start from: add 'pretrained: ...'")
            _checked("recipe.lr", self.recipe.rates, arm)
        for arm in self.recipe.lr if isinstance(self.recipe.lr, dict) else ():
            if arm != "transfuse":
                _checked("recipe.lr", models.check_arm, arm)
        try:
            self.recipe.check_optimiser("recipe")
        except UserError as error:
            raise ValueError(str(error)) from None
        self._check_origin()
        _checked("resources.executor", executors.check, self.resources.executor)
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
    def parse(cls, raw: Mapping[str, Any], *, where: str = "study", folder: Path = Path()) -> Self:
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

    def reference(self, target: Target) -> str:
        """What a source is asked for: a target's reference and options, its paths made absolute."""
        return data.absolute(target.reference, self.folder)

    def pretraining_recipe(self) -> Recipe:
        """The study's recipe with what `pretrained.recipe` changes. UserError for what no recipe has."""
        changed = self.pretrained.recipe if self.pretrained else {}
        kept = self.recipe.model_dump(exclude_unset=True)
        try:
            recipe = Recipe.model_validate({**kept, **changed})
        except ValidationError as error:
            raise UserError(explain(error, Recipe, "pretrained.recipe")) from None
        usual, other = self.recipe.optimizer, recipe.optimizer
        if other != usual and "lr" not in changed:
            raise UserError(f"pretrained.recipe.lr: the study's rates are those of {usual}; give '{other}' its own.")
        recipe.check_optimiser("pretrained.recipe")
        if len(recipe.rates("random")) > 1:
            raise UserError("pretrained.recipe.lr: pretraining takes one learning rate; give one number.")
        return recipe


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
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {key}={value}: the value is not valid YAML.") from None
