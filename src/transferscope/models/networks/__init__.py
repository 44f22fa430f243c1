"""Where networks come from: one file per scheme (`timm:NAME`), or anyone's `package.module:factory`.

A scheme file has a one-line docstring, `check(name)` (cheap, no torch), `build(name, classes)` (an `nn.Module`) and
`EXAMPLE`, a small network's name, which the tests build.
"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transferscope import registry
from transferscope.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from torch import nn


def network_schemes() -> tuple[str, ...]:
    """The schemes shipped here."""
    return registry.names(__name__)


def network_names() -> dict[str, str]:
    """The schemes and their first docstring lines."""
    return registry.lines(__name__)


def check_network_ref(ref: str) -> None:
    """Raise UserError unless `ref` is well formed and of a known scheme; whether it exists is seen at build time."""
    scheme, name = registry.split(ref)
    known = network_schemes()
    if scheme in known:
        if not name:
            raise UserError(f"'{ref}' lacks a name after '{scheme}:'.")
        registry.module(__name__, scheme, "network").check(name)
    elif name and ("." in scheme or registry.is_importable(scheme)):
        registry.need(scheme, ref)
        if not name.isidentifier():
            raise UserError(f"'{name}' in '{ref}' is not the name of a function.")
    elif ":" not in ref:
        raise UserError(f"'{ref}' lacks its scheme; write timm:{ref} or package.module:factory.")
    else:
        raise UserError(f"'{scheme}' in '{ref}' is not a known scheme; {registry.hint(__name__, scheme)}")


def make_network(ref: str, classes: int) -> "nn.Module":
    """The network of a ref, initialised from the random state of the moment (`build.build_network` fixes it).

    A factory of one's own is called as `factory(num_classes=classes)`. Raises UserError, also for what it raises.
    """
    check_network_ref(ref)
    scheme, name = registry.split(ref)
    module = registry.module(__name__, scheme, "network")
    if scheme in network_schemes():
        shipped: nn.Module = module.build(name, classes)
        return shipped
    factory = getattr(module, name, None)
    if not callable(factory):
        public = [n for n in vars(module) if not n.startswith("_") and callable(getattr(module, n))]
        raise UserError(f"network: '{scheme}' has no function '{name}'; {did_you_mean(name, public)}")
    try:
        inspect.signature(factory).bind(num_classes=classes)
    except TypeError:
        raise UserError(
            f"network: '{ref}' takes ({_arguments(factory)}), but is called as {name}(num_classes={classes}): name its "
            "argument num_classes, and give every other one a default."
        ) from None
    except ValueError:  # a builtin, whose signature is not known
        pass
    try:
        net: nn.Module = factory(num_classes=classes)
    except UserError:
        raise
    except Exception as error:  # whatever somebody's code raises
        raise UserError(
            f"network: '{ref}' raised {registry.told(error)} when called with num_classes={classes}."
        ) from error
    return net


def _arguments(factory: Callable[..., Any]) -> str:
    return str(inspect.signature(factory)).partition(")")[0].lstrip("(")
