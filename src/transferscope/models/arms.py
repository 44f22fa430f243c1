"""The names of the arms: how a run may start, parsed and checked without loading a network."""

from dataclasses import dataclass

from transferscope.errors import UserError, did_you_mean

NAMES = ("random", "pretrained", "stats", "permuted", "transfuse")


@dataclass(frozen=True)
class Arm:
    """One way to start a run.

    `upto` (transfuse only) is a number of blocks, a block's name (that block included) or "all";
    `above` is what the blocks after it get: "random" or "stats".
    """

    name: str
    upto: int | str | None = None
    above: str = "random"

    @property
    def needs_weights(self) -> bool:
        """Whether the arm reads the pretrained weights at all."""
        return self.name != "random"

    def __str__(self) -> str:
        if self.name != "transfuse":
            return self.name
        return f"transfuse:{self.upto}" + ("+stats" if self.above == "stats" else "")


def parse_arm(text: str) -> Arm:
    """`random`, `pretrained`, `stats`, `permuted`, `transfuse:K` or `transfuse:K+stats` as an `Arm`.

    K is a number of blocks counted in execution order, a block's name, or `all`. Raises UserError otherwise.
    """
    name, colon, rest = text.partition(":")
    if name not in NAMES:
        raise UserError(f"'{text}' is not an arm; {did_you_mean(name, NAMES)}")
    if name != "transfuse":
        if colon:
            raise UserError(f"'{name}' takes nothing after a colon, got '{text}'.")
        return Arm(name)
    upto, plus, above = rest.partition("+")
    if not upto or (plus and above != "stats"):
        raise UserError(f"'{text}' should read transfuse:K or transfuse:K+stats, K a block's name or a count.")
    if upto.lstrip("-").isdigit():
        if int(upto) < 0:
            raise UserError(f"'{text}' needs a count of blocks that is 0 or more.")
        return Arm(name, int(upto), above or "random")
    return Arm(name, upto, above or "random")


def check_arm(text: str) -> None:
    """Raise UserError unless `text` is a well-formed arm (whether a named block exists is seen at build time)."""
    parse_arm(text)
