"""mlflow: an experiment in a folder, with a run for every training and one of the study with its tables and page."""

import time
from pathlib import Path
from typing import Any

from transferscope.engine.environment import set_to
from transferscope.exports.record import Curve, Record

LIBRARY = "mlflow"
LONGEST = 6000  # characters of a parameter that the library takes
METRICS, PARAMS = 1000, 100  # that it takes together
# Newer releases keep experiments in databases, and take folders only when told; nothing is sent anywhere.
TOLD = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}


def write(record: Record, folder: Path) -> str:
    """An experiment called as the study; one that is there gets further runs. Returns the command that shows it."""
    with set_to(TOLD):
        from mlflow import MlflowClient

        folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=folder.absolute().as_uri())
        known = client.get_experiment_by_name(record.name)
        experiment = known.experiment_id if known else client.create_experiment(record.name)
        for curve in record.curves:
            _training(client, experiment, curve)
        run = client.create_run(experiment, run_name="study").info.run_id
        client.log_text(run, record.text(), "findings.md")
        client.log_text(run, record.study, "study.yaml")
        for name, rows in record.tables.items():
            client.log_text(run, rows.write_csv(), f"tables/{name}.csv")
        client.log_artifact(run, str(record.page))
        client.set_terminated(run)
    return f"MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {folder}"


def _training(client: Any, experiment: str, curve: Curve) -> None:
    from mlflow.entities import Metric, Param

    run, now = client.create_run(experiment, run_name=curve.name).info.run_id, int(1000 * time.time())
    params = [Param(name, str(value)[:LONGEST]) for name, value in curve.params.items()]
    numbers = [Metric(name, v, now, epoch) for epoch, said in curve.epochs.items() for name, v in said.items()]
    for start in range(0, len(params), PARAMS):
        client.log_batch(run, params=params[start : start + PARAMS])
    for start in range(0, len(numbers), METRICS):
        client.log_batch(run, metrics=numbers[start : start + METRICS])
    client.set_terminated(run)
