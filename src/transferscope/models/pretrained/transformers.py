"""`transformers`: the weights beside the configuration of a `transformers:FOLDER` network, or `transformers:FOLDER`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError
from transferscope.input_shape import IMAGENET_MEAN, IMAGENET_STD
from transferscope.models.networks import parted
from transferscope.models.networks import transformers as networks

if TYPE_CHECKING:
    from torch import Tensor

FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, as processors say them


def own(rest: str, network: str) -> str:
    """The folder or name of the network, where the weights are named by their scheme alone."""
    scheme, name, _ = parted(network)
    return rest or (name if scheme == "transformers" else "")


def absolute(rest: str, folder: Path) -> str:
    """A folder with its whole path; a name of the hub as it is."""
    here = folder / Path(rest).expanduser()
    return str(here.absolute()) if (here / networks.FILE).is_file() else rest


def check(rest: str, network: str | None) -> None:
    """UserError unless the network is one of transformers', and the folder holds weights."""
    if network is None:
        return
    if parted(network)[0] != "transformers":
        raise UserError(f"'transformers' are weights for a transformers:FOLDER network, not {network}; use file:PATH.")
    files(rest, network)


def files(rest: str, network: str) -> list[Path]:
    """The files that hold the tensors, one or several."""
    where = _home(rest)
    first = next((where / name for name in FILES if (where / name).is_file()), None)
    if first is None:
        raise UserError(f"weights: {where} has no {FILES[0]}; save the network in it by save_pretrained.")
    if first.suffix != ".json":
        return [first]
    parts = sorted(set(networks.described(first).get("weight_map", {}).values()))
    if lost := [name for name in parts if not (where / name).is_file()]:
        raise UserError(f"weights: {where} lacks {lost[0]}, a part that {first.name} names; download it again.")
    return [where / name for name in parts]


def fingerprint(rest: str, network: str) -> str:
    """Hash of the tensors in the files: the same for every format and number of files."""
    from transferscope.models.checkpoint import read_state
    from transferscope.models.weights import fingerprint_state

    return fingerprint_state({n: t for file in files(rest, network) for n, t in read_state(file).items()})


def describe(rest: str, network: str) -> dict[str, Any]:
    """What the folder's processor does to pixels in [0, 1]: mean, std and resampling; ImageNet's without one, which
    networks of texts are not fed by."""
    where = _home(rest)
    said = networks.preprocessing(where)
    source = f"weights of {where.name if Path(rest).expanduser().is_dir() else rest}"
    if not said and networks.reads_texts(parted(network)[1]):
        return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bicubic", "source": source}
    if not said:
        source += ", which brings no preprocessor_config.json: ImageNet mean and std"
        return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bicubic", "source": source}
    mean, std = said.get("image_mean") or IMAGENET_MEAN, said.get("image_std") or IMAGENET_STD
    if said.get("do_normalize") is False:
        mean, std = [0.0] * len(mean), [1.0] * len(std)
    # A pixel of 8 bits times the factor (less one with an offset) is what mean and std are said of.
    factor = 255 * (said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0)
    shift = 1.0 if said.get("rescale_offset") else 0.0
    if not math.isclose(factor, 1.0, rel_tol=1e-6) or shift:
        mean, std = [(m + shift) / factor for m in mean], [s / factor for s in std]
    usual = RESAMPLING.get(said.get("resample", 2), "bicubic")
    return {"mean": tuple(mean), "std": tuple(std), "interpolation": usual, "source": source}


def state(rest: str, network: str) -> "dict[str, Tensor]":
    """The tensors under the names of the library's release that is installed, by its own conversion.

    Those that the files lack, or hold in another shape, are left out, and so is what a network pools texts with, where
    it pools them otherwise (`pooling`).
    """
    where, (_, kind, options) = _home(rest), parted(network)
    files(rest, network)
    try:
        found = networks.filled(networks.classifier(kind), where, local_files_only=True, dtype="float32")
    except Exception as error:  # the library raises many kinds for what it cannot read
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"weights: {where} cannot be loaded by transformers ({reason}); use file:PATH.") from error
    return {name: tensor for name, tensor in found.items() if "pooling" not in options or ".pooler." not in name}


def _home(rest: str) -> Path:
    where = networks.home(rest, Path()) if rest else None
    if where is None:
        raise UserError(
            f"weights: 'transformers:{rest}' names no folder with weights; name one, or a network in the hub's cache."
        )
    return where
