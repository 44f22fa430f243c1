"""The analyses of averages and of lines between targets, on one study of two targets with the same classes."""

import numpy as np
import polars as pl
import pytest
import torch
from smoke import images
from smoke import study as smoke

from transferscope import analyses
from transferscope.engine.table import ResultTable
from transferscope.measures import metrics
from transferscope.models.norm import refresh_batch_norm
from transferscope.tasks import restore

from .conftest import finish

average, crossdomain = analyses.load("average"), analyses.load("crossdomain")
TINY = (
    "{average: {steps: 3, images: 24, statistics: 16}, crossdomain: {points: 3, images: 24, statistics: 16},"
    " barrier: {pairs: [replicas], alphas: 3, images: 24, statistics: 16}}"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Three seeds; "shapes" and "again" share their classes, "others" has two of the three."""
    folder = tmp_path_factory.mktemp("average")
    path = smoke.write(folder)
    images.write(folder / "again", each=24)
    images.write(folder / "others", each=24, classes=("disc", "square"))
    targets = '{shapes: "folder:images", again: "folder:again", others: "folder:others"}'
    changes = {
        "analyses": TINY,
        "targets": targets,
        "seeds": "3",
        "arms": "[pretrained]",
        "recipe.epochs": "1",
        "recipe.evaluate": "all",
    }
    return finish(path, changes)


def cell_of(finished, analysis, **labels):
    return next(
        c for c in finished.plan.cells if c.analysis == analysis and all(c.labels[k] == v for k, v in labels.items())
    )


def gathered(finished, cell, split="test", count=24):
    run = finished.store.get(finished.study.run(cell.labels["target"], "pretrained", 0))
    data = finished.store.get(finished.study.data(cell.labels["target"]))
    batches = list(restore.batches(run, data, split, images=count))
    return run, data, torch.cat([x for x, *_ in batches]), np.concatenate([np.asarray(y) for _, y, *_ in batches])


def test_the_soup_is_the_mean_of_the_weights(finished):
    cell = cell_of(finished, "average", what="soup", target="shapes", networks=3)
    _, data, x, y = gathered(finished, cell)
    train = gathered(finished, cell, "train", 16)[2]
    runs = [finished.store.get(finished.study.run("shapes", "pretrained", seed)) for seed in range(3)]
    states = [restore.weights(run) for run in runs]
    mean = {
        name: torch.stack([s[name].double() for s in states]).mean(0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }
    rows = {row["way"]: row for row in finished.store.get(cell.step).rows}

    def scores(state, own=False):
        net = restore.bare(runs[0], data)
        net.load_state_dict(state)
        if not own:
            refresh_batch_norm(net, [train])
        with torch.no_grad():
            return net.eval()(x).double()

    single = [scores(state) for state in states]
    alone = [metrics.accuracy(scores(state, own=True).numpy(), y) for state in states]
    assert rows["mean of the singles"]["own_metric"] == pytest.approx(np.mean(alone))
    assert rows["soup of all"]["own_metric"] is None
    assert rows["mean of the singles"]["test_loss"] == pytest.approx(
        np.mean([metrics.cross_entropy(out.numpy(), y) for out in single]), abs=1e-4
    )
    ensemble = torch.stack([out.softmax(1) for out in single]).mean(0).log().numpy()
    assert rows["ensemble"]["test_loss"] == pytest.approx(metrics.cross_entropy(ensemble, y), abs=1e-4)
    assert rows["soup of all"]["test_loss"] == pytest.approx(metrics.cross_entropy(scores(mean).numpy(), y), abs=1e-3)
    assert rows["best single"]["gain"] == 0 and 1 <= rows["greedy soup"]["used"] <= 3
    assert rows["soup of all"]["gain"] == pytest.approx(
        rows["soup of all"]["test_metric"] - rows["best single"]["test_metric"]
    )


def way(finished, on):
    labels = {"what": average.WISE, "target": "shapes", "seed": 0, "on": on}
    return finished.store.get(cell_of(finished, "average", **labels).step)


def test_the_way_from_p_ends_in_the_network_itself(finished):
    own = way(finished, "shapes")
    assert [row["alpha"] for row in own.rows] == [0, 0.5, 1]
    run = finished.store.get(finished.study.run("shapes", "pretrained", 0))
    assert own.rows[-1]["own_metric"] == pytest.approx(run.rows[-1]["test_metric"])
    assert own.rows[1]["own_metric"] is None
    cell = cell_of(finished, "average", what=average.WISE, target="shapes", seed=0, on="shapes")
    _, data, x, y = gathered(finished, cell)
    net = restore.network(run, data)
    refresh_batch_norm(net, [gathered(finished, cell, "train", 16)[2]])
    with torch.no_grad():
        fresh = metrics.accuracy(net.eval()(x).numpy(), y)
    assert own.rows[-1]["test_metric"] == pytest.approx(fresh)
    other = finished.store.get(
        cell_of(finished, "average", what=average.WISE, target="shapes", seed=0, on="again").step
    )
    assert len(other.rows) == 3 and other.rows[0]["val_metric"] is None and other.rows[0]["test_metric"] is not None
    apart = finished.store.get(
        cell_of(finished, "average", what=average.WISE, target="shapes", seed=0, on="others").step
    )
    assert apart.rows == [{"way": average.DIFFERENT, "test_metric": None}]


def test_average_section_tells_and_draws_everything(finished):
    section = finished.section("average")
    names = [c.name for c in section.charts]
    assert names[:2] == ["shapes-soup", "shapes-wise"] and all(c.spec.to_dict() for c in section.charts)
    said = " ".join(f.text for f in section.findings)
    assert "the weights of 3 P-T" in said and "the greedy soup takes" in said and "their ensemble scores" in said
    assert "Tested on again" in said and "Tested on others, at" in said  # others on itself
    assert any("not tested on others" in note for note in section.notes)
    soups = [f for f in section.findings if "averaged into one" in f.text]
    assert all(f.counted == "test images" for f in soups)
    assert soups[0].n == 24 and soups[0].low <= soups[0].effect <= soups[0].high
    assert soups[2].low is None, "two classes are scored by AUC, which has no interval here"


def test_more_soups_make_a_curve(finished):
    rows = finished.table("average").rows
    more = rows.filter(pl.col("networks") == 3).with_columns(networks=pl.lit(4, pl.Int64))
    section = average.section(ResultTable(pl.concat([rows, more])), average.Options())
    sizes = next(c for c in section.charts if c.name == "shapes-soup-size")
    assert {row["networks"] for data in sizes.spec.to_dict()["datasets"].values() for row in data} == {2, 3, 4}


def test_barriers_of_two_classes_are_those_of_the_auc(finished):
    rows = finished.table("barrier").rows.filter(pl.col("target") == "others")
    assert set(rows["measure"]) == {"auc"}
    for _, of in rows.group_by("seed"):
        curve = 1 - of.sort("alpha")["metric"].to_numpy()
        largest = curve.max() - (curve[0] + curve[-1]) / 2
        assert largest - 0.2 < of["barrier"][0] <= largest + 1e-9, "chosen on some images and read on others"
    judged = next(f for f in finished.section("barrier").findings if f.claim == 7 and "On others" in f.text)
    assert judged.unit == "points of AUC" and "the test AUC" in judged.text


def test_a_seed_added_later_keeps_the_smaller_soups(finished):
    grown = finished.study.model_copy(update={"seeds": (0, 1, 2, 3)})
    old = {step.key for _, step in average.plan(finished.study, average.Options())}
    assert old < {step.key for _, step in average.plan(grown, average.Options())}


def test_crossdomain_compares_only_like_with_like(finished):
    table = finished.table("crossdomain").rows
    told = (
        table.filter(pl.col("target_b").is_not_null()).group_by("target", "target_b").agg(pl.col("same_classes").all())
    )
    assert {(a, b): same for a, b, same in told.rows()} == {
        ("shapes", "again"): True,
        ("shapes", "others"): False,
        ("again", "others"): False,
    }
    rows = finished.store.get(cell_of(finished, "crossdomain", target="shapes", target_b="again", seed=1).step).rows
    assert [row["alpha"] for row in rows if row["on"] == "a"] == [-0.25, 0, 0.5, 1, 1.25]
    by = {(row["on"], row["alpha"]): row["metric"] for row in rows}
    runs = [finished.store.get(finished.study.run(t, "pretrained", 1)) for t in ("shapes", "again")]
    data = finished.store.get(finished.study.data("again"))
    test = list(restore.batches(runs[1], data, "test", images=24))
    y = np.concatenate([np.asarray(labels) for _, labels, *_ in test])
    both: list[torch.Tensor] = []
    for run, target in zip(runs, ("shapes", "again"), strict=True):
        theirs = finished.store.get(finished.study.data(target))
        both += [x for x, *_ in restore.batches(run, theirs, "train", images=8)]
    for alpha, run in enumerate(runs):
        net = restore.network(run, data)
        refresh_batch_norm(net, [torch.cat(both)])
        net.eval()
        with torch.no_grad():
            out = torch.cat([net(x) for x, *_ in test]).numpy()
        assert by["b", alpha] == pytest.approx(metrics.accuracy(out, y))


def test_crossdomain_section(finished):
    section = finished.section("crossdomain")
    assert [c.name for c in section.charts] == ["shapes-again-lines"] and section.charts[0].spec.to_dict()
    assert "Averaged half and half, the networks of shapes and again" in section.findings[0].text
    assert [v.name for v in section.tables] == ["classes", "shapes-again"] and len(section.findings) == 3
    alone = finished.table("crossdomain").rows.filter(pl.col("target_b").is_null()).head(1)
    section = crossdomain.section(ResultTable(alone), crossdomain.Options())
    assert "one target" in section.notes[0] and section.tables
    apart = finished.table("crossdomain").rows.filter(pl.col("target_b").is_null() | (pl.col("target_b") == "others"))
    assert "No two targets" in crossdomain.section(ResultTable(apart), crossdomain.Options()).notes[0]


def made_merge(middle, seeds=7):
    """Two targets; each network scores 0.8 at home and 0.5 abroad, and `middle` on both in between."""
    rows = []
    for seed in range(seeds):
        for on in "ab":
            for alpha, metric in (
                (0.0, 0.8 if on == "a" else 0.5),
                (0.5, middle + 0.001 * seed),
                (1.0, 0.8 if on == "b" else 0.5),
            ):
                rows.append(
                    {
                        "target": "x",
                        "target_b": "y",
                        "pair": "P-T & P-T",
                        "seed": seed,
                        "same_classes": True,
                        "on": on,
                        "alpha": alpha,
                        "metric": metric,
                        "loss": 1.0,
                        "measure": "accuracy",
                        "images": 99,
                        "points": 3,
                        "head": "shared",
                        "barrier": 0.0,
                        "barrier_low": 0.0,
                        "barrier_high": 0.0,
                        "barrier_at": 0.0,
                        "chord_barrier": 0.0,
                        "chord_low": 0.0,
                        "chord_high": 0.0,
                        "loss_barrier": 0.0,
                    }
                )
    return ResultTable(pl.DataFrame(rows))


def test_a_merged_network_is_set_against_the_better_one():
    gain = crossdomain.section(made_merge(0.75), crossdomain.Options()).findings[0]
    assert gain.effect == pytest.approx(10.3) and gain.n == 7 and "75.3% over both targets" in gain.text
    assert crossdomain.section(made_merge(0.3), crossdomain.Options()).findings[0].effect == pytest.approx(-34.7)


def test_sections_survive_gaps(finished):
    for module in (average, crossdomain):
        assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes
        rows = finished.table(module.__name__.rpartition(".")[2]).rows
        for i in range(0, rows.height, 7):
            assert module.section(ResultTable(rows.slice(i, 1)), module.Options()).title
        lost = rows.with_columns(pl.lit(None, pl.Float64).alias(c) for c in rows.columns if c.endswith("metric"))
        assert module.section(ResultTable(lost), module.Options()).title


def test_the_middle_between_two_targets_is_always_evaluated():
    for points in (3, 4, 5, 6):
        assert 0.5 in crossdomain._alphas(crossdomain.Options(points=points))
    assert crossdomain._alphas(crossdomain.Options()) == [-0.25, 0, 0.25, 0.5, 0.75, 1, 1.25]


def test_no_curve_no_word_on_its_seeds(finished):
    soups = finished.table("average").rows.filter(pl.col("what") == average.SOUP)
    assert not any("0 seeds" in note for note in average.section(ResultTable(soups), average.Options()).notes)
