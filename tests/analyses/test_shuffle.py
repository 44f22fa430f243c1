"""The shuffle analysis: what its runs are, its pictures, what chance scores, its verdicts, its gaps."""

import io
import math

import numpy as np
import polars as pl
import pytest
from PIL import Image
from smoke import study as smoke

from transferscope import analyses
from transferscope.analyses.shuffle.examples import GAP, _of_every_class, patches
from transferscope.analyses.shuffle.results import gathered
from transferscope.data import open_squares
from transferscope.data.shuffle import block_permutation, block_sizes, shuffle
from transferscope.engine.table import Missing, ResultTable
from transferscope.errors import UserError
from transferscope.measures import judged as judging
from transferscope.measures import metrics
from transferscope.study import Study

from .conftest import finish

module = analyses.load("shuffle")
OPTIONS = "{blocks: [8, channels, 1, 32], epochs: 1, seeds: 1, pictures: 2}"
BLOCKS = ["channels", "1", "8", "whole"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    path = smoke.write(tmp_path_factory.mktemp("shuffle"))
    return finish(path, {"analyses": f"{{shuffle: {OPTIONS}}}", "recipe.evaluate": "all"})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study.load(smoke.write(tmp_path_factory.mktemp("planned")))


def cells(study, **given):
    return list(module.plan(study, analyses.options("shuffle", given)))


def params(study, **given):
    """The parameters of every planned run, by labels."""
    return {
        (labels["block"], labels["arm"], labels["seed"]): step.params
        for labels, step in cells(study, **given)
        if labels["arm"] is not None
    }


# -- the plan ----------------------------------------------------------------------------------------------------------


def test_every_run_and_its_reference_have_augmentation_off(study):
    assert study.recipe.augment is not None
    runs = params(study, blocks=[8, "channels"])
    assert set(runs) == {
        (b, a, s) for b in ("channels", "8", "whole") for a in ("random", "pretrained") for s in (0, 1)
    }
    assert {step["augment"] for step in runs.values()} == {None}
    for (block, arm, seed), step in runs.items():
        want = {"8": {"block": 8}, "channels": {"block": "channels"}, "whole": None}[block]
        assert step["shuffle"] == want and step["arm"] == arm and step["seed"] == seed
        assert step["data"].key == study.data("shapes").key and step["epochs"] == study.recipe.epochs


def test_the_unshuffled_run_is_planned_once(study):
    """A block as large as the image moves nothing, and is the reference itself."""
    assert params(study, blocks=[8, 32]).keys() == params(study, blocks=[8, 8]).keys()
    plain = study.run("shapes", "random", 0, augment=None)
    assert plain.key in {step.key for _, step in cells(study, blocks=[8])}


def test_a_permutation_per_image_stays_out_of_the_key_unless_asked_for(study):
    shared, own = cells(study, blocks=[8]), cells(study, blocks=[8], per_image=True)
    asked = [(labels, step.params.get("shuffle")) for labels, step in own]
    assert all(how == {"block": 8, "per_image": True} for labels, how in asked if labels["block"] == "8")
    for (labels, a), (_, b) in zip(shared, own, strict=True):
        assert (a.key == b.key) == (labels["block"] == "whole")
    assert not any("per_image" in (step.params.get("shuffle") or {}) for _, step in shared)


def test_fewer_seeds_shorter_runs_and_chosen_arms(study):
    runs = params(study, blocks=[4], seeds=1, epochs=1, arms=["pretrained"])
    assert set(runs) == {("4", "pretrained", 0), ("whole", "pretrained", 0)}
    assert {step["epochs"] for step in runs.values()} == {1}


@pytest.mark.parametrize(
    ("image", "want"),
    [(64, [1, 4, 8, 16, 32]), (224, [1, 4, 8, 16, 32, 112]), (32, [1, 4, 8, 16]), (8, [1, 4]), (37, [1]), (1, [1])],
)
def test_default_blocks_divide_the_image_and_are_few(image, want):
    assert module.sizes(block_sizes(image), "images", module.Options()) == want


@pytest.mark.parametrize(("patch", "more"), [(12, [12]), (16, []), (96, []), (7, []), (None, [])])
def test_default_blocks_hold_the_patches_of_a_network_that_cuts_some(patch, more):
    """Patches that do not divide the image, or are the image, are no blocks."""
    assert module.sizes(block_sizes(96), "images", module.Options(), patch) == sorted([1, 4, 8, 16, 32, *more])


def test_a_network_with_patches_gets_blocks_of_them_and_a_note(study):
    vit = study.changed(network='timm:vit_tiny_patch16_224?{"img_size":96,"patch_size":12}', image_size=96)
    blocks = {labels["block"] for labels, _ in cells(vit)}
    assert blocks == {None, "whole", "1", "4", "8", "12", "16", "32"}
    look = next(step for labels, step in cells(vit) if labels["arm"] is None)
    assert look.params["patch"] == 12
    plain = next(step for labels, step in cells(study) if labels["arm"] is None)
    assert plain.params["patch"] is None and plain.neutral["patch"] is None
    rows = pl.DataFrame({"block": ["8", "12", "24", "4", "whole", None], "patch": [None] * 5 + [12]})
    (note,) = patches(rows)
    assert note == (
        "The network cuts images into patches of 12 px: blocks of 12 and 24 px keep every patch as it was and move "
        "only its place; blocks of 4 px are cut out of patches and change what is in them; blocks of 8 px straddle "
        "patches."
    )
    assert patches(rows.drop("patch")) == [] and patches(rows.with_columns(patch=None)) == []


def test_a_block_that_does_not_divide_names_those_that_do(study):
    with pytest.raises(UserError, match=r"analyses\.shuffle\.blocks: 5 .* 32 px; .*: 1, 2, 4, 8, 16, 32 \(or 'chan"):
        cells(study, blocks=[8, 5])


@pytest.mark.parametrize("bad", [["chanels"], [0], [-8], [True], [2.5], [], 8, [[8]]])
def test_bad_blocks_are_one_sentence(bad):
    with pytest.raises(UserError, match=r"analyses\.shuffle.*blocks") as error:
        analyses.options("shuffle", {"blocks": bad})
    assert "\n" not in str(error.value)


def test_other_bad_options(study):
    with pytest.raises(UserError, match=r"analyses\.shuffle\.arms: 'pretraned' .*; did you mean 'pretrained'"):
        cells(study, arms=["pretraned"])
    for bad in ({"epochs": 0}, {"seeds": 0}, {"pictures": -1}, {"per_image": "yes"}, {"block": [8]}):
        with pytest.raises(UserError, match=r"analyses\.shuffle"):
            analyses.options("shuffle", bad)


# -- the runs ----------------------------------------------------------------------------------------------------------


def test_training_and_test_images_share_the_permutation_of_the_seed(done):
    """The saved weights, evaluated on images shuffled here by the seed's permutation, give the run's own scores."""
    from transferscope.tasks import restore

    for cell in done.plan.cells:
        if cell.analysis != "shuffle" or cell.labels["block"] not in ("8", "channels"):
            continue
        run, data = done.store.get(cell.step), done.store.get(cell.step.params["data"])
        block = cell.step.params["shuffle"]["block"]
        moves = block_permutation(32, block, seed=cell.labels["seed"])
        net = restore.network(run, data)
        for split in ("train", "test"):
            how = restore.batches(run, data, split)
            pairs = [(net(shuffle(x, moves)).detach().numpy(), y.numpy()) for x, y, *_ in how]
            logits, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
            score = judging.score(logits, labels, run.rows[-1]["metric"])
            assert score == pytest.approx(run.rows[-1][f"{split}_metric"], abs=1e-6)


def test_pictures_show_what_the_runs_see(done):
    (labels, artifact), *_ = done.table("shuffle").artifacts
    assert labels["arm"] is None
    sheet = np.asarray(Image.open(artifact.path / "strip.png"))
    side = 96  # three times the 32 px of the images
    assert sheet.shape == (2 * side + GAP, 4 * side + 3 * GAP, 3)
    table = open_squares(done.store.get(done.plan.cells[-1].step.params["data"]).path)
    rows = table.rows["train"][_of_every_class(table.labels[table.rows["train"]])[:2]]
    assert len(set(table.labels[rows])) == 2
    pixels = table.gather(rows, "eval")
    for line in range(2):
        tiles = [sheet[line * (side + GAP) :, x * (side + GAP) :][:side:3, :side:3] for x in range(4)]
        assert (tiles[3] == pixels[line]).all()
        moved = block_permutation(32, 8, seed=0)
        want = np.stack([pixels[line].reshape(4, 8, 4, 8, 3)[k // 4, :, k % 4] for k in moved])
        assert (tiles[2].reshape(4, 8, 4, 8, 3).swapaxes(1, 2).reshape(16, 8, 8, 3) == want).all()
        assert (np.sort(tiles[1].reshape(-1, 3), 0) == np.sort(pixels[line].reshape(-1, 3), 0)).all()
        assert (tiles[0] != tiles[1]).any()


def test_section_of_finished_runs(done):
    section = done.section("shuffle")
    assert [c.name for c in section.charts] == [f"shapes-{n}" for n in ("final", "drop", "speed", "gap")]
    assert all(c.spec.to_dict() for c in section.charts)
    assert section.tables[0].rows["block"].to_list() == BLOCKS
    (picture,) = section.pictures
    assert Image.open(io.BytesIO(picture.png)).size[0] > 100 and "blocks of 8 px" in picture.caption
    assert all(f.verdict in (None, "open") for f in section.findings)


def test_section_survives_gaps(done):
    whole = done.table("shuffle")
    for count in (0, 1, 2, 5):
        part = ResultTable(whole.rows.head(count), (Missing({"arm": "random"}, "failed"),), whole.artifacts[:count])
        assert module.section(part, module.Options()).title
    for column, values in (("block", BLOCKS), ("arm", ["random", "pretrained"])):
        for value in values:
            rows = whole.rows.filter(pl.col(column) != value)
            assert all(c.spec.to_dict() for c in module.section(ResultTable(rows), module.Options()).charts)
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes == ["No run has finished yet."]


# -- chance ------------------------------------------------------------------------------------------------------------


def test_chance_is_what_guessing_scores():
    """Against guesses drawn many times: random answers by share would score no higher than the largest class."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    chance, luck = judging.chance(labels, 3, "accuracy")
    assert chance == 0.5 and luck == pytest.approx(0.05)
    drawn = [(rng.random(100) < 0.5).mean() for _ in range(4000)]
    assert np.std(drawn) == pytest.approx(luck, rel=0.05)

    binary = np.repeat([0, 1], [70, 30])
    chance, luck = judging.chance(binary, 2, "auc")
    drawn = [metrics.auc(rng.random(100), binary) for _ in range(2000)]
    assert chance == 0.5 and np.std(drawn) == pytest.approx(luck, rel=0.08)
    columns = np.stack([binary, binary[::-1], np.zeros(100, dtype=int)], 1)
    assert judging.chance(columns, 3, "auc") == (0.5, pytest.approx(luck))
    assert judging.chance(np.zeros((10, 2), dtype=int), 2, "auc") == (0.5, None)


def made(tuned, scratch, speeds=((0.9, 0.6), (0.9, 0.6)), seeds=7, metric="accuracy", spread=0.01, chance=0.2):
    """Rows of two arms at blocks of 1 px and whole, with final scores `tuned` and `scratch` and speeds by block."""
    draw = np.random.default_rng(0)
    rows = [{"target": "t", "block": None, "arm": None, "seed": None, "chance": chance, "luck": 0.02}]
    for place, block in enumerate(("1", "whole")):
        for arm, finals, which in (("pretrained", tuned, 0), ("random", scratch, 1)):
            for seed in range(seeds):
                labels = {"target": "t", "block": block, "arm": arm, "seed": seed, "metric": metric}
                final = finals[place] + spread * draw.standard_normal()
                speed = speeds[place][which] + spread * draw.standard_normal()
                for epoch, score in enumerate((0.1, final)):
                    split = {"train_metric": speed if epoch else 0.1, "val_metric": score, "test_metric": score}
                    rows.append({**labels, "epoch": epoch, **split, "train_loss": 1.0 - 0.1 * epoch})
    return ResultTable(pl.DataFrame(rows, infer_schema_length=None))


def judged(table, claim):
    return [f for f in module.section(table, module.Options()).findings if f.claim == claim]


@pytest.mark.parametrize(
    ("tuned", "scratch", "verdict", "effect"),
    [
        ((0.5, 0.8), (0.48, 0.4), "supports", 46),
        ((0.5, 0.8), (0.25, 0.7), "contradicts", -37),
        ((0.6, 0.8), (0.45, 0.6), "open", 0),
    ],
)
def test_verdict_on_claim_two(tuned, scratch, verdict, effect):
    (found,) = judged(made(tuned, scratch), 2)
    assert found.verdict == verdict and found.effect == pytest.approx(effect, abs=2) and found.n == 7
    assert found.low <= found.effect <= found.high
    (few,) = judged(made(tuned, scratch, seeds=2), 2)
    assert few.verdict == "open"


@pytest.mark.parametrize(
    ("speed", "verdict", "words"),
    [
        ((0.6, 0.5), "supports", "speeds training up"),
        ((0.5, 0.6), "contradicts", "slows"),
        ((0.5, 0.5), "open", "not shown"),
    ],
)
def test_verdict_on_claim_three(speed, verdict, words):
    (found,) = judged(made((0.5, 0.8), (0.45, 0.4), speeds=(speed, (0.9, 0.8))), 3)
    assert found.verdict == verdict and words in found.text and "blocks of 1 px" in found.text
    assert found.effect == pytest.approx(100 * (speed[0] - speed[1]), abs=1.5)


def test_relative_drop_and_speed_are_the_papers_formulas():
    of = gathered("t", made((0.5, 0.8), (0.25, 0.4), spread=0.0).rows)
    assert of.drop("1").mean == of.drop("whole").mean == pytest.approx(50)
    assert of.gap("1", "speed").mean == pytest.approx(30)
    assert of.blocks == ["1", "whole"] and of.clear


def test_what_survives_of_the_gain():
    section = module.section(made((0.45, 0.8), (0.35, 0.4), spread=0.001), module.Options())
    (said,) = [f for f in section.findings if f.unit == "percent of the gain"]
    assert said.effect == pytest.approx(25, abs=1) and "25% survives in blocks of 1 px" in said.text
    assert "gain of 39.9 points" in said.text and said.claim is None


def test_an_arm_at_chance_is_named_and_judges_nothing():
    section = module.section(made((0.5, 0.8), (0.2, 0.4)), module.Options())
    (note,) = [n for n in section.notes if "chance" in n]
    assert "random arm" in note and "in blocks of 1 px" in note and "20.0% accuracy" in note
    assert not [f for f in section.findings if f.claim == 2]
    assert section.tables[0].rows["at chance"].to_list() == ["random", "-"]
    lost = module.section(made((0.2, 0.8), (0.2, 0.4)), module.Options())
    assert any("px, where the random and pretrained arms are at chance" in f.text for f in lost.findings)


@pytest.mark.parametrize("scratch", [0.8, 0.85])
def test_without_a_gain_nothing_is_split(scratch):
    section = module.section(made((0.5, 0.8), (0.4, scratch)), module.Options())
    assert any("not meaningful on this data" in note for note in section.notes)
    assert not [f for f in section.findings if f.claim == 2 or f.unit == "percent of the gain"]


def test_auc_is_called_so_and_needs_no_known_chance():
    table = made((0.7, 0.9), (0.6, 0.7), metric="auc")
    rows = table.rows.filter(pl.col("arm").is_not_null()).drop("chance", "luck")
    section = module.section(ResultTable(rows), module.Options())
    assert all("AUC" in f.text for f in section.findings if f.claim) and not math.isnan(section.findings[0].effect)
    assert {f.unit for f in section.findings} >= {"points of AUC"}


def test_per_image_is_said():
    table = made((0.5, 0.8), (0.45, 0.4))
    assert any("own way" in n for n in module.section(table, module.Options(per_image=True)).notes)
    assert not any("own way" in n for n in module.section(table, module.Options()).notes)


def test_a_share_that_may_be_nothing_is_said_to_be_so():
    section = module.section(made((0.452, 0.8), (0.45, 0.4), spread=0.01), module.Options())
    (said,) = [f for f in section.findings if f.unit == "percent of the gain"]
    assert said.low < 0 < said.high and "do not tell from nothing" in said.text and "statistics" not in said.text
