"""Where pretrained weights come from: one file per scheme (`timm`, `package:NAME`, `file:PATH`), or anyone's module.

A scheme file has a one-line docstring and four functions of (rest, network ref): `check` (cheap; the network may be
None), `fingerprint` (text that changes whenever the tensors do, for keys), `describe` (mean, std, interpolation,
source) and `state` (name to tensor). One whose `fingerprint` is slow adds `files` (the paths it reads), so that the
answer can be kept until a file changes; one whose rest holds a path adds `absolute(rest, folder)`, and one that stands
alone for the weights beside a network's description `own(rest, network)`, the rest that says where they are. `EXAMPLE`
is a rest and a network whose weights are there without a download, if there are such: the tests ask for them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope import registry
from transferscope.errors import UserError
from transferscope.input_shape import IMAGENET_MEAN, IMAGENET_STD
from transferscope.models.memo import remembered

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

FILES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pyth", ".safetensors", ".tar"})  # how files of weights end
PLAIN_PREPROCESSING = {
    "mean": list(IMAGENET_MEAN),
    "std": list(IMAGENET_STD),
    "interpolation": "bicubic",
    "source": "no pretrained weights: ImageNet mean and std",
}


def weights_schemes() -> tuple[str, ...]:
    """The schemes shipped here."""
    return registry.names(__name__)


def weights_names() -> dict[str, str]:
    """The schemes and their first docstring lines."""
    return registry.lines(__name__)


def absolute_weights(ref: str, folder: Path) -> str:
    """`ref` with a relative path made to start at `folder`, where its source says that it holds one."""
    scheme, rest = registry.split(ref)
    if not rest or not (scheme in weights_schemes() or ("." in scheme and registry.is_importable(scheme))):
        return ref
    module = _module(scheme)
    return f"{scheme}:{module.absolute(rest, folder)}" if hasattr(module, "absolute") else ref


def own_weights(ref: str, network: str) -> str:
    """`ref`, or where it means the network's own weights by its scheme alone, the reference that says which they are.

    `network` is as a study file writes it; a source that wants this has `own(rest, network)`.
    """
    scheme, rest = registry.split(ref)
    module = _module(scheme) if scheme in weights_schemes() else None
    return f"{scheme}:{module.own(rest, network)}" if module is not None and hasattr(module, "own") else ref


@registry.at_home()
def check_weights_ref(ref: str, network: str | None = None) -> None:
    """Raise UserError unless `ref` has a known scheme and is well formed; torch is not loaded here.

    Anyone's own module is imported and asked too. With `network` also unless the weights are there and fit that
    network, as far as can be seen without opening them.
    """
    scheme, rest = registry.split(ref)
    if scheme in weights_schemes():
        _module(scheme).check(rest, network)
    elif not rest and ("/" in scheme or Path(scheme.partition("#")[0]).suffix in FILES):
        raise UserError(f"'{ref}' is not a known source of weights; did you mean 'file:{ref}'?")
    elif "." not in scheme:
        raise UserError(f"'{ref}' is not a known source of weights; {registry.hint(__name__, scheme)}")
    else:
        registry.need(scheme, ref)
        module = _module(scheme)
        absent = [name for name in ("fingerprint", "describe", "state") if not hasattr(module, name)]
        if absent:
            raise UserError(f"the module '{scheme}' of '{ref}' has no function '{absent[0]}(rest, network)'.")
        if hasattr(module, "check"):
            module.check(rest, network)


@registry.at_home()
def weights_fingerprint(ref: str, network: str, memo: Path | None = None) -> str:
    """Text that identifies the values of the weights, for the key of a step; slow answers are kept in folder `memo`."""
    module, rest = _checked(ref, network)
    if not hasattr(module, "files"):
        return str(module.fingerprint(rest, network))
    question = ["values", ref, network]
    answer, files = (lambda: module.fingerprint(rest, network)), (lambda: module.files(rest, network))
    return str(remembered(memo, question, answer, files))


@registry.at_home()
def describe_weights(ref: str, network: str, memo: Path | None = None, there: bool = True) -> dict[str, Any]:
    """`mean` and `std` (per channel, for pixels in [0, 1]), `interpolation` (a name) and `source` (a sentence).

    UserError where the weights are not there, unless they need not be (`there`).
    """
    module, rest = _checked(ref, network if there else None)

    def describe() -> dict[str, Any]:
        found: dict[str, Any] = module.describe(rest, network)
        return found | {"mean": list(found["mean"]), "std": list(found["std"])}

    if not hasattr(module, "files"):
        return describe()
    return dict(remembered(memo, ["describe", ref, network], describe, list))


@registry.at_home()
def weights_state(ref: str, network: str) -> "Mapping[str, Tensor]":
    """The tensors by name, in the naming of `network` or as a file keeps them (see `models.names`), on the CPU."""
    module, rest = _checked(ref, network)
    state: Mapping[str, Tensor] = module.state(rest, network)
    return state


def _module(scheme: str) -> "ModuleType":
    return registry.module(__name__, scheme, "weights")


def _checked(ref: str, network: str | None) -> "tuple[ModuleType, str]":
    check_weights_ref(ref, network)
    scheme, rest = registry.split(ref)
    return _module(scheme), rest
