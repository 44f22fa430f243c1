"""Studies in trackers of experiments: the real libraries read back the curves, tables, findings and the page."""

import importlib
import json
import math
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from smoke.command import environment

from transferscope import adding_seeds, battery
from transferscope.errors import UserError
from transferscope.exports import trackers
from transferscope.exports.record import Record, record
from transferscope.study import Study


@pytest.fixture(scope="module")
def told(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """What trackers are told of the smoke study."""
    study, _, store = adding_seeds.present(Study.load(trained / "study.yaml"))
    return record(study, store, battery.results(study, folder=tmp_path_factory.mktemp("page")))


def rows_of(trained: Path) -> pl.DataFrame:
    return pl.read_csv(trained / "tables" / "transfer.csv", infer_schema_length=None)


def test_a_record_holds_every_run_as_its_table_does(told: Record, trained: Path) -> None:
    assert [curve.name for curve in told.curves] == [
        "shapes/random/0",
        "shapes/random/1",
        "shapes/pretrained/0",
        "shapes/pretrained/1",
    ]
    table = rows_of(trained)
    for curve in told.curves:
        _, arm, seed = curve.name.split("/")
        own = table.filter((pl.col("arm") == arm) & (pl.col("seed") == int(seed)))
        assert {row["epoch"]: row["test_loss"] for row in own.to_dicts()} == pytest.approx(
            {epoch: numbers["test_loss"] for epoch, numbers in curve.epochs.items()}
        )
        assert curve.params["lr"] == 0.05 and curve.params["augment.flip"] is True and curve.params["run"] == curve.name
        assert all(math.isfinite(v) for numbers in curve.epochs.values() for v in numbers.values())
    assert told.findings and set(told.tables) >= {"transfer"} and told.page.exists()


def test_every_tracker_says_what_it_is() -> None:
    assert set(trackers.names()) == {"tensorboard", "wandb", "mlflow", "trackio"}
    for name in trackers.names():
        module = importlib.import_module(f"{trackers.__name__}.{name}")
        assert (module.__doc__ or "").startswith(f"{name}: ") and module.LIBRARY and callable(module.write)


def test_a_library_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.import_module(f"{trackers.__name__}.tensorboard")
    monkeypatch.setattr(found, "LIBRARY", "no_such_library")
    with pytest.raises(UserError, match=r"needs the library no_such_library; run .*'transferscope\[tensorboard\]'"):
        trackers.load("tensorboard")


def test_tensorboard(told: Record, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert "tensorboard --logdir" in trackers.load("tensorboard").write(told, tmp_path)
    for curve in told.curves:
        events = EventAccumulator(str(tmp_path / curve.name))
        events.Reload()
        found = {event.step: event.value for event in events.Scalars("test_loss")}
        assert found == pytest.approx({epoch: numbers["test_loss"] for epoch, numbers in curve.epochs.items()})
    events = EventAccumulator(str(tmp_path / "study"))
    events.Reload()
    texts = {
        tag.removesuffix("/text_summary"): events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
        for tag in events.Tags()["tensors"]
    }
    assert texts["findings"] == told.text() and str(told.page.absolute()) == texts["page"]
    heading = texts["tables/transfer"].splitlines()[0]
    assert heading == f"| {' | '.join(told.tables['transfer'].columns)} |"


@pytest.mark.slow
def test_mlflow(told: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    shown = trackers.load("mlflow").write(told, tmp_path / "mlflow")
    assert str(tmp_path / "mlflow") in shown
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlflow").as_uri())
    experiment = client.get_experiment_by_name(told.name)
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {*(curve.name for curve in told.curves), "study"}
    for curve in told.curves:
        run = runs[curve.name]
        found = {one.step: one.value for one in client.get_metric_history(run.info.run_id, "test_loss")}
        assert found == {epoch: numbers["test_loss"] for epoch, numbers in curve.epochs.items()}
        assert run.data.params["lr"] == "0.05" and run.info.status == "FINISHED"
    place = Path(client.download_artifacts(runs["study"].info.run_id, "", str(tmp_path)))
    assert (place / "findings.md").read_text(encoding="utf-8") == told.text()
    assert (place / "report.html").read_bytes() == told.page.read_bytes()
    assert pl.read_csv(place / "tables" / "transfer.csv").height == told.tables["transfer"].height
    trackers.load("mlflow").write(told, tmp_path / "mlflow")  # again: further runs of the same experiment
    assert len(client.search_runs([experiment.experiment_id])) == 2 * len(runs)


@pytest.mark.slow
def test_wandb(told: Record, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    shown = trackers.load("wandb").write(told, tmp_path)
    assert shown.startswith("wandb sync ")
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for folder in sorted((tmp_path / "wandb").glob("offline-run-*")):
        name, history = offline(next(folder.glob("*.wandb")))
        found[name] = history
    assert set(found) == {*(curve.name for curve in told.curves), "study"}
    for curve in told.curves:
        assert {epoch: said["test_loss"] for epoch, said in found[curve.name].items() if "test_loss" in said} == {
            epoch: numbers["test_loss"] for epoch, numbers in curve.epochs.items()
        }
    kept = [file for file in (tmp_path / "wandb").rglob("*") if file.is_file()]
    assert any(file.suffix == ".html" and told.name in file.read_text(encoding="utf-8") for file in kept)
    tables = [json.loads(file.read_text(encoding="utf-8")) for file in kept if file.name.endswith(".table.json")]
    assert told.tables["transfer"].columns in [table["columns"] for table in tables]


def offline(file: Path) -> tuple[str, dict[int, dict[str, Any]]]:
    """Name and history of an offline run, its records read by the library's own types."""
    name, history = "", {}
    for one in records(file):
        if one.WhichOneof("record_type") == "run":
            name = one.run.display_name or name  # what is told later of a run may leave it out
        if one.WhichOneof("record_type") == "history":
            items = {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in one.history.item}
            history[int(items["_step"])] = items
    return name, history


def records(file: Path) -> list[Any]:
    """All records of an offline run, once its last is there: a process of the library writes them, perhaps late."""
    from wandb.proto import wandb_internal_pb2

    for _ in range(600):
        found = []
        for data in logged(file.read_bytes()):
            found.append(one := wandb_internal_pb2.Record())
            one.ParseFromString(data)
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.1)
    raise AssertionError(f"{file} has no end: {[one.WhichOneof('record_type') for one in found]}")


def logged(content: bytes) -> Iterator[bytes]:
    """The records of a log as LevelDB writes it: blocks of 32 KiB, in them checksum, length, and whether a piece is
    whole (1), the first (2), one between (3) or the last (4). Seven bytes at the beginning are the library's own."""
    block, place, parts = 32768, 7, b""
    while place + 7 <= len(content):
        if block - place % block < 7:
            place += block - place % block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        place += 7
        if place + length > len(content):
            return  # not written to its end yet
        parts += content[place : place + length]
        place += length
        if kind in (1, 4):
            yield parts
            parts = b""


READ = """
import json, sys
from trackio.sqlite_storage import SQLiteStorage as store
project, *names = sys.argv[1:]
print(json.dumps({name: [store.get_logs(project, name), store.get_run_config(project, name)] for name in names}))
"""


@pytest.mark.slow
def test_trackio(told: Record, tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    shown = trackers.load("trackio").write(told, tmp_path)
    assert str(tmp_path) in shown and told.name in shown
    names = [*(curve.name for curve in told.curves), "study"]
    words = [sys.executable, "-c", READ, told.name, *names]
    done = subprocess.run(words, env=environment(TRACKIO_DIR=str(tmp_path)), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    for curve in told.curves:
        logs, config = found[curve.name]
        assert {log["step"]: log["test_loss"] for log in logs} == {e: n["test_loss"] for e, n in curve.epochs.items()}
        assert config["lr"] == 0.05
    study = {name: value for log in found["study"][0] for name, value in log.items()}
    assert study["findings"]["_value"] == told.text() and "tables/transfer" in study
    pages = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert told.page.read_bytes() in pages


def test_the_verb(copied: Path, call: Any) -> None:
    pytest.importorskip("tensorboard")
    said = call("export", "tensorboard", "study.yaml", cwd=copied)
    assert said.code == 0 and "tensorboard --logdir" in said.out and list((copied / "tensorboard").rglob("events.*"))
    assert "did you mean 'tensorboard'" in call("export", "tensorbord", "study.yaml").err.replace("\n", " ")
