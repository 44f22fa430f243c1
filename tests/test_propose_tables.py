"""What `init` writes of a table: every column, and a rule for its uncertain cells."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from transferscope.data import Target
from transferscope.propose import tables

CHEXPERT = ("Enlarged Cardiomediastinum", "Atelectasis", "Edema", "Pleural Effusion", "Support Devices")


@pytest.mark.parametrize(
    ("labels", "cell", "rule"),
    [(CHEXPERT, "-1.0", {"Atelectasis": 1, "Edema": 1}), (("Atelectasis", "Mass"), "-1", 0), (CHEXPERT, "", None)],
)
def test_uncertain_cells_are_ruled_on_in_the_study(tmp_path: Path, labels: tuple[str, ...], cell: str, rule) -> None:
    lines = [",".join(("Path", "Sex", *labels))]
    for i in range(12):
        file = f"patient{i // 2:05}/view{i % 2}.png"
        (tmp_path / file).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / file)
        lines.append(",".join((file, "MF"[i % 2], *(("1.0", "0.0", cell)[(i + k) % 3] for k in range(len(labels))))))
    (tmp_path / "train.csv").write_text("\n".join(lines))
    target, said = tables.target(tmp_path / "train.csv", "csv:train.csv")
    assert target.uncertain == rule
    assert yaml.safe_load(tables.written(target)) == target.model_dump(mode="json")
    assert any("Path" in line and "the patient in it" in line for line in said)
    assert any("Sex" in line and "left out" in line for line in said)
    assert target.columns is not None and target.columns.group == "Path"


def test_names_that_yaml_reads_otherwise_are_quoted() -> None:
    target = Target(ref="csv:t.csv", columns={"path": "NO", "label": "1", "group": "a: b", "split": None})
    written = yaml.safe_load(tables.written(target))
    assert Target.model_validate(written) == target
