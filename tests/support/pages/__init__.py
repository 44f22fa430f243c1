"""The pages of the project, and the blocks of code in them as a reader of Markdown sees them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

TOP = Path(__file__).parents[3]
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "examples").rglob("*.md")])


@dataclass(frozen=True)
class Block:
    """One block of code: its language ("" for one that is only indented), its text, and the line it begins on."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(TOP)}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """The commands of a block for a shell, one a pipeline's part; what is printed beneath a `$` line is none."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line for line in lines if line.startswith("$ ")]
        for line in lines:
            for part in re.split(r"&&|\||;", line.strip().removeprefix("$ ").split(" #")[0]):
                yield part.strip()


def blocks(page: Path) -> list[Block]:
    """Every fenced or indented block of a page, in order."""
    found = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    return [
        Block(page, one.map[0] + 1, one.info.split(" ")[0], one.content)
        for one in found
        if one.type in ("fence", "code_block") and one.map
    ]
