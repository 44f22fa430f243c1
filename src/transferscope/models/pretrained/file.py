"""`file:PATH`: weights in a file of tensors or a folder of `save_pretrained`; `#teacher` after it: a part."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope import registry
from transferscope.errors import UserError
from transferscope.input_shape import IMAGENET_MEAN, IMAGENET_STD
from transferscope.models import networks, shards

if TYPE_CHECKING:
    from transferscope.models.checkpoint import Contents

CLASSES = 10  # of the head of a network that is built only to see how weights fit its body


def check(rest: str, network: str | None) -> None:
    """UserError unless a path is given and, with a network, the file is there and may be read."""
    if not rest:
        raise UserError("'file:' lacks a path, e.g. file:weights.safetensors.")
    if network is not None and (why := shards.unreadable(place(rest)[0])):
        raise UserError(f"weights: {why}.")


def place(rest: str) -> tuple[Path, str]:
    """The path, and what follows a # in it; a file whose name has a # comes before that reading."""
    whole = Path(rest).expanduser()
    if "#" not in rest or whole.exists():
        return whole, ""
    path, _, fragment = rest.rpartition("#")
    return Path(path).expanduser(), fragment


def absolute(rest: str, folder: Path) -> str:
    """The same file with a relative path starting from `folder`."""
    return str((folder / Path(rest).expanduser()).absolute())


def files(rest: str, network: str) -> list[Path]:
    """The file itself; of shards and folders every file that is read."""
    return shards.files(place(rest)[0])


def fingerprint(rest: str, network: str) -> str:
    """Hash of the tensors (names, dtypes, shapes, bytes): the same for every file format that holds them.

    Where they are renamed or adapted on their way into the body, it is that of the tensors that arrive there.
    """
    from transferscope.models.weights import fingerprint_state

    given = state(rest, network)
    return fingerprint_state(_arriving(given, network) or given)


def _arriving(given: "Contents", network: str) -> "dict[str, Any]":
    """The tensors as the body gets them, where that is not as they are in the file; {} also for those it refuses."""
    from transferscope.models.build import build_network, head_names
    from transferscope.models.loading import fit
    from transferscope.models.names import NoSuchPartError

    try:
        net = build_network(network, CLASSES, seed=0)
        found, loaded = fit(net, given, head=head_names(net, CLASSES), min_share=0.0, allow=("*",))
    except NoSuchPartError:
        raise
    except Exception:  # a network that cannot be built, weights that it refuses: `check` and the run will say so
        return {}
    return found if loaded.renamed or loaded.adapted else {}


def describe(rest: str, network: str) -> dict[str, Any]:
    """timm's preprocessing for the architecture where the network is timm's, that of its library where its scheme knows
    one, else ImageNet mean and std, bicubic."""
    shown: dict[str, Any] = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bicubic"}
    scheme, name = registry.split(network)
    if scheme == "timm":
        with contextlib.suppress(UserError):
            from transferscope.models.pretrained import timm as hub

            shown = hub.describe("", f"timm:{name}")
    elif scheme in networks.network_schemes():
        shown |= networks.normalisation(network)
    return shown | {"source": f"weights from the file {Path(rest).name}"}


def state(rest: str, network: str) -> "Contents":
    """The tensors under the names of the file; `names.choose` sees to prefixes."""
    from transferscope.models.checkpoint import read_state

    return read_state(*place(rest))
