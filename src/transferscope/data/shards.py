"""Shards: tar files of samples, each sample being files of one name but for their endings, read where they lie."""

import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from transferscope.errors import UserError

SAMPLE = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")  # a key, and which file of the sample it is
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}
MOST = 100_000  # shards that a range may stand for


@dataclass(frozen=True)
class Sample:
    """The files of one key: for each ending, in lower case, where its bytes begin in the shard, and their number."""

    key: str
    parts: Mapping[str, tuple[int, int]]


def shards(rest: str) -> dict[str, Path]:
    """The shards of a folder (at any depth), a file, or a pattern such as `train-{000..012}.tar`, by relative names.

    UserError for what is not there.
    """
    path = Path(rest).expanduser()
    if rest and path.is_file():
        return {path.name: path}
    if rest and path.is_dir():
        found = {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*.tar")) if file.is_file()}
        hidden = [name for name in found if any(part.startswith(".") for part in Path(name).parts)]
        if found := {name: file for name, file in found.items() if name not in hidden}:
            return found
        raise UserError(f"'{path}' holds no .tar file; give the folder of the shards.")
    if span := RANGE.search(rest):
        first, last, width = int(span[1]), int(span[2]), len(span[1])
        if not 0 <= last - first < MOST:
            raise UserError(f"'{span[0]}' in '{rest}' stands for no shards; write {{first..last}}, rising.")
        files = [Path(RANGE.sub(f"{n:0{width}d}", rest, count=1)).expanduser() for n in range(first, last + 1)]
        if absent := [file for file in files if not file.is_file()]:
            raise UserError(f"There is no shard '{absent[0]}' ({len(absent)} of {len(files)} of '{rest}' are absent).")
        return {file.name: file for file in files}
    raise UserError(
        f"There is no '{path}'; give a folder of .tar shards, one of them, or a pattern as in a-{{00..09}}."
    )


def contents(file: Path, places: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes at some places (where they begin, and their number) of a shard, which is opened once. OSError where it
    ends before them."""
    with file.open("rb") as shard:
        for begins, size in places:
            shard.seek(begins)
            found = shard.read(size)
            if len(found) < size:
                raise OSError(f"the shard '{file.name}' ends before it")
            yield found


def samples(file: Path) -> tuple[Sample, ...]:
    """The samples of a shard in its order, nothing unpacked. UserError for what is no plain tar file."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    before = ""
    try:
        with tarfile.open(file, "r:") as shard:
            for member in shard:
                named = SAMPLE.fullmatch(member.name.removeprefix("./"))
                if named is None or not member.isreg() or Path(named[1]).name.startswith("__"):
                    continue
                key, ending = named[1], named[2].lower()
                if key in found and key != before:
                    raise UserError(f"'{file}' has the sample '{key}' in two places; write the files of one together.")
                if ending in found.setdefault(key, {}):
                    raise UserError(f"'{file}' has '{member.name}' twice; write every file of a sample once.")
                found[key][ending] = (member.offset_data, member.size)
                before = key
            _check_end(shard)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"'{file}' {_why(file, error)}.") from None
    return tuple(Sample(key, parts) for key, parts in found.items())


def _check_end(shard: tarfile.TarFile) -> None:
    """ReadError unless zeros follow the last member: the library takes a file that was cut off for a whole one."""
    stream: IO[bytes] = cast(Any, shard).fileobj
    stream.seek(shard.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it has no end: it was cut off, or is being written")


def _why(file: Path, error: Exception) -> str:
    with file.open("rb") as opened:
        packed = PACKED.get(opened.read(2))
    if packed:
        return (
            f"is packed with {packed}, so that no sample can be found without all before it; unpack it to a plain .tar"
        )
    return f"cannot be read as a tar file ({error}); fetch it again"
