"""tensorboard: one folder of events a run, with its curves, and one of the study with tables and findings as text."""

from collections.abc import Sequence
from pathlib import Path

from transferscope.exports.record import Record

LIBRARY = "tensorboard"
ROWS = 50  # of a table that are shown: TensorBoard keeps texts, not tables


def write(record: Record, folder: Path) -> str:
    """Event files below `folder`; returns the command that shows them."""
    from torch.utils.tensorboard import SummaryWriter

    for curve in record.curves:
        with SummaryWriter(str(folder / curve.name)) as writer:
            for epoch, numbers in curve.epochs.items():
                for name, value in numbers.items():
                    writer.add_scalar(name, value, epoch)
            writer.add_text("params", "\n".join(f"- {name}: {value}" for name, value in curve.params.items()))
    with SummaryWriter(str(folder / "study")) as writer:
        writer.add_text("findings", record.text())
        writer.add_text("page", str(record.page.absolute()))
        writer.add_text("study", "".join(f"    {line}\n" for line in record.study.splitlines()))
        for name, rows in record.tables.items():
            writer.add_text(f"tables/{name}", _markdown([rows.columns, *rows.head(ROWS).iter_rows()]))
    return f"tensorboard --logdir {folder}"


def _markdown(rows: Sequence[Sequence[object]]) -> str:
    """A table whose first row is its heading."""
    cells = [["" if cell is None else str(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])
