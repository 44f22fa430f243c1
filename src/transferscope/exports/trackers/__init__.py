"""Trackers of experiments, one file each; the file name is what `transferscope export` says.

A module has a docstring that begins with its name, the `LIBRARY` that it needs, and ``write(record, folder) -> str``,
which writes a study's `exports.record.Record` below a folder without any network and returns the command that shows it.
"""

from types import ModuleType

from transferscope import extras, registry


def names() -> list[str]:
    """The trackers that come with the project."""
    return list(registry.names(__name__))


def load(name: str) -> ModuleType:
    """The module of a tracker. UserError for another name, and where its library is not installed."""
    found = registry.module(__name__, name, "export", lambda why: f"'{name}' cannot be used ({why}).")
    extras.load(found.LIBRARY, name, f"export: '{name}'")
    return found
