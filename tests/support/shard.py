"""Shards of samples as tar files, written without any library of theirs."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write(file: Path, samples: Iterable[tuple[str, Mapping[str, Any]]], mode: str = "w") -> Path:
    """A shard of samples (key, its files by their endings): bytes as they are, json as such, else as text."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, mode) as shard:
        for key, parts in samples:
            for ending, part in parts.items():
                content = (
                    part if isinstance(part, bytes) else (json.dumps(part) if ending == "json" else str(part)).encode()
                )
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    return file
