"""Write one page per analysis from its docstring: ``python docs/build.py``."""

import inspect
from pathlib import Path

from transferscope import analyses

HERE = Path(__file__).parent / "analyses"


def page(name: str) -> str:
    """The Markdown page of an analysis."""
    module = analyses.load(name)
    options = module.Options
    lines = [f"# `{name}`", "", inspect.getdoc(module) or "", "", "## Options", ""]
    lines += [inspect.getdoc(options) or "", ""]
    for field, info in options.model_fields.items():
        default = "required" if info.is_required() else f"`{info.default!r}`"
        lines.append(f"- `{field}`: {default}")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for name in analyses.names():
        (HERE / f"{name}.md").write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main()
