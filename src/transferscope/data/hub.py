"""Data sets of Hugging Face on this disk: where one lies, its files, and how it is opened without asking the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from transferscope import extras
from transferscope.data.fingerprint import text_fingerprint
from transferscope.errors import UserError

SAVED = ("dataset_dict.json", "state.json")  # one of them lies in a folder of save_to_disk


def place(rest: str) -> tuple[Path, str]:
    """The folder of `NAME_OR_PATH` or `NAME_OR_PATH#CONFIG`, and the configuration or "".

    A name is looked up in the hub's cache, where `hf download` and the library put what they fetch. Raises UserError
    where the library datasets is not installed, and for what is in neither place.
    """
    extras.need("datasets", "hf", f"'hf:{rest}'")
    name, _, config = rest.partition("#")
    if not name:
        raise UserError("The reference 'hf:' names no data set; write hf:FOLDER or hf:NAME.")
    folder = Path(name).expanduser().absolute()
    if folder.is_dir():
        return folder, config
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    cached = cache / f"datasets--{name.replace('/', '--')}"
    revision = cached / "refs" / "main"
    snapshot = cached / "snapshots" / (revision.read_text(encoding="utf-8").strip() if revision.is_file() else "")
    if revision.is_file() and snapshot.is_dir():
        return snapshot, config
    raise UserError(
        f"'hf:{rest}': there is no folder {folder}, and '{name}' is not in the cache {cache}; correct the path, or run "
        f"'hf download {name} --repo-type dataset' on a machine with a network."
    )


def files(folder: Path) -> dict[str, Path]:
    """Every file of a data set by its relative name; what the library caches beside it is none of it."""
    found = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    kept = {name: file for name, file in found.items() if not any(part.startswith(".") for part in Path(name).parts)}
    return {name: file for name, file in kept.items() if not file.name.startswith("cache-")}


def state(folder: Path) -> str:
    """What changes with the files, without reading them: a data set that was saved anew is opened anew."""
    return text_fingerprint(
        f"{name} {(said := file.stat()).st_size} {said.st_mtime_ns} {said.st_ino}"
        for name, file in files(folder).items()
    )


@lru_cache(maxsize=4)
def opened(folder: str, config: str, state: str) -> dict[str, Any]:
    """The splits of a data set by name, pictures as they are stored; a set without splits has one called all.

    What is no folder of `save_to_disk` is made ready in the library's own cache first. Raises UserError.
    """
    datasets: Any = extras.load("datasets", "hf", f"'hf:{folder}'")
    try:
        with _alone(datasets):
            if any((Path(folder) / one).is_file() for one in SAVED):
                found = datasets.load_from_disk(folder)
            else:
                found = datasets.load_dataset(folder, config or None)
    except Exception as error:  # of any type: what is in a file decides
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"'hf:{folder}' cannot be opened by the library datasets ({why[:200]}).") from None
    parts = dict(found) if isinstance(found, dict) else {"all": found}
    return {name: _stored(part.with_format(None), datasets) for name, part in parts.items()}


def _stored(part: Any, datasets: Any) -> Any:
    for name, feature in part.features.items():
        if isinstance(feature, datasets.Image):
            part = part.cast_column(name, datasets.Image(decode=False))
    return part


@contextmanager
def _alone(datasets: Any) -> Iterator[None]:
    """Without the hub and without progress bars inside the block."""
    shown, offline = not datasets.utils.are_progress_bars_disabled(), datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    datasets.utils.disable_progress_bars()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
        if shown:
            datasets.utils.enable_progress_bars()
