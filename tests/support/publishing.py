"""Small files of published numbers."""

from pathlib import Path
from typing import Any

import yaml

DROP = {
    "place": "figure 1",
    "quantity": "relative_drop",
    "tag": "printed",
    "values": [{"target": "a", "block": "2", "value": 3}],
}


def file(folder: Path, *tables: dict[str, Any], **more: Any) -> str:
    """A file with these tables, and its path."""
    said = {"title": "Ours (2021)", "short": "ours", "targets": {"a": {}}, "tables": list(tables) or [DROP], **more}
    path = folder / "numbers.yaml"
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return str(path)
