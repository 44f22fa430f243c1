"""A zip archive unpacked whole or not at all, and nothing of it outside its folder."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from transferscope.errors import UserError

MOST = 20  # times its own size that an archive may unpack to: pictures are compressed already
SPARE = 1 << 30  # bytes that one may come to besides, being small
FILES = 5_000_000


class Damaged(UserError):
    """An archive that cannot be read."""


def unpack(archive: Path, root: Path, folder: str) -> Path:
    """Unpack the `folder` that an archive holds into a scratch folder below `root`, from where it is to be renamed: its
    path. UserError for members that lie elsewhere or are no plain files, for an archive that is damaged, and
    for one that unpacks to far more than pictures would."""
    scratch = root / f".{folder}.unpacking"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(opened, archive, folder)
            total, free = sum(one.file_size for one in members), shutil.disk_usage(root).free
            if total > free:
                raise UserError(
                    f"fetch: {archive.name} unpacks to {total / 1e9:.1f} GB, and the disk of {root} has "
                    f"{free / 1e9:.1f} GB; make room and run it again."
                )
            for one in members:
                opened.extract(one, scratch)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, RuntimeError, zlib.error) as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise Damaged(
            f"fetch: {archive} was damaged ({error}) and is deleted; run it again, or name another place (--mirror)."
        ) from None
    return scratch / folder


def _checked(opened: zipfile.ZipFile, archive: Path, folder: str) -> list[zipfile.ZipInfo]:
    """The files of an archive, each of which is a plain one in the folder."""
    members = [one for one in opened.infolist() if not one.filename.endswith("/")]
    for one in members:
        path, kind = PurePosixPath(one.filename), stat.S_IFMT(one.external_attr >> 16)
        plain = (
            str(path) == one.filename and "\\" not in one.filename
        )  # neither '//' nor '/./', which hide a name twice
        if not plain or ".." in path.parts or len(path.parts) < 2 or path.parts[0] != folder:
            raise UserError(
                f"fetch: {archive.name} holds '{one.filename}', which is no file in '{folder}/': not unpacked."
            )
        if kind not in (0, stat.S_IFREG):
            raise UserError(f"fetch: {archive.name} holds '{one.filename}', which is no plain file: not unpacked.")
    if len({one.filename for one in members}) < len(members):
        raise UserError(f"fetch: {archive.name} holds a name twice: not unpacked.")
    total, most = sum(one.file_size for one in members), MOST * archive.stat().st_size + SPARE
    if not members or total > most or len(members) > FILES:
        raise UserError(
            f"fetch: {archive.name} would unpack to {total / 1e9:.1f} GB in {len(members):,} files, which no archive "
            "of pictures does: not unpacked."
        )
    return members
