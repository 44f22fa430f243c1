"""wandb: offline runs of Weights & Biases, one a training and one of the study with tables, findings and the page."""

from pathlib import Path
from typing import Any

from transferscope.exports.record import Record

LIBRARY = "wandb"


def write(record: Record, folder: Path) -> str:
    """Offline runs below `folder`; returns the command that uploads them."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    how: dict[str, Any] = {"project": record.name, "dir": str(folder), "mode": "offline", "reinit": "create_new"}
    quiet = wandb.Settings(console="off", silent=True, x_disable_stats=True)
    for curve in record.curves:
        with wandb.init(name=curve.name, group="runs", config=dict(curve.params), settings=quiet, **how) as run:
            for epoch, numbers in curve.epochs.items():
                run.log(dict(numbers), step=epoch)
    with wandb.init(name="study", group="study", config={"study": record.study}, settings=quiet, **how) as run:
        for name, rows in record.tables.items():
            run.log(
                {f"tables/{name}": wandb.Table(columns=[*rows.columns], data=[list(row) for row in rows.iter_rows()])}
            )
        run.log({"page": wandb.Html(record.page.read_text(encoding="utf-8"), inject=False)})
        run.summary["findings"] = record.text()
    return f"wandb sync {folder}/wandb/offline-run-*"
