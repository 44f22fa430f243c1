"""A study beside published numbers: what is read of it, when the two are subtracted, and what the interval says."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import official
import polars as pl
import pytest
from publishing import file
from scipy import stats
from smoke.command import inside

from transferscope import against, analyses
from transferscope.against.lines import Line
from transferscope.engine.table import ResultTable
from transferscope.section import DataSet
from transferscope.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two arms on one target with several analyses, of which nothing is run."""
    root = official.domainnet(tmp_path_factory.mktemp("against"), "real")
    asked: dict[str, Any] = {
        "distance": {},
        "transfer": {},
        "low": {"type": "transfer", "recipe": {"lr": 0.0025}},
        "rewind": {"splits": ["test"]},
    }
    return Study.parse(
        {
            "targets": {"pictures": f"domainnet:{root}/real"},
            "network": "smoke.nets:tiny",
            "pretrained": "timm",
            "recipe": {"lr": 0.0125, "epochs": 2},
            "analyses": asked,
        }
        | {"network": "timm:resnet18"},
        folder=root,
    )


def pairs(l2: list[float], kind: str = "P-T & P", block: str = "(body)") -> pl.DataFrame:
    """Rows of the analysis distance: one value a seed."""
    return pl.DataFrame(
        {
            "target": "pictures",
            "pair": kind,
            "seed": range(len(l2)),
            "seed_b": range(len(l2)),
            "block": block,
            "l2": l2,
            "size": 10,
        }
    )


def runs(finals: list[float], arm: str = "random", metric: str = "accuracy") -> pl.DataFrame:
    """Rows of the analysis transfer: two epochs a seed, the second of which ends at `finals`."""
    return pl.DataFrame(
        [
            {
                "target": "pictures",
                "arm": arm,
                "seed": seed,
                "epoch": epoch,
                "metric": metric,
                **{f"{split}_metric": final if epoch == 2 else 0.1 * epoch for split in ("train", "val", "test")},
                "train_loss": 1.0,
            }
            for seed, final in enumerate(finals)
            for epoch in (0, 1, 2)
        ]
    )


def lines(folder: Path, study: Study, tables: dict[str, pl.DataFrame], *groups: Any, **setting: Any) -> list[Line]:
    """What stands beside these groups of published numbers, all of the target `a`, which is the study's."""
    of = {"data": "domainnet:*real", **setting}
    published = against.read(file(folder, *groups, targets={"a": of}))
    chosen = analyses.chosen(study)
    every = {name: ResultTable(tables.get(name, pl.DataFrame())) for name in chosen}
    return against.lines(published, study, chosen, every, [DataSet("pictures", 24, 3, 12, 3)])


def distance(value: float = 3.0, **more: Any) -> dict[str, Any]:
    cell = {"target": "a", "pair": "P-T & P", "value": value, **more.pop("cell", {})}
    return {"place": "table 2", "quantity": "distance", "tag": "printed", "values": [cell], **more}


def test_the_value_is_the_mean_over_seeds_with_its_interval(tmp_path: Path, study: Study) -> None:
    """Against scipy's t interval, of values so far from 0 that the end of the scale does not matter."""
    values = [1000.1, 1000.4, 999.8, 1000.0]
    (line,) = lines(tmp_path, study, {"distance": pairs(values)}, distance(1000.0))
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert line.measured is not None and line.measured.low is not None and line.measured.high is not None
    assert math.isclose(line.measured.mean, np.mean(values))
    assert math.isclose(line.measured.low, low, abs_tol=1e-3) and math.isclose(line.measured.high, high, abs_tol=1e-3)
    assert line.difference == pytest.approx(0.075) and (line.target, line.analysis) == ("pictures", "distance")


@pytest.mark.parametrize(
    ("values", "how", "judged"),
    [
        ([3.0, 3.1, 2.9, 3.0], {"margin": 0.5}, "reproduced"),
        ([3.0, 3.1, 2.9, 3.0], {"margin": 0.5, "tolerance": 0.4}, "open"),  # the margin is used up by the reading
        ([3.0, 3.1, 2.9, 3.0], {}, "open"),  # without a margin nothing is reproduced
        ([3.0, 3.1], {"margin": 5.0}, "open"),  # two seeds decide nothing
        ([3.2, 3.3, 3.25, 3.2], {}, "apart"),
        ([3.2, 3.3, 3.25, 3.2], {"tolerance": 0.3}, "open"),  # it may lie within what was misread
        ([3.2, 3.3, 3.25, 3.2], {"margin": 0.5}, "reproduced"),  # off, by less than matters
        ([1.0, 5.0, 3.0, 2.0], {"margin": 0.5}, "open"),
    ],
)
def test_what_the_interval_says(
    tmp_path: Path, study: Study, values: list[float], how: dict[str, float], judged: str
) -> None:
    (line,) = lines(tmp_path, study, {"distance": pairs(values)}, distance(3.0, **how))
    assert line.comparable and line.judged == judged


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"network": "timm:resnet50"}, "timm:resnet18 instead of timm:resnet50"),
        ({"image_size": 224}, "64 px instead of 224"),
        ({"epochs": {"random": 5, "pretrained": 4}}, "epochs: 2 instead of 4"),
        ({"recipe": {"mixup": 0.7}}, "mixup 0 instead of 0.7"),
        ({"train": 50000}, "24 training images instead of 50,000"),
        ({"test": 50}, "12 test images instead of 50"),
        ({"data": "domainnet:*clipart"}, None),
    ],
)
def test_another_basis_is_named_and_nothing_subtracted(
    tmp_path: Path, study: Study, setting: dict[str, Any], said: str | None
) -> None:
    (line,) = lines(tmp_path, study, {"distance": pairs([3.0, 3.1, 2.9])}, distance(margin=1.0), **setting)
    if said is None:  # another domain: the published number stands alone
        assert (line.measured, line.differs, line.target) == (None, (), None)
        return
    assert line.measured is not None and len(line.differs) == 1 and said in line.differs[0]
    assert (line.comparable, line.difference, line.judged) == (False, None, None)


def test_the_same_basis_is_the_same(tmp_path: Path, study: Study) -> None:
    known = {"network": "timm:resnet18", "image_size": 64, "epochs": 2, "train": 24, "test": 12}
    recipe = {"batch_size": 64, "mixup": 0, "weight_decay": 0.0001, "milestones": [0.3, 0.6, 0.9]}
    (line,) = lines(tmp_path, study, {"distance": pairs([3.0, 3.1, 2.9])}, distance(), **known, recipe=recipe)
    assert line.differs == () and line.comparable


def final(value: float, lr: Any = None, unit: str = "%", **more: Any) -> dict[str, Any]:
    cell = {"target": "a", "arm": "random", "value": value}
    said = {"place": "figure 2", "quantity": "final", "unit": unit, "tag": "read", "values": [cell], **more}
    return said if lr is None else {**said, "lr": lr}


def test_of_two_rates_the_published_one_is_taken(tmp_path: Path, study: Study) -> None:
    tables = {"transfer": runs([0.6, 0.62, 0.61]), "low": runs([0.5, 0.52, 0.51])}
    low, high, unknown, also = lines(tmp_path, study, tables, final(49, 0.0025), final(61.5, 0.0125), final(70))
    assert (low.analysis, high.analysis) == ("low", "transfer") and low.measured is not None
    assert low.measured.mean == pytest.approx(51) and low.difference == pytest.approx(2)
    assert (unknown.analysis, also.analysis) == ("transfer", "low")  # nobody said which: both stand there
    (other,) = lines(tmp_path, study, {"low": tables["low"]}, final(61.5, 0.0125))
    assert other.differs == ("a rate of 0.0025 instead of 0.0125",) and other.difference is None


def test_scores_are_in_the_published_unit_and_metrics_are_not_mixed(tmp_path: Path, study: Study) -> None:
    (line,) = lines(tmp_path, study, {"transfer": runs([0.6, 0.62, 0.61])}, final(0.6, unit="share"))
    assert line.measured is not None and line.measured.mean == pytest.approx(0.61)
    auc = {"transfer": runs([0.6, 0.62, 0.61], metric="auc")}
    (line,) = lines(tmp_path, study, auc, final(61), metric="accuracy")
    assert line.differs == ("AUC instead of accuracy",)


def test_a_stage_is_read_at_its_last_block(tmp_path: Path, study: Study) -> None:
    rows = pl.concat([pairs([float(n)] * 3, block=f"layer1.{n}") for n in (1, 2)] + [pairs([9.0] * 3)])
    stage, block, none = lines(
        tmp_path,
        study,
        {"distance": rows},
        *(distance(cell={"layer": name}) for name in ("layer1", "layer1.1", "layer9")),
    )
    assert stage.measured is not None and block.measured is not None and none.measured is None
    assert (stage.measured.mean, block.measured.mean) == (2.0, 1.0)


def test_the_section_tells_all_of_them_and_the_table_is_tidy(tmp_path: Path, study: Study) -> None:
    found = lines(tmp_path, study, {"distance": pairs([3.0, 3.1, 2.9])}, distance(margin=0.5, claim=6), final(61.5))
    published = against.read(str(tmp_path / "numbers.yaml"))
    made = against.section(published, found)
    assert made.findings[0].text.startswith("Of 2 published numbers of ours, 1 have a counterpart")
    assert made.findings[1].text == "Of 1 numbers of ours on claim 6, 1 reproduced."
    assert [view.title[:8] for view in made.tables] == ["Table 2:", "Figure 2"] and len(made.charts) == 1
    shown = made.tables[1].rows.row(0, named=True)
    assert (shown["published"], shown["measured"], shown["judged"]) == ("61.5%", "–", "–")
    rows = against.rows(found).to_dicts()
    assert [row["published"] for row in rows] == [3.0, 61.5] and rows[0]["difference"] == pytest.approx(0)
    assert rows[1]["measured"] is None and rows[1]["judged"] is None


def test_the_page_and_the_tables_hold_it(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = [{"target": "shapes", "arm": "pretrained", "value": 80}]
    path = file(tmp_path, final(80, values=cell, tolerance=0.5), targets={"shapes": {}})
    study = trained / "study.yaml"
    said = inside(capsys, "report", study, "--out", tmp_path / "page", "--against", path)
    assert said.code == 0, said.err
    page = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert "Beside published numbers" in page and "80%\u00a0±\u00a00.5" in page
    (part,) = [
        one
        for one in json.loads((tmp_path / "page" / "results.json").read_text(encoding="utf-8"))["analyses"]
        if one["name"] == "published"
    ]
    assert part["rows"] == 1 and part["table"] == "tables/published.csv" and not part["problems"]
    said = inside(capsys, "results", study, "--against", path, "--format", "json")
    (row,) = json.loads(said.out)["published"]
    assert row["seeds"] == 2 and row["judged"] == "open" and 0 <= row["measured"] <= 100
    said = inside(capsys, "results", study, "--against", path, "--analysis", "transfer")
    assert said.code == 2 and "leave out --analysis" in said.err
    said = inside(capsys, "report", study, "--out", tmp_path / "page", "--against", tmp_path / "no.yaml")
    assert said.code == 2 and "there is no such file" in said.err
