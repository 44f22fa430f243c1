"""YAML that a person wrote, or that came by accident: plain values, or one sentence in under a second."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from transferscope.errors import UserError

LONGEST, DEEPEST, LARGEST = 1_000_000, 50, 100_000  # characters, nested values, values with all aliases written out
MANY = 1000  # brackets that open before one closes: the parser would take seconds to see how deep that is
UNSEEN = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f\\ud800-\\udfff]")


class _Plain(yaml.SafeLoader):
    """Dates stay texts, for no key is one; a key that stands twice is a mistake and not the last of both."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"the key '{name}' stands twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_Plain.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for letter, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(text: str, where: str) -> Any:
    """The value of a YAML text. UserError, which begins with `where`, for what is not valid, too large or too deep."""
    if len(text) > LONGEST:
        raise UserError(f"{where}: it has {len(text):,} characters, and {LONGEST:,} are the most that are read.")
    if len(re.sub(r"[^\[\]{}]", "", text).split("]")[0].split("}")[0]) > MANY:
        raise UserError(f"{where}: values nest more than {DEEPEST} deep.")
    try:
        _measure(text, where)
        value = yaml.load(text, _Plain)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{where}{line}: not valid YAML ({getattr(error, 'problem', None) or error}).") from None
    except (ValueError, OverflowError, RecursionError, AttributeError, TypeError) as error:
        why = str(error).split(";")[0].splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{where}: not valid YAML (a value cannot be read: {why}).") from None
    if (bad := _unseen(value)) is not None:
        raise UserError(f"{where}: {bad[:60]!r} holds a character that cannot be written.")
    return value


def _unseen(value: Any) -> str | None:
    """The first text in a value with a character that no page and no file can hold."""
    if isinstance(value, str):
        return value if UNSEEN.search(value) else None
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list | set) else []
    return next((found for part in parts if (found := _unseen(part)) is not None), None)


def _measure(text: str, where: str) -> None:
    """How deep values nest, and how many there are with every alias written out: a few lines can stand for billions."""
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []  # anchors of the values that are open, and what was counted before each
    count = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            count += sizes.get(str(event.anchor), 1)
            if event.anchor in [anchor for anchor, _ in open_]:
                raise UserError(f"{where}: the value '&{event.anchor}' holds itself.")
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor:
                sizes[anchor] = count - before
        if len(open_) > DEEPEST:
            raise UserError(f"{where}: values nest more than {DEEPEST} deep.")
        if count > LARGEST:
            raise UserError(f"{where}: it stands for more than {LARGEST:,} values.")
