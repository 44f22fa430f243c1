"""Kinds of input: what the examples of a source become in a table, and what a network is fed. One file each.

The file name is what the study's `input` says. A file has a docstring that begins with its name, and these functions;
torch and pictures are imported inside them::

    def table(source: Outside, asked: Asked) -> Step             the step that makes the table, a task of the same file
    def examples(params: Mapping) -> {"train": Example, "eval": Example}         what one input is like, from its step
    def stored_bytes(params: Mapping) -> int                                     of one example in the table
    def look(listing: Listing, params: Mapping) -> list[str]    what `check` finds by opening some; UserError if unfit
    def open_table(folder: Path) -> Table                       what the task wrote: a `data.table.Table` of its own
    def training(table, rows, labels, run: Run, *, epoch, start, device) -> Epoch             the batches of one epoch
    def evaluation(table, rows, labels, fed: Fed, *, batch_size, device) -> Iterator[Batch]   in the order of `rows`

A file may have a model `Options`, what `input: {NAME: {KEY: VALUE}}` may say, which `Asked` brings; those named in
`TRAINING` are told to the runs, as `run.input`. `UNAUGMENTED` is True where no run is told of `recipe.augment`, which
nothing goes by. `blocks(example) -> list[int]` lists what blocks a shuffle can move.

A file may have three more. What is frozen is computed once where the first is a number, and None is its answer where
it is not there; the second is the order in which evaluation of some rows is quickest, where inputs differ in length;
the third completes the options of `input` with what lies beside the study's network or weights::

    def looks(run: Run) -> int | None        after how many epochs training gives every input as before, by turns
    def quickest(table: Table, rows: ndarray) -> ndarray                      places (m,) of the `rows` (m,), each once
    def settled(options: Mapping, network: str, weights: str | None, folder: Path) -> dict

`table.json` in the folder of a table names its kind. Batches are (inputs, labels, rows). Inputs are tensors whose first
axis is the batch; what they hold depends on the seed, the epoch and the row alone, never on the rest of the batch, and
evaluation gives the same every time: images and arrays as float32, tokens of texts as int64, where what is below 0 is
padding, of which a training batch may hold less. A block of `run.shuffle` destroys structure in whatever way the kind
has; a kind without one says so in a UserError.

A dotted path names anyone's module.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from transferscope import registry
from transferscope.data.table import content_of
from transferscope.errors import UserError
from transferscope.strict_models import Strict

if TYPE_CHECKING:
    import numpy as np

    from transferscope.data.epoch_order import Batch
    from transferscope.data.listing import Listing
    from transferscope.data.table import Table
    from transferscope.engine.step import Outside, Step
    from transferscope.input_shape import Example
    from transferscope.tasks.recipe import Recipe, Run

USUAL = "images"  # what every table held before there was a choice
FUNCTIONS = ("table", "examples", "stored_bytes", "look", "open_table", "training", "evaluation")


@dataclass(frozen=True)
class Asked:
    """What a study says of its inputs: `preprocessing` is what its pretrained weights expect (`mean`, `std`, ...)."""

    image_size: int
    recipe: "Recipe"
    preprocessing: Mapping[str, Any]
    val: float
    test: float
    split_seed: int
    options: Strict | None = None


@dataclass(frozen=True)
class Fed:
    """How a network is fed: less the `mean` and over the `std` of every channel, `shuffle`d as `seed` has it, pictures
    after what the recipe does to `prepare` them. With `trimmed` a batch of texts is as long as its longest, for passes
    that only ask for answers."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    shuffle: Mapping[str, Any] | None = None
    seed: int = 0
    prepare: "Sequence[dict[str, dict[str, Any]]] | None" = None
    trimmed: bool = False


class Batches(Sized, Iterable["Batch"], Protocol):
    """The batches of an epoch that are still to come."""


class Kind(Protocol):
    """A kind of inputs: see above."""

    __name__: str

    def table(self, source: "Outside", asked: Asked) -> "Step": ...

    def examples(self, params: Mapping[str, Any]) -> "dict[str, Example]": ...

    def stored_bytes(self, params: Mapping[str, Any]) -> int: ...

    def look(self, listing: "Listing", params: Mapping[str, Any]) -> list[str]: ...

    def open_table(self, folder: Path) -> "Table": ...

    def training(
        self, table: Any, rows: "np.ndarray", labels: "np.ndarray", run: "Run", *, epoch: int, start: int, device: str
    ) -> Batches: ...

    def evaluation(
        self, table: Any, rows: "np.ndarray", labels: "np.ndarray", fed: Fed, *, batch_size: int, device: str
    ) -> "Iterator[Batch]": ...


def names() -> list[str]:
    """The kinds that come with the project."""
    return list(registry.names(__name__))


def written(said: Any) -> Any:
    """The text of an input as a study file says it: a name, or a mapping from one name to its options.

    What is neither comes back as it is.
    """
    if not isinstance(said, Mapping):
        return said
    ((name, options),) = said.items() if len(said) == 1 else [(None, None)]
    if not isinstance(name, str) or not isinstance(options, Mapping | None):
        raise ValueError("write one kind of input, or a mapping from it to its options")
    try:
        return registry.joined(name, options or {})
    except TypeError:
        raise ValueError("options are numbers, texts, lists or mappings") from None


def said(text: str) -> str | dict[str, Any]:
    """An input as a study file writes it: what `written` takes."""
    name, options = registry.apart(text)
    return {name: options} if options else name


def options(text: str) -> Strict | None:
    """What an input's text says of its options, with their defaults; None where the kind has none.

    UserError where a kind without options is given some, ValidationError where they do not fit.
    """
    name, given = registry.apart(text)
    model = getattr(load(name), "Options", None)
    if model is None:
        if given:
            raise UserError(f"input: '{name}' takes no options; write input: {name}.")
        return None
    return cast(Strict, model.model_validate(given))


def for_training(text: str) -> dict[str, Any] | None:
    """The options of an input that training runs are told, where they are not the usual ones."""
    found = options(text)
    kind = load(text)
    given = {} if found is None else found.model_dump(include=set(getattr(kind, "TRAINING", ())), exclude_defaults=True)
    return given or None


def settled(text: str, network: str, weights: str | None, folder: Path) -> str:
    """An input's text with all in it that lies beside the network or the weights of a study file in `folder`."""
    name, given = registry.apart(text)
    if name not in names() or not hasattr(kind := load(name), "settled"):
        return text
    return registry.joined(name, kind.settled(given, network, weights, folder))


def check(name: str) -> None:
    """UserError unless `name` is one of them, or looks like somebody's module; its options aside."""
    name, _ = registry.apart(name)
    if name not in names() and not registry.is_dotted(name):
        raise UserError(f"'{name}' is no kind of input; {registry.hint(__name__, name)}")


def load(name: str) -> Kind:
    """The kind `name`, options aside. UserError where there is none."""
    check(name)
    name, _ = registry.apart(name)
    found = registry.module(__name__, name, "input", lambda why: f"'{name}' cannot be used ({why}).")
    if absent := [one for one in FUNCTIONS if not hasattr(found, one)]:
        raise UserError(f"input: '{name}' cannot be used (it has no function '{absent[0]}').")
    return cast(Kind, found)


def of_step(step: "Step") -> Kind:
    """The kind of the table that a step makes: the file that its task is written in."""
    return load(step.call.partition(":")[0].removeprefix(f"{__name__}."))


def of_table(folder: Path) -> Kind:
    """The kind of the table in a folder."""
    return load(content_of(folder).get("kind", USUAL))


def looks(kind: Kind, run: "Run") -> int | None:
    """After how many epochs training gives every input as before, by turns; None where it never does, as with mixup."""
    found: Callable[[Run], int | None] | None = getattr(kind, "looks", None)
    return None if found is None or run.mixup > 0 else found(run)


def quickest(kind: Kind, table: "Table", rows: "np.ndarray") -> "np.ndarray | None":
    """The places of `rows` (m,) in the order in which evaluation is quickest; None where that makes no difference."""
    found: Callable[[Table, np.ndarray], np.ndarray] | None = getattr(kind, "quickest", None)
    return None if found is None else found(table, rows)


def open_table(folder: Path) -> "Table":
    """The table in a folder, whatever its kind."""
    return of_table(folder).open_table(folder)
