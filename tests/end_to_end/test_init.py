"""`init` and `run` on folders of images never seen before."""

import csv
from pathlib import Path

import pytest
import yaml
from smoke import images, nets
from smoke.command import transferscope

# What makes the proposed study small enough for a test: a tiny network, one epoch, one seed, one rate to choose.
SMALL = [
    "network=smoke.nets:tiny",
    "pretrained=file:weights.safetensors",
    "image_size=32",
    "seeds=1",
    "recipe.epochs=1",
    "recipe.lr={random: [0.02, 0.05], pretrained: 0.05}",
    "resources.executor=inline",
]

SPLITS = {"train": 6, "val": 2, "test": 3}


@pytest.mark.slow
def test_init_then_run(tmp_path: Path, call) -> None:
    from safetensors.torch import save_file

    images.write(tmp_path / "my photos: 2 #1", each=12, classes=("dïsc", "a square", "stripes, 'thin'"))
    save_file(nets.weights(1), tmp_path / "weights.safetensors")
    wrote = transferscope("init", "my photos: 2 #1", cwd=tmp_path)
    assert wrote.returncode == 0, wrote.stderr
    assert "36 images, 3 classes" in wrote.stdout and "transferscope run study.yaml" in wrote.stdout
    changes = [word for change in SMALL for word in ("--set", change)]
    done = call("run", *changes, cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    assert len(list((tmp_path / "store" / "train").iterdir())) == 4, "two trials, two runs"
    assert len(list((tmp_path / "store" / "choose_lr").iterdir())) == 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "stripes, &#39;thin&#39;" in page and "dïsc" in page


def test_the_study_written_is_whole_and_commented(tmp_path: Path, call) -> None:
    images.write(tmp_path / "shapes", each=6)
    assert call("init", "shapes", cwd=tmp_path).code == 0
    text = (tmp_path / "study.yaml").read_text(encoding="utf-8")
    assert text.count("#") >= 6
    raw = yaml.safe_load(text)
    assert raw["targets"] == {"shapes": "folder:shapes"} and raw["arms"] == ["random", "pretrained"]
    again = call("init", "shapes")
    assert again.code == 2 and "--force" in again.err
    assert (tmp_path / "study.yaml").read_text(encoding="utf-8") == text
    assert call("init", "shapes", "--force").code == 0


@pytest.mark.parametrize(
    ("network", "size", "options", "optimizer"),
    [
        ("timm:vit_tiny_patch16_224", 64, {"img_size": 64}, "adamw"),
        ("timm:convnext_atto", 32, None, "adamw"),
        ("timm:resnet18", 32, None, None),
    ],
)
def test_the_optimiser_suits_the_network(tmp_path: Path, call, network, size, options, optimizer) -> None:
    """And the study that is written holds together as it stands: the weights alone are not there."""
    from transferscope.study import Study

    images.write(tmp_path / "shapes", each=6)
    assert call("init", "shapes", "--network", network, cwd=tmp_path).code == 0
    raw = yaml.safe_load((tmp_path / "study.yaml").read_text(encoding="utf-8"))
    assert raw["network"] == ({"ref": network, "options": options} if options else network)
    assert (raw["pretrained"], raw["image_size"], raw["recipe"].get("optimizer")) == ("timm", size, optimizer)
    study = Study.load(tmp_path / "study.yaml")
    assert study.recipe.optimizer == (optimizer or "sgd") and max(study.recipe.rates("pretrained")) <= 0.02
    own = call("init", "shapes", "--force", "--network", network, "--weights", "file:mine.pth")
    assert own.code == 0
    assert yaml.safe_load((tmp_path / "study.yaml").read_text(encoding="utf-8"))["pretrained"] == "file:mine.pth"


def test_a_file_of_weights_needs_no_scheme(tmp_path: Path, call) -> None:
    """It lies beside the study or where the command is given; of the latter the study has the whole path."""
    images.write(tmp_path / "shapes", each=6)
    for name in ("here.ckpt", "studies/there.pth"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"weights")

    def written(weights: str, out: str) -> str:
        how = ("--force", "--network", "timm:test_resnet", "--weights", weights, "--out", out)
        assert call("init", "shapes", *how, cwd=tmp_path).code == 0
        return yaml.safe_load((tmp_path / out).read_text(encoding="utf-8"))["pretrained"]

    assert written("here.ckpt", "study.yaml") == "file:here.ckpt"
    assert written("here.ckpt#teacher", "study.yaml") == "file:here.ckpt#teacher"
    assert written("there.pth", "studies/study.yaml") == "file:there.pth"
    assert written("here.ckpt", "studies/study.yaml") == f"file:{tmp_path / 'here.ckpt'}"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (["--network", "torchvision:resnet18"], "it brings no weights; give yours, --weights file:PATH"),
        (["--network", "timm:nope"], "timm has no 'nope'"),
        (["--weights", "file:mine.pth"], "say which with --network"),
        (
            ["--network", "timm:resnet18", "--weights", "runs/no.ckpt"],
            "--weights: 'runs/no.ckpt' is not a known source",
        ),
    ],
)
def test_a_network_that_cannot_be_is_one_sentence(tmp_path: Path, call, said, sentence) -> None:
    images.write(tmp_path / "shapes", each=6)
    found = call("init", "shapes", *said, cwd=tmp_path)
    assert found.code == 2 and sentence in found.err and not (tmp_path / "study.yaml").exists()


def test_given_splits_are_kept(tmp_path: Path, call) -> None:
    for part, each in SPLITS.items():
        images.write(tmp_path / "shapes" / part, each=each)
    assert call("init", "shapes", cwd=tmp_path).code == 0
    assert "split" not in yaml.safe_load((tmp_path / "study.yaml").read_text(encoding="utf-8"))
    said = call(
        "run",
        "--set",
        "network=smoke.nets:tiny",
        "--set",
        "pretrained=null",
        "--set",
        "arms=[random]",
        "--set",
        "analyses=[images]",
    )
    assert said.code == 0, said.err
    rows = list(csv.DictReader((tmp_path / "tables" / "images.csv").open()))
    counts = {(row["split"], row["class"]): int(row["images"]) for row in rows}
    assert counts == {(part, name): n for part, n in SPLITS.items() for name in images.CLASSES}


def test_a_table_of_several_labels(tmp_path: Path, call) -> None:
    images.write(tmp_path / "shapes", each=8)
    files = sorted((tmp_path / "shapes").rglob("*.*"))
    lines = [f"{f.relative_to(tmp_path)},{i % 2},{(i // 2) % 2},{int(i % 3 == 0)}" for i, f in enumerate(files)]
    (tmp_path / "shapes.csv").write_text("\n".join(["path,round,red,large", *lines]))
    said = call("init", "shapes.csv", cwd=tmp_path)
    assert said.code == 0 and "24 images, 3 labels" in said.out
    target = yaml.safe_load((tmp_path / "study.yaml").read_text())["targets"]["shapes"]
    assert target == {"ref": "csv:shapes.csv", "columns": {"path": "path", "label": ["round", "red", "large"]}}


def test_a_table_is_shown_column_by_column_and_written_out(tmp_path: Path, call) -> None:
    """What names leave open is taken as likely, shown, and written so that the study says it again."""
    images.write(tmp_path / "shapes", each=8)
    files = sorted((tmp_path / "shapes").rglob("*.*"))
    lines = [f"{f.stem + f.parent.name},{f.parent.name},p{i // 2},{30 + i},{i % 5}" for i, f in enumerate(files)]
    for file in files:
        file.rename(file.with_name(file.stem + file.parent.name + file.suffix))
    (tmp_path / "shapes.csv").write_text("\n".join(["image_id,dx,patient_id,age,fold", *lines]))
    said = call("init", "shapes.csv", cwd=tmp_path)
    shown = [line.split("  ") for line in said.out.splitlines() if line.startswith("  ")]
    taken = {words[1].strip(): " ".join(words[2:]).strip() for words in shown}
    assert taken["image_id"].startswith("path") and taken["dx"].startswith("label")
    assert taken["patient_id"].startswith("group") and taken["age"].startswith("left out: numbers")
    assert taken["fold"].startswith("left out: no words for train")
    assert "Images are found by their name below" in said.out
    target = yaml.safe_load((tmp_path / "study.yaml").read_text())["targets"]["shapes"]
    columns = {"path": "image_id", "label": "dx", "group": "patient_id", "split": None}
    assert target == {"ref": "csv:shapes.csv", "columns": columns}
    checked = call(
        "run",
        "--set",
        "network=smoke.nets:tiny",
        "--set",
        "pretrained=null",
        "--set",
        "arms=[random]",
        "--set",
        "analyses=[images]",
        "--set",
        "recipe.lr=0.1",
    )
    assert checked.code == 0, checked.err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "group is &#39;patient_id&#39;, whose images stay on one side" in page
    resolved = yaml.safe_load((tmp_path / "resolved.yaml").read_text())["targets"]["shapes"]
    assert resolved == {"ref": "csv:shapes.csv", "columns": {**columns, "label": ["dx"]}}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "does not exist|no .*nosuch"),
        (lambda root: (root / "nosuch").mkdir(), "no class folders"),
        (lambda root: images.write(root / "nosuch", 4, ("one",)), "single class"),
        (
            lambda root: [images.write(root / "nosuch" / part, 4) for part in ("fold_0", "fold_1")],
            "holds the same class folders",
        ),
        (lambda root: (root / "nosuch").write_text("x"), "is a file"),
    ],
    ids=["absent", "no classes", "one class", "folds", "a file"],
)
def test_images_that_cannot_be_used(tmp_path: Path, call, make, words: str) -> None:
    import re

    make(tmp_path)
    said = call("init", "nosuch", cwd=tmp_path)
    assert said.code == 2
    assert re.search(words, said.err, re.IGNORECASE), said.err
    assert not (tmp_path / "study.yaml").exists()
