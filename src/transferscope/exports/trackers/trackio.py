"""trackio: a project in a folder of databases, with a run for every training and one of the study with its tables."""

import contextlib
import io
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from transferscope.engine.environment import set_to
from transferscope.exports.record import Record
from transferscope.spawning import without_main

LIBRARY = "trackio"
ALONE = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}  # no page in a notebook, no watching of machines


def write(record: Record, folder: Path) -> str:
    """A project called as the study; one that is there gets further runs. Returns the command that shows it.

    The library takes its folder from the environment when it is imported, hence a process of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = {"TRACKIO_DIR": str(folder.absolute()), "HF_HUB_OFFLINE": "1"}
    with set_to(where), without_main(), ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(_write, record).result()
    return f'TRACKIO_DIR={folder} trackio show --project "{record.name}"'


def _write(record: Record) -> None:
    import trackio as library

    trackio: Any = library  # of whose functions some say no types
    with contextlib.redirect_stdout(io.StringIO()):
        for curve in record.curves:
            run = trackio.init(record.name, name=curve.name, group="runs", config=dict(curve.params), **ALONE)
            for epoch, numbers in curve.epochs.items():
                run.log(dict(numbers), step=epoch)
            trackio.finish()
        run = trackio.init(record.name, name="study", group="study", config={"study": record.study}, **ALONE)
        run.log({"findings": trackio.Markdown(record.text())})
        for name, rows in record.tables.items():
            run.log(
                {f"tables/{name}": trackio.Table(columns=rows.columns, data=[list(row) for row in rows.iter_rows()])}
            )
        run.log_artifact(record.page, name="page", type="page")
        trackio.finish()
