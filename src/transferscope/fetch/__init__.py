"""Published data sets that `transferscope fetch NAME ROOT` downloads: one file each.

A module here has a docstring whose first line says what it is, and
`BASE`, the address below which its files lie; `PAGE`, the one where people read of it;
`PARTS`, the names of what may be fetched by itself;
`files(part)`, the `_files.Published` of a part, archives last;
`check(root, part)`, which looks at those that are no archives, and raises UserError where they are not what was
published.

It touches no network: `_data_set` fetches, by `_download` and `_unpack`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from transferscope import registry
from transferscope.errors import UserError, did_you_mean


def names() -> tuple[str, ...]:
    """The data sets that can be fetched."""
    return registry.names(__name__)


def fetch(
    name: str, root: Path, parts: Sequence[str], mirror: str | None, keep: bool, tell: Callable[[str], object]
) -> bool:
    """Have parts of a data set (all of them for none) below `root`, from `mirror` if that is given; False where all was
    there already. `keep`: archives are not deleted once they are unpacked. `tell` hears how it goes on.

    What was begun is gone on with. UserError says in a sentence what could not be had.
    """
    from transferscope.fetch._data_set import have

    if name not in names():
        raise UserError(f"fetch: '{name}' cannot be fetched; {did_you_mean(name, names())}")
    module = registry.module(__name__, name, "fetch")
    for part in parts:
        if part not in module.PARTS:
            raise UserError(f"fetch: '{part}' is no part of {name}; {did_you_mean(part, module.PARTS)}")
    base = mirror or str(module.BASE)
    if not base.startswith(("http://", "https://")):
        raise UserError(f"--mirror: '{base}' is no address; it begins with http:// or https://.")
    chosen = [(module.files(part), partial(module.check, part=part)) for part in dict.fromkeys(parts or module.PARTS)]
    return have(chosen, f"{base.rstrip('/')}/", root, keep=keep, page=module.PAGE, tell=tell)
