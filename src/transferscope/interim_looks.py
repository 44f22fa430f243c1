"""Interim looks: the counts of seeds at which a study's claims are judged, planned ones and those that came by hand.

How often one looks decides how strict every look must be (`measures.deciding`). A study says what it plans; that its
seeds were raised after a page with verdicts is remembered in the store.
"""

import hashlib

from transferscope.engine.step import canonical
from transferscope.engine.store import Store
from transferscope.measures.deciding import Design, fixed, sequential
from transferscope.memo import Memo
from transferscope.study import Study

# What a study asks is the same question whatever its seeds, its analyses and its machine.
QUESTION = {"input", "targets", "image_size", "network", "pretrained", "arms", "head", "split", "recipe"}


def design(study: Study, store: Store) -> Design:
    """The looks at a study's claims up to its present seeds; a look of an earlier page counts."""
    if study.growing is not None:
        return sequential(*study.growing)
    first, *later = [*(n for n in _taken(study, store) if n < len(study.seeds)), len(study.seeds)]
    found = fixed(first)
    for n in later:
        found = found.raised(n)
    return found


def remember(study: Study, store: Store) -> None:
    """Keep that the claims were judged at the study's seeds, and at every planned look before."""
    seen = {len(study.seeds)}
    if study.growing is not None:
        seen |= set(range(study.growing[0], len(study.seeds)))
    _memo(store).change(lambda known: {**known, _question(study): sorted({*known.get(_question(study), []), *seen})})


def _taken(study: Study, store: Store) -> list[int]:
    return [int(n) for n in _memo(store).read().get(_question(study), [])]


def _memo(store: Store) -> Memo:
    return store.memo("looks.json")


def _question(study: Study) -> str:
    said = study.model_dump(mode="json", include=QUESTION)
    return hashlib.blake2b(canonical(said)).hexdigest()[:24]
