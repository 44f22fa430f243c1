"""Prints the oldest release that pyproject.toml allows of every requirement, a pip constraint a line."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for wanted in [
    *project["dependencies"],
    *(one for extra in project["optional-dependencies"].values() for one in extra),
]:
    if found := re.fullmatch(r"([\w.-]+)\s*>=\s*([\d.]+)", wanted):
        print(f"{found[1]}=={found[2]}")
