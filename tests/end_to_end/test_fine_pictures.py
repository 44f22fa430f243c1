"""Pictures whose classes differ by less than a level of 8 bits: at chance in a table of 8, learnt in deeper ones."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from smoke import nets

from transferscope.engine.estimate import Past
from transferscope.engine.store import Store
from transferscope.forecast import Forecast, image_counts
from transferscope.rehearsal import augmentations
from transferscope.study import Study

EACH, SIDE, LEVEL, BELOW = 60, 24, 257, 100  # a level of 8 bits is 257 of 16, and the signal at most 100 of them
FINE = """\
name: films
targets: {films: {ref: "folder:films", window: [0, 65535], depth: DEPTH}}
network: smoke.nets:fine
pretrained: file:weights.safetensors
image_size: 24
seeds: 2
split: {val: 0.2, test: 0.4}
recipe:
  {epochs: 4, batch_size: 12, lr: 0.05, augment: {scale: [0.8, 1.0], then: [vertical_flip, {affine: {degrees: 1}}]}}
analyses:
  images: {}
  transfer: {}
  mistakes: {}
  similarity: {images: 16}
  shuffle: {blocks: [1, channels], seeds: 1}
  barrier: {alphas: 3}
resources: {device: cpu, executor: inline}
"""


def films(folder: Path) -> None:
    """Flat halves of random grey, on which fine stripes lie: along rows in one class, along columns in the other."""
    draw = np.random.default_rng(0)
    stripes = BELOW * np.where(np.arange(SIDE) // 3 % 2, 1, -1)
    for kind, fine in (("columns", stripes[None, :]), ("rows", stripes[:, None])):
        (folder / kind).mkdir(parents=True)
        for number in range(EACH):
            coarse = np.repeat(draw.integers(20, 236, 2), SIDE // 2)[None, :]
            moved = np.roll(fine * np.ones((SIDE, SIDE), np.int64), draw.integers(0, 6, 2), (0, 1))
            values = (LEVEL * coarse + moved).astype(np.uint16)
            assert np.array_equal(np.rint(values / LEVEL), np.broadcast_to(coarse, values.shape))
            np.save(folder / kind / f"{number:02d}.npy", values)


def study(folder: Path, depth: object, *changes: tuple[str, str]) -> Path:
    from safetensors.torch import save_file

    folder.mkdir()
    films(folder / "films")
    save_file(nets.weights(1, nets.fine(1000)), folder / "weights.safetensors")
    text = FINE.replace("DEPTH", str(depth))
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("depth", [8, 16, "float"])
def test_what_lies_below_8_bits_is_learnt_from_deeper_tables(tmp_path: Path, call, depth: object) -> None:
    folder = study(tmp_path / "study", depth)
    done = call("run", cwd=folder)
    assert done.code == 0, done.out + done.err
    scores = pl.read_csv(folder / "tables" / "transfer.csv").filter(epoch=4)["test_metric"].to_list()
    assert len(scores) == 4
    if depth == 8:  # 0.5 within four standard deviations of the area under the curve of 24 and 24 pictures, 0.084
        assert min(scores) > 0.16 and max(scores) < 0.84
    else:
        assert min(scores) > 0.9
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert {part["name"] for part in found["analyses"]} == {
        *("images", "transfer", "mistakes", "similarity", "shuffle", "barrier")
    }
    page = (folder / "report.html").read_text(encoding="utf-8")
    top = {8: "255", 16: "65535", "float": "1"}[depth]
    assert f"Values 0 to 65535 of the 16-bit pictures are spread to 0..{top}" in page
    for name in ("images-films-examples.png", "shuffle-films-blocks.png"):
        assert (folder / "figures" / name).exists(), name


def test_check_says_what_deeper_tables_do_not_bear(tmp_path: Path, call) -> None:
    folder = study(tmp_path / "study", 16)
    done = call("check", cwd=folder)
    said = " ".join((done.out + done.err).split())
    assert done.code == 0, said
    assert "float32 (pictures of more than 8 bits are kept, which bfloat16 would round)" in said
    asked = call("check", "--set", "recipe.precision=bfloat16", cwd=folder)
    assert "rounds what lies below 8 bits" in " ".join((asked.out + asked.err).split())
    for name in ("rand_augment", "trivial_augment"):
        for verb in ("check", "run"):
            refused = call(verb, "--set", f"recipe.augment={{then: [{name}]}}", cwd=folder)
            words = " ".join((refused.out + refused.err).split())
            assert refused.code == 3 and f"recipe.augment.then.0.{name}: {name} takes pictures of 8 bits" in words, (
                words
            )
        assert (
            call(
                "check", "--set", f"recipe.augment={{then: [{name}]}}", "--set", "targets.films.depth=8", cwd=folder
            ).code
            == 0
        )
    for wrong in ("12", "'16'", "[16]"):
        refused = call("check", "--set", f"targets.films.depth={wrong}", cwd=folder)
        words = " ".join((refused.out + refused.err).split())
        assert refused.code == 2 and "targets.films.depth: " in words and "Traceback" not in words, words


def test_only_the_recipe_of_deeper_pictures_is_tried_with_them(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", 8)
    for depths, expected in ((("8", "16"), (False, True)), (("16", "8"), (True, False))):
        own, other = depths
        source = f"{{ref: 'folder:films', depth: {other}}}"
        said = f"{{source: {source}, recipe: {{augment: {{then: [rand_augment]}}}}}}"
        loaded = Study.load(folder / "study.yaml", {"targets.films.depth": own, "pretrained": said})
        found = {where: more_bits for where, (_, more_bits) in augmentations(loaded).items()}
        assert found == dict(zip(("recipe", "pretrained.recipe"), expected, strict=True))
        alike = Study.load(folder / "study.yaml", {"targets.films.depth": own, "pretrained": f"{{source: {source}}}"})
        assert [more_bits for _, more_bits in augmentations(alike).values()] == [True], "both use one recipe"


def test_the_forecast_counts_the_bytes_of_the_depth(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", 16)
    for depth, each in ((8, 1), (16, 2), ("float", 4)):
        loaded = Study.load(folder / "study.yaml", {"targets.films.depth": str(depth)})
        found = Forecast(Past(Store(folder / "store")), loaded.network, image_counts(loaded))
        assert found.of(loaded.data("films")).bytes == 2 * EACH * 3 * each * (24**2 + 36**2)
