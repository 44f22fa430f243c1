"""How Sphinx makes a site of these pages: ``sphinx-build -W --keep-going docs site``, in the project's folder."""

import re
from typing import Any

from transferscope import __version__

project = "transferscope"
author = "The authors of transferscope"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 4  # as GitHub names them; a link to one that is not there is a warning
default_role = "code"  # docstrings write `names` as Markdown does
autodoc_member_order = "bysource"
html_theme = "furo"
html_title = f"transferscope {version}"
html_show_copyright = False
html_show_sphinx = False

CODE = re.compile(r"(`[^`]*`)")


def plain_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """|x| in a docstring is a size, and no substitution."""
    for number, line in enumerate(lines):
        parts = CODE.split(line)
        lines[number] = "".join(part if part.startswith("`") else part.replace("|", r"\|") for part in parts)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", plain_bars)
