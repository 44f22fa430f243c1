"""The study that a verb is asked for: its file and overrides as arguments, and what they open."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferscope.console.lines import out
from transferscope.errors import UserError

if TYPE_CHECKING:
    from transferscope.engine.plan import Plan
    from transferscope.engine.store import Store
    from transferscope.study import Study

DEFAULT = Path("study.yaml")
StudyFile = Annotated[Path, typer.Argument(help="The study file.", show_default=True)]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. --set recipe.epochs=3.")
]

Trust = Annotated[
    bool,
    typer.Option("--trust", help="Also import modules of the study's that belong to other users, which runs them."),
]


def _hush(context: typer.Context, wanted: bool) -> bool:
    """Nothing is printed on stdout by people's lines until the verb has ended."""
    if wanted and not out.quiet:
        out.quiet = True
        context.call_on_close(partial(setattr, out, "quiet", False))
    return wanted


Json = Annotated[
    bool, typer.Option("--json", callback=_hush, help="Print one JSON object, and nothing else on stdout.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", callback=_hush, help="Print nothing on stdout; what is wrong stands on stderr.")
]

Against = Annotated[
    str | None,
    typer.Option(
        "--against", metavar="paper|FILE", help="Hold the study beside published numbers: the paper's, or a YAML file."
    ),
]


On = Annotated[
    str | None,
    typer.Option("--on", metavar="EXECUTOR", help="Who does the steps: local, inline, ray, ray://HOST:10001, slurm."),
]


def on(executor: str | None, changes: list[str] | None) -> list[str]:
    """The changes of `--set` with the executor of `--on`, which is short for one of them."""
    return [*(changes or []), *([f"resources.executor={executor}"] if executor else [])]


def analyses_named(incomplete: str) -> list[str]:
    """The analyses that come with the project whose names begin so, for a shell that completes them."""
    from transferscope import analyses

    return [name for name in analyses.names() if name.startswith(incomplete)]


def planned(
    file: Path, changes: list[str] | None, *, read_only: bool = False, trusted: bool = False, timed: bool = False
) -> "tuple[Study, Plan, Store]":
    """The study with its overrides at its present look, its plan, its store, into which nothing is written if it is
    `read_only`; modules of every owner are imported if it is `trusted`; `timed` as for `battery.plan`. UserError for
    what is wrong with any."""
    from transferscope import adding_seeds, atomic_files, trust
    from transferscope.study import Study

    if trusted:
        trust.everything()

    pairs: dict[str, str] = {}
    for change in changes or []:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise UserError(f"--set {change}: write KEY=VALUE, for example --set recipe.epochs=3.")
        pairs[key] = value
    study = Study.load(file, pairs)
    if read_only:
        atomic_files.close(study.store_folder)
    try:
        return adding_seeds.present(study, timed=timed)
    except UserError as error:  # what only planning sees, such as the options of an analysis
        raise error if str(file) in str(error) else UserError(f"{file}: {error}") from None
