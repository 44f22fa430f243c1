"""What a study file extends: another file's keys, which hold where it says nothing itself.

Mappings are merged key by key; lists and single values are replaced, and null is a value like others. A relative path
of the other file starts where that file lies: where that is another folder, it is made absolute.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transferscope import data, models, registry
from transferscope.engine.bucket import is_url
from transferscope.errors import UserError
from transferscope.study import yaml_text

Keys = dict[str, Any]


def read(path: Path, seen: tuple[Path, ...] = ()) -> tuple[Keys, tuple[Path, ...]]:
    """The keys of a study file with those that it extends, and all these files; `seen` are those that extend it.

    UserError for a file that cannot be read, holds no keys, or extends itself.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if seen:
            raise UserError(f"{seen[-1]}: extends: there is no study file {path}; correct the path.") from None
        raise UserError(f"There is no study file {path}; 'transferscope init FOLDER' writes one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The study file {path} cannot be read: {error}.") from None
    keys = yaml_text.read(text, str(path))
    if not isinstance(keys, dict):
        raise UserError(f"{path}: a study is a mapping of keys such as 'targets:' and 'network:'.")
    other = keys.pop("extends", None)
    chain = (*seen, path)
    if other is None:
        return keys, chain
    if not isinstance(other, str):
        raise UserError(f"{path}: extends: give the path of one other study file (it is {other!r:.60}).")
    place = path.parent / Path(other).expanduser()
    if place.resolve() in [one.resolve() for one in chain]:
        raise UserError(f"{path}: extends: {place} extends this file in turn; remove one of the two keys.")
    found, files = read(place, chain)
    if place.parent.resolve() != path.parent.resolve():
        found = moved(found, place.parent)
    return merged(found, keys), files


def merged(other: Mapping[str, Any], own: Mapping[str, Any]) -> Keys:
    """The keys of `other` with those of `own` over them."""
    found = dict(other)
    for key, value in own.items():
        before = found.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        found[key] = merged(before, value) if both else value  # type: ignore[arg-type]  # both are mappings
    return found


def moved(keys: Mapping[str, Any], folder: Path) -> Keys:
    """The keys with relative paths made to start from `folder`; what is malformed is left for the model to refuse."""
    found = dict(keys)
    moves = {
        "targets": _targets,
        "input": _input,
        "network": _network,
        "pretrained": _pretrained,
        "resources": _store,
    }
    for key in moves.keys() & found.keys():
        found[key] = moves[key](found[key], folder)
    if isinstance(found.get("analyses"), Mapping):
        found["analyses"] = {name: _candidates(one, folder) for name, one in found["analyses"].items()}
    return found


def _targets(said: Any, folder: Path) -> Any:
    if isinstance(said, Mapping):
        return {name: _target(one, folder) for name, one in said.items()}
    listed = [said] if isinstance(said, str) else said
    if isinstance(listed, list) and all(isinstance(one, str) for one in listed):
        return {one: _target(one, folder) for one in listed}  # the names are as the file has them
    return said


def _target(said: Any, folder: Path) -> Any:
    if isinstance(said, str):
        try:
            return data.absolute(said, folder)
        except UserError:
            return said
    if not isinstance(said, Mapping):
        return said
    paths = {"ref": _target, "images": _path}
    return {key: paths[key](one, folder) if key in paths and isinstance(one, str) else one for key, one in said.items()}


def _network(said: Any, folder: Path) -> Any:
    """A network that lies in a folder; most are names."""
    if isinstance(said, Mapping):
        return {key: _network(one, folder) if key == "ref" else one for key, one in said.items()}
    if not isinstance(said, str):
        return said
    ref, options = registry.apart(said)
    scheme, rest = registry.split(ref)
    where = folder / Path(rest).expanduser()
    return registry.joined(f"{scheme}:{where.absolute()}", options) if (where / "config.json").is_file() else said


def _input(said: Any, folder: Path) -> Any:
    """A kind of input with its options; a tokenizer that lies in the folder is a path, others are names."""
    if not isinstance(said, Mapping):
        return said
    found = {}
    for kind, options in said.items():
        own = options.get("tokenizer") if isinstance(options, Mapping) else None
        lies = isinstance(own, str) and (folder / Path(own).expanduser()).exists()
        found[kind] = {**options, "tokenizer": _path(own, folder)} if lies else options
    return found


def _pretrained(said: Any, folder: Path) -> Any:
    if isinstance(said, str):
        return models.absolute_weights(said, folder)
    if not isinstance(said, Mapping):
        return said
    paths = {"weights": _pretrained, "series": _path, "source": _target}
    return {key: paths[key](one, folder) if key in paths and one is not None else one for key, one in said.items()}


def _store(said: Any, folder: Path) -> Any:
    if not isinstance(said, Mapping):
        return said
    return {key: _path(one, folder) if key == "store" and not is_url(str(one)) else one for key, one in said.items()}


def _candidates(said: Any, folder: Path) -> Any:
    """The options of an analysis, `candidates` of networks and weights among them."""
    if not isinstance(said, Mapping) or "candidates" not in said:
        return said
    given = said["candidates"]
    if isinstance(given, list):
        return {**said, "candidates": [_candidate(one, folder) for one in given]}
    if isinstance(given, Mapping):
        return {**said, "candidates": {name: _candidate(one, folder) for name, one in given.items()}}
    return said


def _candidate(said: Any, folder: Path) -> Any:
    if isinstance(said, str):
        network, bar, weights = (part.strip() for part in said.partition("|"))
        parts = (_network(network, folder), bar, _pretrained(weights, folder))
        return " ".join(part for part in parts if part)
    if not isinstance(said, Mapping):
        return said
    moves = {"network": _network, "weights": _pretrained}
    return {key: moves[key](one, folder) if key in moves and isinstance(one, str) else one for key, one in said.items()}


def _path(said: Any, folder: Path) -> Any:
    if isinstance(said, list):
        return [_path(one, folder) for one in said]
    return str((folder / Path(said).expanduser()).absolute()) if isinstance(said, str) else said
