"""What `init` makes of a path or a reference: the source that recognises it, and a study that loads."""

from pathlib import Path

import pytest
import shard
import yaml
from smoke import images

from transferscope import data
from transferscope.errors import UserError
from transferscope.propose import propose

NETWORK = {"network": "timm:resnet10t", "weights": "timm"}


def reference(given: Path | str, beside: Path) -> str:
    """The target's reference in the proposed study."""
    text, said = propose(given, beside, **NETWORK)
    (target,) = yaml.safe_load(text)["targets"].values()
    assert said.startswith("Found ")
    return str(target if isinstance(target, str) else target["ref"])


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    drawn = images.write(tmp_path / "images", each=4)
    return [file for file in sorted(drawn.rglob("*.jpg")) if file.parent.name in ("disc", "square")]


def test_shards(pictures: list[Path], tmp_path: Path) -> None:
    rows = [(f"{f.parent.name}-{f.stem}", {"jpg": f.read_bytes(), "cls": f.parent.name}) for f in pictures]
    shard.write(tmp_path / "shards" / "train" / "0.tar", rows)
    assert reference(tmp_path / "shards", tmp_path) == "webdataset:shards"
    assert reference(tmp_path / "shards" / "train" / "0.tar", tmp_path) == "webdataset:shards/train/0.tar"
    assert reference(f"webdataset:{tmp_path}/shards", tmp_path) == f"webdataset:{tmp_path}/shards"


def test_a_folder_of_pictures_with_its_metadata(pictures: list[Path], tmp_path: Path) -> None:
    lines = [f"{file.relative_to(tmp_path / 'images')},{file.parent.name}" for file in pictures]
    (tmp_path / "images" / "metadata.csv").write_text("\n".join(["file_name,label", *lines]), encoding="utf-8")
    assert reference(tmp_path / "images", tmp_path) == "csv:images/metadata.csv"
    found = data.open_listing(f"csv:{tmp_path}/images/metadata.csv")
    assert found.classes == ("disc", "square") and len(found.names) == len(pictures)


def test_a_saved_data_set(pictures: list[Path], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = {"image": [str(file) for file in pictures], "label": [file.parent.name for file in pictures]}
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["disc", "square"])})
    datasets.Dataset.from_dict(table, features=kinds).save_to_disk(tmp_path / "saved")
    assert reference(tmp_path / "saved", tmp_path) == "hf:saved"


def test_somebodys_own_source_and_one_that_comes_along(tmp_path: Path) -> None:
    assert reference("newcomers.rings:4", tmp_path) == "newcomers.rings:4"
    assert reference("digits:", tmp_path) == "digits:"


@pytest.mark.parametrize("given", ["nowhere", "nosuch:thing"])
def test_what_is_not_there_is_one_sentence(given: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"There is no {given}; .* such as hf:NAME"):
        propose(given, tmp_path)
