"""The labels analysis: nested budgets, the worth on made-up curves, several labels an image, gaps."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from smoke import study as smoke

from transferscope import analyses
from transferscope.data import open_squares
from transferscope.data.split import nested_fraction
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.study import Study

from .conftest import finish

module = analyses.load("labels")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    path = smoke.write(tmp_path_factory.mktemp("labels"))
    return finish(path, {"analyses": "{labels: {fractions: [0.3, 0.6, 1.0]}}"})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.load(smoke.write(tmp_path), {"analyses": "[transfer]"})


def test_rows_tell_how_many_images_and_the_end_of_each_run(done):
    rows = done.table("labels").rows
    images = open_squares(done.store.get(done.study.data("shapes")).path)
    for cell in (c for c in done.plan.cells if c.analysis == "labels"):
        row = rows.filter(pl.all_horizontal(pl.col(name) == value for name, value in cell.labels.items())).row(
            0, named=True
        )
        own = images.rows["train"]
        if cell.labels["fraction"] < 1:
            own = nested_fraction(images.labels, own, cell.labels["fraction"], seed=cell.labels["seed"])
        run = done.store.get(cell.step.params["run"])
        assert row["images"] == len(own) and row["epochs"] == 2
        assert row["test_metric"] == run.rows[-1]["whole_test_metric"]
        assert row["speed_metric"] == pytest.approx(np.mean([r["train_metric"] for r in run.rows[1:]]))
    assert rows["images"].unique().sort().to_list() == [24, 46, 78] or rows["images"].n_unique() == 3


def test_both_arms_see_the_same_images_and_the_whole_is_what_transfer_trains(study):
    steps = {tuple(c.values()): step.params["run"] for c, step in module.plan(study, module.Options())}
    for (_, arm, fraction, seed), run in steps.items():
        assert run.params["fraction"] == fraction and run.params["seed"] == seed and run.params["arm"] == arm
        if fraction == 1:
            assert run.key == study.run("shapes", arm, seed).key
    assert len({fraction for _, _, fraction, _ in steps}) == 4


def test_length_of_training(study):
    def epochs(**options):
        chosen = module.Options.model_validate(options)
        return {c["fraction"]: step.params["run"].params["epochs"] for c, step in module.plan(study, chosen)}

    assert set(epochs().values()) == {2} and set(epochs(epochs=5).values()) == {5}
    assert epochs(same="steps", epochs=5) == {0.1: 50, 0.25: 20, 0.5: 10, 1.0: 5}
    assert epochs(same="steps", epochs=5, longest=3) == {0.1: 15, 0.25: 15, 0.5: 10, 1.0: 5}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fractions": [0.5]}, "at least 2"),
        ({"fractions": [0.5, 0.5]}, "listed twice"),
        ({"fractions": [0, 1]}, "greater than 0"),
        ({"fractions": [0.5, 1.5]}, "less than or equal to 1"),
        ({"same": "images"}, "'epochs' or 'steps'"),
    ],
)
def test_bad_options_get_one_sentence(given, said):
    with pytest.raises(UserError, match=r"analyses\.labels") as caught:
        analyses.options("labels", given)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_study_without_weights_is_told_so(tmp_path):
    study = Study.load(smoke.write(tmp_path), {"analyses": "[labels]", "pretrained": "null", "arms": "[random]"})
    with pytest.raises(UserError, match=r"analyses.labels: .*add 'pretrained: ...'"):
        analyses.plan(study)


SIZES = (100, 250, 500, 1000)


def made(worths, seeds=7, noise=0.002, metric="accuracy", epochs=20, rise=0.0):
    """The random arm on a known law; the pretrained arm as good as the random one with `worths` images."""
    draw = np.random.default_rng(0)

    def score(n):
        return 1 - (0.05 + 3 * n**-0.5)

    rows = []
    for images, matched in zip(SIZES, worths, strict=True):
        for seed in range(seeds):
            for arm, n in (("random", images), ("pretrained", matched)):
                end = score(n) + draw.normal(0, noise)
                rows.append(
                    {
                        "target": "t",
                        "arm": arm,
                        "fraction": images / 1000,
                        "seed": seed,
                        "images": images,
                        "metric": metric,
                        "epochs": epochs,
                        "test_metric": end,
                        "best_metric": end,
                        "speed_metric": end,
                        "rise_metric": rise,
                    }
                )
    return ResultTable(pl.DataFrame(rows))


def test_worth_is_read_off_the_random_arms_law():
    section = module.section(made((300, 600, 2000, 4000)), module.Options())
    inside = [f for f in section.findings if "scores as high as" in f.text]
    assert [f.effect for f in inside] == [pytest.approx(300, rel=0.05), pytest.approx(600, rel=0.05)]
    for finding, true in zip(inside, (300, 600), strict=True):
        assert finding.low < true < finding.high and finding.n == 7
    assert "on 100 labelled images" in inside[0].text and "3.0 times as many" in inside[0].text
    assert "about 200 more labels" in inside[0].text
    (beyond,) = (f for f in section.findings if "beyond the data" in f.text)
    assert "500 and 1,000 labelled images" in beyond.text and beyond.effect == pytest.approx(2.8, abs=0.5)
    table = section.tables[0].rows
    assert table["from scratch it takes"].to_list()[2:] == ["beyond the data"] * 2


def test_a_study_that_looks_often_lights_its_card_by_its_own_level():
    (card,) = module.section(made((300, 400, 800, 3000), seeds=4, noise=0.001), module.Options()).cards
    assert card.light == "yes" and card.again(0.01).light == "yes" and card.again(1e-12).light == "unsure"


def test_no_worth_below_what_was_tried():
    section = module.section(made((50, 250, 500, 1000)), module.Options())
    assert any(
        "scores no higher than the random arm" in f.text and "with 100 labelled" in f.text for f in section.findings
    )
    same = [f for f in section.findings if "scores as high as" in f.text]
    assert same[0].effect == pytest.approx(250, rel=0.1)


def test_no_labels_saved_and_curves_that_follow_no_law():
    section = module.section(made((100, 200, 300, 400), noise=0), module.Options())
    level, *fewer = [f.text for f in section.findings if "scores as high as" in f.text]
    assert "is not seen to be worth any labels there, which does not show" in level, "as many as there are"
    assert len(fewer) == 3 and all(text.endswith("is worth no labels there.") for text in fewer)
    assert not any("power law" in note for note in section.notes)
    steps = pl.when(pl.col("images") < 500).then(0.3).otherwise(0.9)
    rows = made(SIZES, noise=0).rows.with_columns(test_metric=steps)
    section = module.section(ResultTable(rows), module.Options())
    assert any("does not follow a power law" in note for note in section.notes)
    assert not any("beyond" in f.text for f in section.findings), "what was measured is reached"


def test_an_interval_that_leaves_the_data_says_so():
    section = module.section(made((950, 950, 950, 950), seeds=3, noise=0.01), module.Options())
    said = [f for f in section.findings if "its interval begins" in f.text]
    assert said and all("beyond the 1,000 there are" in f.text and f.high is None and f.low is None for f in said)


def test_the_gap_is_told_at_both_ends():
    first, last = module.section(made((300, 600, 2000, 4000)), module.Options()).findings[:2]
    assert "with 100 labelled images" in first.text and first.effect == pytest.approx(
        100 * 3 * (0.1 - 300**-0.5), abs=1
    )
    assert "with 1,000 labelled images" in last.text and last.low > 0


def test_notes_tell_how_long_and_whether_it_was_long_enough():
    notes = module.section(made(SIZES, rise=0.05), module.Options()).notes
    assert any("same 20 epochs" in note for note in notes) and any("still rising" in note for note in notes)
    table = made(SIZES)
    rows = table.rows.with_columns(epochs=(20_000 // pl.col("images")).cast(pl.Int64))
    notes = module.section(ResultTable(rows), module.Options()).notes
    assert any("100 images for 200, 250 images for 80" in note for note in notes)
    assert not any("still rising" in note for note in notes)


def test_section_of_the_smoke_study_draws_everything(done):
    section = done.section("labels")
    assert section.charts[0].name == "shapes-curve" and section.findings and section.tables[0].rows.height == 3
    assert all(c.spec.to_dict() for c in section.charts)


GAPS = {
    "no random arm": pl.col("arm") != "random",
    "no pretrained arm": pl.col("arm") != "pretrained",
    "one budget": pl.col("images") == 250,
    "two budgets": pl.col("images").is_in([100, 250]),
    "no whole": pl.col("images") < 1000,
    "one seed": pl.col("seed") == 0,
    "different seeds": (pl.col("seed") == 0) == (pl.col("arm") == "random"),
    "a hole": ~((pl.col("images") == 250) & (pl.col("seed") < 6) & (pl.col("arm") == "random")),
}


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("worths", [(300, 600, 2000, 4000), SIZES])
def test_section_survives_gaps(gap, worths):
    section = module.section(ResultTable(made(worths).rows.filter(GAPS[gap])), module.Options())
    assert all(c.spec.to_dict() for c in section.charts) and section.tables
    assert all("nan" not in f.text and f.text.endswith(".") for f in section.findings)


def test_several_labels_an_image(tmp_path):
    path = smoke.write(tmp_path)
    kinds = ("disc", "square", "stripes")
    files = [(kind, file) for kind in kinds for file in sorted((tmp_path / "images" / kind).iterdir())[:20]]
    lines = ["path,warm,cold", *(f"{f},{int(k != 'stripes')},{int(k != 'disc')}" for k, f in files)]
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    chosen = {"labels": "fractions: [0.4, 1.0]", "reuse": "at: [1]", "tuning": "top: [2], rates: [1], head_rates: [1]"}
    given = ", ".join(f"{name}: {{{options}, seeds: 1, epochs: 1}}" for name, options in chosen.items())
    done = finish(path, {"targets": "{several: 'csv:labels.csv'}", "analyses": f"{{{given}}}"})
    for name in chosen:
        section, rows = done.section(name), done.table(name).rows
        assert rows["metric"].unique().to_list() == ["auc"] and rows["test_metric"].null_count() == 0
        assert any("test AUC" in f.text for f in section.findings) and section.tables
        assert all(c.spec.to_dict() for c in section.charts)


def test_nothing_done_and_scores_without_a_value():
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes
    rows = made(SIZES).rows.with_columns(test_metric=pl.lit(None, pl.Float64))
    assert "AUC is undefined" in module.section(ResultTable(rows), module.Options()).notes[0]
    rows = made(SIZES, metric="auc").rows.with_columns(rise_metric=pl.lit(None, pl.Float64))
    assert "test AUC" in module.section(ResultTable(rows), module.Options()).findings[0].text


def test_two_fractions_that_keep_the_same_images_count_once():
    rows = made((300, 600, 2000, 4000)).rows
    twice = pl.concat([rows, rows.filter(pl.col("images") == 100).with_columns(fraction=pl.lit(0.12))])
    alone, both = (module.section(ResultTable(of), module.Options()).findings for of in (rows, twice))
    assert [(f.text, f.effect, f.low, f.n) for f in both] == [(f.text, f.effect, f.low, f.n) for f in alone]
