"""Things outside the store: what a step reads of them is what its plan saw, or the step fails."""

from transferscope.engine.step import Outside
from transferscope.errors import UserError


def unchanged(what: Outside, now: str) -> None:
    """UserError unless the fingerprint `now`, taken after reading, is the one that the step is named by."""
    if now != what.fingerprint:
        raise UserError(f"'{what.ref}' has changed since the study was planned: run again, which plans anew.")
