"""Augmentations: what happens to training images after crop and flip. One file each, with the name that a study says.

A file has a docstring that begins with its name, `Options` (a `strict.Strict` whose fields all have a default and a
help) and one of these two functions, torch and torchvision being imported inside it::

    def alter(options: Options) -> Callable[[Tensor], Tensor]                     one image: uint8 (3, S, S) to the same
    def mix(options: Options) -> Callable[[Tensor, Tensor], tuple[Tensor, float]]                 one image with another

`alter` makes what is done to single images, before they are normalised, in the order of the list. A file with
`FLOATS = True` takes images of targets of more `depth` as well, float32 (3, S, S) of grey values 0 to 255 with
fractions, and gives such; without it they are refused. `mix` makes what
blends an image with the next one of the epoch, both normalised, float (3, S, S), and says what share of the label stays
the image's own. Neither may change what it is given. What they draw comes from torch's global generator, or numpy's or
Python's: all are seeded for every image by the run's seed, the epoch and the image's row, so that neither the batch nor
a stop changes anything (`tasks.augmented`).

A file with `FIXED = True` draws nothing, so that `recipe.prepare` may list it: it is done in evaluation too.

A dotted path names anyone's module. It is identified by its name and its options: when its code changes so that images
change, give it a new name.
"""

from collections.abc import Mapping
from types import GenericAlias, ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError, WithJsonSchema

from transferscope import registry
from transferscope.errors import UserError, did_you_mean

Entry = dict[str, dict[str, Any]]  # a name and all of its options


def names() -> list[str]:
    """The augmentations that come with the project."""
    return list(registry.names(__name__))


def load(name: str) -> ModuleType:
    """The file, or anyone's module, `name`. UserError where there is none, or it is no augmentation."""
    if name not in names() and not registry.is_dotted(name):
        raise UserError(f"'{name}' is no augmentation; {registry.hint(__name__, name)}")
    found = registry.module(__name__, name, "", lambda why: f"'{name}' cannot be used ({why}).")
    if not hasattr(found, "Options") or hasattr(found, "alter") == hasattr(found, "mix"):
        raise UserError(f"'{name}' cannot be used (it needs a class 'Options' and a function 'alter' or 'mix').")
    return found


def mixes(name: str) -> bool:
    """Does it blend an image with another?"""
    return hasattr(load(name), "mix")


def takes_floats(name: str) -> bool:
    """Does it take images of more than 8 bits, as float32?"""
    return mixes(name) or bool(getattr(load(name), "FLOATS", False))


def fixed() -> list[str]:
    """Those that come with the project and draw nothing."""
    return [name for name in names() if getattr(load(name), "FIXED", False)]


def listed(value: Any) -> Any:
    """A name, or a name with options, alone is short for a list of it."""
    return (value,) if isinstance(value, str | Mapping) else tuple(value) if isinstance(value, list) else value


def settled(value: Any) -> Entry:
    """One entry of the list, `rotate` or `{rotate: {degrees: 15}}`, with all of its options. ValueError for others."""
    said = {value: {}} if isinstance(value, str) else value
    if not isinstance(said, Mapping) or len(said) != 1:
        raise ValueError("each is a name such as rotate, or one with options such as {rotate: {degrees: 15}}")
    ((name, options),) = said.items()
    if not isinstance(options, Mapping | None):
        raise ValueError(f"'{name}' takes a mapping from option to value")
    try:
        known = load(str(name)).Options
    except UserError as error:
        raise ValueError(str(error)) from None
    named: Any = GenericAlias(dict, (str, known))  # so that errors say the name
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(named)
    try:
        found = adapter.validate_python({name: options or {}})
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] != "extra_forbidden":
            raise  # which names the option
        hint = did_you_mean(str(first["loc"][-1]), tuple(known.model_fields))
        raise ValueError(f"'{name}' has no option '{first['loc'][-1]}'; {hint}") from None
    return {name: found[name].model_dump(mode="json")}


def in_order(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries, if those that mix come last. ValueError otherwise."""
    mixing = [mixes(name) for entry in entries for name in entry]
    if mixing != sorted(mixing):
        name = next(iter(entries[mixing.index(True)]))
        raise ValueError(f"'{name}' mixes images that are finished: list it after those that alter single ones")
    return entries


def _fixed(value: Any) -> Any:
    """A list of entries all of which draw nothing. ValueError for others."""
    if value is None:
        return None
    entries = listed(value)
    if not isinstance(entries, tuple) or not entries:
        raise ValueError("a list of names such as [equalize], or null")
    found = tuple(map(settled, entries))
    for entry in found:
        for name in entry:
            if not getattr(load(name), "FIXED", False):
                raise ValueError(f"'{name}' draws at random or blends images; list it under augment.then")
    return found


Fixed = Annotated[
    Any,
    BeforeValidator(_fixed),
    WithJsonSchema({"type": ["array", "string", "object", "null"]}),
    "list of names",
    "list of names with options",
    "`null`",
]
