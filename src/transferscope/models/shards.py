"""The files that hold one network: a file itself, or those that a folder of `save_pretrained` or an index names."""

import json
import re
from pathlib import Path
from typing import Any

from transferscope.models import formats

# What `save_pretrained`, accelerate and timm's `save_for_hf` write into a folder, in the order transformers looks.
MAIN = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
SECOND = re.compile(r"(model|pytorch_model)_\d+\.(safetensors|bin)")  # accelerate's, of further networks
SHARD = re.compile(r"(.+)-\d+-of-(\d+)(\.safetensors|\.bin)")


def parts(path: Path) -> tuple[Path, dict[str, str]]:
    """The file to read for `path`, and where that is an index of shards: the name of the file that holds each tensor.

    Of a folder it is the file that transformers would take; the folder itself where there is no such file, or several
    networks that accelerate saved side by side.
    """
    if path.is_dir():
        inside = next((path / name for name in MAIN if (path / name).is_file()), None)
        if inside is None or any(SECOND.fullmatch(file.name) for file in path.iterdir()):
            return path, {}
        path = inside
    return path, _weight_map(path)


def files(path: Path) -> list[Path]:
    """Everything whose change may change what is read for `path`."""
    file, held = parts(path)
    return list(dict.fromkeys([path, file, *(file.with_name(name) for name in held.values())]))


def unreadable(path: Path) -> str | None:
    """Why there are no weights to read at `path`: what `formats.unreadable` says, also of a shard; None where there
    are."""
    if shard := SHARD.fullmatch(path.name):
        index = path.with_name(f"{shard[1]}{shard[3]}.index.json")
        if int(shard[2]) > 1 and index.exists():
            return f"'{path}' is one of {int(shard[2])} parts of a network; give file:{index}, or the folder"
    file, held = parts(path)
    shards = [file.with_name(name) for name in dict.fromkeys(held.values())]
    if absent := [shard for shard in shards if not shard.exists()]:
        lost = f"{len(absent)} of the {len(shards)} files with weights that its index names"
        return f"'{path}' lacks {lost} ('{absent[0].name}' is one); download or copy the whole folder again"
    return next((why for why in map(formats.unreadable, [file, *shards]) if why), None)


def architecture(path: Path) -> str:
    """What the folder's config.json says was saved ("ViTForImageClassification"); "" where none says so."""
    config = _json((path if path.is_dir() else path.parent) / "config.json")
    kinds = config.get("architectures")
    return str(kinds[0]) if isinstance(kinds, list) and kinds else ""


def _weight_map(path: Path) -> dict[str, str]:
    """By tensor the file that holds it, as an index of shards says; {} for any other file."""
    found = _json(path).get("weight_map") if path.name.endswith(".index.json") else None
    names = found.values() if isinstance(found, dict) else ()
    return found if all(isinstance(n, str) and Path(n).name == n for n in names) and isinstance(found, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
