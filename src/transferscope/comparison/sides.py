"""A finished study as one side of a comparison: its sections, its readings, its targets, and how strictly it looks."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from transferscope import adding_seeds, analyses, answers, atomic_files, battery, interim_looks
from transferscope.analyses import Chosen
from transferscope.analyses._shared.readings import Reading
from transferscope.engine.plan import Plan
from transferscope.engine.step import Outside, Step, canonical
from transferscope.engine.store import Store
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.measures.deciding import Design
from transferscope.report.failures import Mishaps
from transferscope.report.page import PagePart
from transferscope.report.results_json import FORMAT
from transferscope.study import Study
from transferscope.tasks import inputs

FILES = ("study.yaml", "resolved.yaml")  # of a folder, the first that is there
RESULTS = "results.json"


@dataclass(frozen=True)
class Held:
    """What a target of a study holds: the digest of all its examples and that of its test examples, each with their
    answers and in order; how many answers there are, of which kind, and how many test examples."""

    data: str
    test: str
    classes: int
    kind: answers.Kind
    images: int


@dataclass(frozen=True)
class Side:
    """A study by a `name` that no other side has, with what its page is made of; `held` are its decoded targets.

    `digests` tell, by the key that names it, what lies outside the study file.
    """

    name: str
    file: Path
    study: Study
    steps: Plan = field(repr=False)
    design: Design
    chosen: Mapping[str, Chosen] = field(repr=False)
    tables: Mapping[str, ResultTable] = field(repr=False)
    parts: Sequence[PagePart] = field(repr=False)
    held: Mapping[str, Held]
    digests: Mapping[str, str]
    problems: Sequence[str] = ()

    @property
    def keys(self) -> frozenset[str]:
        """Those of all its steps."""
        return frozenset(step.key for step in self.steps.steps)

    @property
    def readings(self) -> Iterator[tuple[PagePart, Reading]]:
        """Every number seed by seed, with the analysis that read it."""
        for part in self.parts:
            for reading in part.section.readings:
                yield part, reading

    @property
    def missing(self) -> list[tuple[str, int, str]]:
        """(analysis, cells without a result, why the first of them has none)."""
        return [(part.name, len(part.missing), part.missing[0][1]) for part in self.parts if part.missing]

    @property
    def level(self) -> float:
        """The two-sided error at which its claims are judged at its present seeds."""
        return self.design.level(len(self.study.seeds))


def opened(given: Path | str | Study, *, read_only: bool = False) -> Side:
    """The side of a study file, of a folder with one, or of a study; nothing is computed, and nothing is written into
    its store if it is `read_only`.

    UserError where there is none, where nothing of it was computed, and for results of a newer format.
    """
    file = given.folder / FILES[0] if isinstance(given, Study) else _file(Path(given))
    study = given if isinstance(given, Study) else Study.load(file)
    if read_only:
        atomic_files.close(study.store_folder)
    return _side(study, file)


def named(sides: Sequence[Side]) -> list[Side]:
    """The sides under names that differ: those of the studies, with their folders where two are alike."""
    names = [side.name for side in sides]
    if len(set(names)) < len(names):
        names = [f"{side.name} ({side.file.absolute().parent.name})" for side in sides]
    if len(set(names)) < len(names):
        names = [f"{side.name} ({place})" for place, side in enumerate(sides, 1)]
    return [replace(side, name=name) for side, name in zip(sides, names, strict=True)]


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in FILES if (path / name).is_file()), None)
    if found is None and (path / RESULTS).is_file():
        raise UserError(
            f"compare: {path} holds a page but not its study, whose seeds are needed one by one; name the study file."
        )
    if found is None:
        raise UserError(f"compare: the folder {path} holds no {FILES[0]}; name the study file.")
    return found


def _side(study: Study, file: Path) -> Side:
    written = _written(file.parent)
    try:
        study, steps, store = adding_seeds.present(study)
    except UserError as error:
        raise error if str(file) in str(error) else UserError(f"{file}: {error}") from None
    design, mishaps = interim_looks.design(study, store), Mishaps()
    tables, parts = battery.found_parts(study, steps, store, design, battery.failures(store), mishaps)
    if not any(table.artifacts for name, table in tables.items() if name != "images"):
        by = written.get("versions", {}).get("transferscope") if written else None
        if by is not None and (store.root / "train").is_dir():
            raise UserError(
                f"{file}: its results, of transferscope {by}, are those of other steps than the file asks for now; "
                "'transferscope run' computes what is missing."
            )
        raise UserError(f"{file}: nothing of this study has been computed yet; 'transferscope run {file}' does.")
    held = {}
    for target in study.targets:
        step = study.data(target)
        if store.has(step):
            held[target] = _held(step, store)
    said = tuple(mishaps.said)
    return Side(
        study.name,
        file,
        study,
        steps,
        design,
        analyses.chosen(study),
        tables,
        parts,
        held,
        _digests(study, steps),
        said,
    )


def _written(folder: Path) -> dict[str, Any]:
    """What results.json of a folder says, {} where there is none. UserError for that of a newer release."""
    try:
        said = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(said, dict):
        return {}
    number = said.get("format")
    if isinstance(number, int) and number != FORMAT:
        which = "newer" if number > FORMAT else "older"
        raise UserError(
            f"compare: {folder / RESULTS} has format {number}, that of {'a' if which == 'newer' else 'an'} {which} "
            f"release, and this one reads {FORMAT}; "
            + ("update transferscope." if which == "newer" else "run the study again.")
        )
    return said


def _held(step: Step, store: Store) -> Held:
    table = inputs.open_table(store.get(step).whole())
    every, rows = np.arange(len(table)), table.rows["test"]
    said = [_outside(step), table.judged]

    def digest(of: np.ndarray, *more: Any) -> str:
        found = hashlib.blake2b(canonical([*said, [table.names[row] for row in of], *more]), digest_size=12)
        found.update(np.ascontiguousarray(table.labels[of]).tobytes())
        return found.hexdigest()

    splits = {split: of.tolist() for split, of in table.rows.items()}
    return Held(digest(every, splits), digest(rows), len(table.classes), table.kind, len(rows))


def _outside(step: Step) -> list[str]:
    """The fingerprints of what lies outside the store, in the order of the parameters' names."""
    return [value.fingerprint for _, value in sorted(step.params.items()) if isinstance(value, Outside)]


def _digests(study: Study, steps: Plan) -> dict[str, str]:
    """What lies outside the study file, by the key that names it: the images of every target, and the weights."""
    found: dict[str, str] = {}
    for target in study.targets:
        found[f"targets.{target}"] = ", ".join(one[:12] for one in _outside(study.data(target)))
    data = {study.data(target).key for target in study.targets}
    weights = {fingerprint for step in steps.steps if step.key not in data for fingerprint in _outside(step)}
    if weights:
        found["pretrained"] = ", ".join(sorted(one[:12] for one in weights))
    return found
