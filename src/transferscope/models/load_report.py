"""What was loaded into a network, as numbers for `run.json` and as sentences for `check` and the page."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Loaded:
    """What of a network's body (all but the head) was found in the weights, counted in tensors and in parameters.

    `missing`: names of the body that the weights lack; `mismatched`: present in another shape; `unexpected`: names
    of the weights that the network lacks. `tensors_*` count buffers too, `parameters_*` single trainable numbers;
    `share` is that of the parameters, in [0, 1]. Counters and index tables, which a network makes itself, count as
    missing nowhere. `under`: the prefix that came off the file's names; `renamed`: by which other names they were
    found; `adapted`: what was made to fit or put together, a sentence each; `notes`: what else is worth knowing.
    """

    tensors_matched: int
    tensors_total: int
    parameters_matched: int
    parameters_total: int
    share: float
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    under: str = ""
    renamed: str = ""
    adapted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> "Loaded":
        """From JSON (`run.json`), also from that of earlier versions, which said less."""
        names = {field.name for field in fields(cls)}
        known: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in said.items() if n in names}
        return cls(**known)

    @property
    def unfilled(self) -> tuple[str, ...]:
        """Every tensor of the body that the weights did not fill: it starts as in a random network."""
        return self.missing + self.mismatched

    def __str__(self) -> str:
        """The counts in words, and where in the file the weights were."""
        where = f" under '{self.under}'" if self.under else ""
        return (
            f"{self.tensors_matched} of {self.tensors_total} body tensors ({self.share:.1%} of its parameters) "
            f"matched{where}"
        )

    def sentences(self) -> list[str]:
        """What a reader must know beyond the counts, a sentence each: every unfilled tensor by name comes first."""
        lines = []
        if self.unfilled:
            lines.append(f"not filled by the weights, so as in a random network: {', '.join(self.unfilled)}")
        if self.renamed:
            lines.append(f"names matched {self.renamed}")
        return [*lines, *self.adapted, *self.notes]
