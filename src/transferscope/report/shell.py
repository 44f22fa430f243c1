"""What every page has around its content: the words of templates, style, scripts, and what the browser may run."""

import base64
import hashlib
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from transferscope.report import figures, wording
from transferscope.report.failures import Mishaps

HERE = Path(__file__).parent


@cache  # a template is compiled once, however often a page is written anew
def environment(*more: Path) -> jinja2.Environment:
    """What renders the templates of this folder, and of `more`."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*more, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": wording.number,
        "labels": wording.labels,
        "duration": wording.duration,
        "letters": wording.letters,
    }
    return made


def shell(page: Path, mishaps: Mishaps) -> dict[str, Any]:
    """What a template says of style and scripts, for the file `page`; `unshown` are sentences on charts that the page
    cannot draw."""
    unshown: list[str] = []

    def without(said: str) -> tuple[str, str]:
        unshown.append(said)
        return "", ""

    script, label = mishaps.attempt("The script that shows the charts", partial(figures.library, page), without)
    style, start = (HERE / "style.css").read_text(encoding="utf-8"), (HERE / "page.js").read_text(encoding="utf-8")
    return {
        "style": Markup(style),
        "library": Markup(script),
        "library_label": label,
        "start": Markup(start),
        "hashes": [_hash(script), _hash(start)],
        "unshown": unshown,
    }


def _hash(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"
