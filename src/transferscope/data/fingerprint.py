"""Content hashes of image collections, cheap to ask for again thanks to a memo of (path, size, mtime)."""

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from transferscope.memo import Memo

SETTLED_NS = 2_000_000_000  # a file changed within the last 2 s may change again without its mtime moving
THREADS = 8
CHUNK_BYTES = 1 << 20

MEMO_FILE = "file-digests.json"  # absolute path -> [size, mtime, ctime (ns), inode, digest]


def files_fingerprint(files: Mapping[str, Path], memo: Path | None = None, extra: Iterable[str] = ()) -> str:
    """Hex digest of every (name, content) pair in sorted order, and of the `extra` texts.

    Names are the caller's (relative) names, so moving the folder does not change the digest. `memo` is a folder
    kept between calls; a file whose size, times and inode are as it remembers is not read again. A lost, damaged or
    read-only memo costs time only. Raises OSError when a file cannot be read.
    """
    names = sorted(files)
    digests = _digests([os.path.abspath(files[name]) for name in names], memo)  # noqa: PTH100 (links stay links)
    pairs = (text for pair in zip(names, digests, strict=True) for text in pair)
    return text_fingerprint([*extra, *pairs])


def text_fingerprint(texts: Iterable[str]) -> str:
    """Hex digest (32 characters) of a sequence of texts; where one ends and the next begins counts."""
    total = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogateescape")
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


def _digests(paths: list[str], memo: Path | None) -> list[str]:
    kept = Memo(memo / MEMO_FILE if memo else None)
    known = kept.read()
    now = time.time_ns()
    found: dict[int, str] = {}
    stats: dict[int, os.stat_result] = {}
    for index, path in enumerate(paths):
        stats[index] = os.stat(path)  # noqa: PTH116 (ten thousand calls)
        entry = known.get(path)
        if isinstance(entry, list) and entry[:-1] == _state(stats[index]):
            found[index] = str(entry[-1])
    missing = [index for index in range(len(paths)) if index not in found]
    if missing:
        with ThreadPoolExecutor(THREADS) as pool:
            fresh = pool.map(file_digest, [paths[index] for index in missing])
            found.update(zip(missing, fresh, strict=True))
        settled = [i for i in missing if now - stats[i].st_mtime_ns > SETTLED_NS]
        if settled:
            kept.put({paths[i]: [*_state(stats[i]), found[i]] for i in settled})
    return [found[index] for index in range(len(paths))]


def _state(found: os.stat_result) -> list[int]:
    """What changes with a file: a copy that keeps size and time (``cp -p``, ``rsync -t``) has a ctime of its own."""
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def file_digest(path: str) -> str:
    """Hex blake2b digest of one file's bytes."""
    total = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        while chunk := file.read(CHUNK_BYTES):
            total.update(chunk)
    return total.hexdigest()
