"""Where networks come from: one file per scheme (`timm:NAME`), or anyone's `package.module:factory`.

A scheme file has a one-line docstring, `check(name)` (cheap, no torch), `build(name, classes, **options)` (an
`nn.Module`; without `**options` where there is nothing to choose) and `EXAMPLE`, a small network's name, which the
tests build. `OURS` may list keyword arguments that the study decides, `LIBRARY` names the distribution whose code the
networks are where that is neither timm nor torchvision. One whose networks are described by files
outside adds `settled(name, options, folder)`: name and options that say all that the files do, so that equal networks
have equal texts wherever the files lie; and `size(name, folder)`, the pixels that such a network is meant for, or None.
`normalisation(name)` is there where all networks of the scheme are fed alike; `READS` where that example reads "texts".
Where networks may take the options of `DROPS` without effect, `drops(net, key, rate)` says whether they drop anything.

A network and its options travel as one text, `timm:NAME?{"img_size":32}`; one without options is the plain reference.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope import registry
from transferscope.errors import UserError, did_you_mean, reason
from transferscope.models.options import called

if TYPE_CHECKING:
    from torch import nn

DROPS = {"drop_path": "drop_path_rate", "dropout": "drop_rate"}  # keys of a recipe, and what timm's networks call them


def network_schemes() -> tuple[str, ...]:
    """The schemes shipped here."""
    return registry.names(__name__)


def network_names() -> dict[str, str]:
    """The schemes and their first docstring lines."""
    return registry.lines(__name__)


def written(network: Any) -> Any:
    """The text of a network as a study file says it: a reference, or a mapping of `ref` and `options`.

    What is neither comes back as it is. Raises UserError for other keys, and for options that JSON does not know.
    """
    if not isinstance(network, Mapping):
        return network
    if odd := [str(key) for key in network if key not in ("ref", "options")]:
        raise UserError(f"network: unknown key '{odd[0]}'; {did_you_mean(odd[0], ('ref', 'options'))}")
    ref, options = network.get("ref"), network.get("options") or {}
    if not isinstance(ref, str) or not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise UserError("network: write {ref: timm:NAME, options: {KEY: VALUE}}, the options of its factory by name.")
    own, more = registry.apart(ref)
    try:
        return registry.joined(own, {**more, **options})
    except TypeError:
        raise UserError("network.options: the values must be numbers, texts, lists or mappings.") from None


def said(network: str) -> str | dict[str, Any]:
    """A network as a study file writes it: what `written` takes."""
    ref, options = registry.apart(network)
    return {"ref": ref, "options": options} if options else network


def in_words(network: str, most: int = 3) -> str:
    """A network for a sentence: its reference, and its first options."""
    ref, options = registry.apart(network)
    shown = [f"{key} {value}" for key, value in options.items() if not isinstance(value, Mapping)]
    return ref + (f" ({', '.join(shown[:most])}{', ...' if len(shown) > most else ''})" if shown else "")


def settled(network: str, folder: Path) -> str:
    """The network with all in its text that files outside (relative to `folder`) say of it; most are as they were."""
    scheme, name, options = parted(network)
    module = _shipped(scheme)
    if module is None or not hasattr(module, "settled"):
        return network
    name, options = module.settled(name, options, folder)
    return registry.joined(f"{scheme}:{name}", options)


def meant_for(network: str, folder: Path) -> int | None:
    """The side in pixels that files outside say the network is meant for, if any do; before it is `settled`."""
    scheme, name, _ = parted(network)
    module = _shipped(scheme)
    return module.size(name, folder) if module is not None and hasattr(module, "size") else None


def library(network: str) -> str | None:
    """Name and version of what a network's code is from; None for timm, torchvision and code of one's own."""
    module = _shipped(parted(network)[0])
    name = getattr(module, "LIBRARY", None)
    return None if name is None else f"{name} {metadata.version(name)}"


def parted(network: str) -> tuple[str, str, dict[str, Any]]:
    """Scheme, name and options of a network's text."""
    ref, options = registry.apart(network)
    return *registry.split(ref), options


def check_network_ref(ref: str) -> None:
    """Raise UserError unless it is well formed and of a known scheme; whether it exists is seen at build time."""
    (scheme, name, options), known = parted(ref), network_schemes()
    ref = registry.apart(ref)[0]
    if scheme in known:
        if not name:
            raise UserError(f"'{ref}' lacks a name after '{scheme}:'.")
        module = registry.module(__name__, scheme, "network")
        module.check(name)
        if ours := [key for key in options if key in getattr(module, "OURS", ())]:
            raise UserError(f"network.options.{ours[0]}: the study decides it; remove it.")
    elif name and ("." in scheme or registry.is_importable(scheme)):
        registry.need(scheme, ref)
        if not name.isidentifier():
            raise UserError(f"'{name}' in '{ref}' is not the name of a function.")
        if "num_classes" in options:
            raise UserError("network.options.num_classes: the study decides it; remove it.")
    elif ":" not in ref:
        raise UserError(f"'{ref}' lacks its scheme; write timm:{ref} or package.module:factory.")
    else:
        raise UserError(f"'{scheme}' in '{ref}' is not a known scheme; {registry.hint(__name__, scheme)}")


def normalisation(network: str) -> dict[str, Any]:
    """What the library of a network says of its images, whatever the weights: mean, std, interpolation; {} where it
    says nothing. The network is one of the schemes shipped here."""
    scheme, name, _ = parted(network)
    said = getattr(registry.module(__name__, scheme, "network"), "normalisation", None)
    return {} if said is None else dict(said(name))


def no_drops(key: str, ref: str) -> UserError:
    """What to say of a network that cannot drop what the recipe's `key` asks for."""
    return UserError(f"recipe.{key}: '{ref}' takes no {DROPS[key]}; remove the key, or leave it at 0.")


@registry.at_home()
def make_network(network: str, classes: int, drops: Mapping[str, float] | None = None) -> "nn.Module":
    """The network of a text, initialised from the random state of the moment (`build.build_network` fixes it).

    A factory of one's own is called as `factory(num_classes=classes, **options)`. What is dropped in training (`drops`,
    rates by the keys of `DROPS`) are options by timm's names. Raises UserError, also for what it raises, naming the
    option or the key of the recipe at fault.
    """
    check_network_ref(network)
    scheme, name, options = parted(network)
    ref = f"{scheme}:{name}"
    options = {**options, **{DROPS[key]: rate for key, rate in (drops or {}).items()}}
    module = registry.module(__name__, scheme, "network")
    if scheme in network_schemes():
        try:
            shipped: nn.Module = called(lambda **how: module.build(name, classes, **how), module.build, options, ref)
        except UserError as error:
            raise _of_drops(error, drops, ref) from None
        for key, rate in (drops or {}).items():
            if hasattr(module, "drops") and not module.drops(shipped, key, rate):
                raise no_drops(key, ref)
        return shipped
    factory = getattr(module, name, None)
    if not callable(factory):
        public = [n for n in vars(module) if not n.startswith("_") and callable(getattr(module, n))]
        raise UserError(f"network: '{scheme}' has no function '{name}'; {did_you_mean(name, public)}")
    try:
        inspect.signature(factory).bind(num_classes=classes, **options)
    except TypeError:
        if not options or "num_classes" not in inspect.signature(factory).parameters:
            raise UserError(
                f"network: '{ref}' takes ({_arguments(factory)}), but is called as {name}(num_classes={classes}): name "
                "its argument num_classes, and give every other one a default."
            ) from None
    except ValueError:  # a builtin, whose signature is not known
        pass
    try:
        net: nn.Module = called(lambda **how: factory(num_classes=classes, **how), factory, options, ref)
    except UserError as error:
        raise _of_drops(error, drops, ref) from None
    except Exception as error:  # whatever somebody's code raises
        raise UserError(f"network: '{ref}' raised {reason(error)} when called with num_classes={classes}.") from error
    return net


def _of_drops(error: UserError, drops: Mapping[str, float] | None, ref: str) -> UserError:
    """The same error in the recipe's words, where an option that came from there is at fault."""
    found = (key for key in drops or {} if f"network.options.{DROPS[key]}:" in str(error))
    return next((no_drops(key, ref) for key in found), error)


def _shipped(scheme: str) -> Any:
    return registry.module(__name__, scheme, "network") if scheme in network_schemes() else None


def _arguments(factory: Callable[..., Any]) -> str:
    return str(inspect.signature(factory)).partition(")")[0].lstrip("(")
