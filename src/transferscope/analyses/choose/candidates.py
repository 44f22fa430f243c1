"""Candidates of `choose`: how the study file names networks and weights, and what each stands for in the study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, field_validator
from pydantic_core import CoreSchema

from transferscope import models
from transferscope.engine.step import Outside
from transferscope.errors import UserError
from transferscope.models.tokenizers import own_tokenizer, tokenizer_file
from transferscope.strict_models import TEXT, TEXTS, Also, Strict
from transferscope.study import Study, origin
from transferscope.study.schema import Network, Pretrained
from transferscope.tasks import inputs

UNREADABLE = "unreadable"  # so begins the fingerprint of weights that cannot be read; the step that needs them says why


class Candidate(Strict):
    """A network, its weights, and how they are used."""

    network: Network | None = None
    """The network, as in the study file; null for the study's."""
    weights: str | None = None
    """Its weights, as in `pretrained.weights`; null for none of its own."""
    arm: str | None = None
    """How it starts, as in `arms`; null for `pretrained` where there are weights, else `random`; other arms without
    weights of their own take the study's."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), TEXT]}

    @field_validator("network", "weights", "arm")
    @classmethod
    def _known(cls, value: str | None, info: Any) -> str | None:
        check = {"network": models.check_network_ref, "weights": models.check_weights_ref, "arm": models.check_arm}
        if value is not None:
            try:
                check[info.field_name](value)
            except UserError as error:
                raise ValueError(str(error).rstrip(".")) from None
        return value


def _listed(value: Any) -> Any:
    """``["network | weights", "network", "| weights"]`` is short for a mapping from such words to a candidate."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        names = [_name(**_parsed(one)) for one in value]
        value = dict(zip(names if len(set(names)) == len(names) else value, value, strict=True))
    if not isinstance(value, Mapping):
        return value
    return {name: _parsed(one) if isinstance(one, str) else one for name, one in value.items()}


def _name(network: str = "", weights: str = "") -> str:
    """A short name for charts: "resnet18 (random)"."""
    source = Path(weights.rpartition(":")[2]).name or "random"
    return f"{models.in_words(network).partition(':')[2]} ({source})" if network else source


def _parsed(text: str) -> dict[str, str]:
    network, _, weights = (part.strip() for part in text.partition("|"))
    return {key: word for key, word in (("network", network), ("weights", weights)) if word}


Candidates = Annotated[
    dict[str, Candidate],
    BeforeValidator(_listed),
    Field(min_length=1),
    Also({**TEXTS, "minItems": 1}),
    "mapping from name to candidate",
    "list of texts",
]


@dataclass(frozen=True)
class CandidateStudy:
    """A candidate as a study of its own: the same targets and recipe, its network and weights."""

    name: str
    study: Study
    arm: str
    checkpoint: origin.Checkpoint | None
    seeds: Sequence[int] = ()  # for which it is fine-tuned

    @property
    def readable(self) -> bool:
        weights = self.checkpoint.weights if self.checkpoint else None
        return not isinstance(weights, Outside) or not weights.fingerprint.startswith(UNREADABLE)


def entries(study: Study, candidates: Mapping[str, Candidate] | None, against: str) -> list[CandidateStudy]:
    """The candidates as entries: those named, else the study's arms, then the checkpoints no arm starts from.

    UserError for an arm that has no weights to start from.
    """
    if candidates is None:
        return _own(study, against)
    return [_entry(study, name, given, against) for name, given in candidates.items()]


def _tuned(study: Study, against: str, arm: str | None) -> Sequence[int]:
    """The seeds for which a candidate is fine-tuned: as an arm of the study, as one of its checkpoints, or neither."""
    if against == "all":
        return study.seeds
    if against == "none":
        return ()
    if arm in study.arms and "transfer" in study.analyses:
        return study.seeds
    if arm == "checkpoint" and "checkpoint" in study.analyses:
        return study.seeds[: study.analyses["checkpoint"].get("seeds")]
    return ()


def _own(study: Study, against: str) -> list[CandidateStudy]:
    """The arms of the study, then the checkpoints that the arms do not start from."""
    found = study.checkpoints()
    last = study.last_checkpoint() if found else None
    entries = [
        CandidateStudy(arm, study, arm, None if arm == "random" else last, _tuned(study, against, arm))
        for arm in study.arms
    ]
    several = len({c.track for c in found}) > 1
    for c in found:
        if c != last or "pretrained" not in study.arms:
            name = f"{c.track} labels, {c.name}" if several else c.name
            entries.append(CandidateStudy(name, study, "pretrained", c, _tuned(study, against, "checkpoint")))
    return entries


def _entry(study: Study, name: str, given: Candidate, against: str) -> CandidateStudy:
    network = study.network if given.network is None else models.settled(given.network, study.folder)
    arm = given.arm or ("pretrained" if given.weights else "random")
    weights = None if given.weights is None else models.own_weights(given.weights, given.network or study.network)
    ref = None if weights is None else models.absolute_weights(weights, study.folder)
    changed: dict[str, Any] = {"network": network}
    if ref is not None:
        how = study.pretrained or Pretrained(weights=ref)
        allow = how.allow if network == study.network else ()  # names of the study's own network
        changed["pretrained"] = Pretrained(weights=ref, min_share=how.min_share, allow=allow)
    elif network != study.network:
        changed["pretrained"] = None
    own = study if ref is None and network == study.network else study.changed(**changed)
    _check_tokens(study, name, given, ref)
    checkpoint = None
    if arm != "random":
        if own.pretrained is None:
            raise UserError(
                f"analyses.choose: candidate '{name}' needs weights for the arm '{arm}'; add 'weights: ...'."
            )
        try:
            checkpoint = own.last_checkpoint()
        except UserError:  # missing or damaged: its own step will say so, the others go on
            checkpoint = origin.Checkpoint("given", name, None, Outside(str(ref), f"{UNREADABLE} {ref}"))
    mine = network == study.network and (checkpoint is None or _same(study, checkpoint))
    return CandidateStudy(name, own, arm, checkpoint, _tuned(study, against, arm if mine else None))


def _check_tokens(study: Study, name: str, given: Candidate, weights: str | None) -> None:
    """UserError for a candidate that reads other tokens than those that the study's texts were cut into."""
    usual = getattr(inputs.options(study.input), "tokenizer", None)
    if usual is None:
        return
    other = own_tokenizer(given.network or study.network, weights, study.folder)
    if other is not None and tokenizer_file(other).read_bytes() != tokenizer_file(usual).read_bytes():
        raise UserError(
            f"analyses.choose: candidate '{name}' reads other tokens than the study's texts are cut into; leave it "
            "out, or give it a study of its own."
        )


def _same(study: Study, checkpoint: origin.Checkpoint) -> bool:
    """Whether these are the weights that the study's own arms start from."""
    if study.pretrained is None:
        return False
    last = study.last_checkpoint()
    return last.weights == checkpoint.weights and last.at == checkpoint.at
