"""Commands and Python calls from a cell of a real kernel, whose backend an environment may lack."""

import sys

import pytest

pytestmark = pytest.mark.long
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
CELLS = [
    "!{python} -m singtech store columns=true > /dev/null; echo status $?",
    "!{python} -m singtech run --cfg job data=demo > /dev/null; echo status $?",
    "import os, singtech.loading, singtech.run; print(os.environ['MPLBACKEND'])",
]


def test_a_cell_starts_commands_and_keeps_its_own_backend():
    from nbformat.v4 import new_code_cell, new_notebook

    notebook = new_notebook(cells=[new_code_cell(cell.format(python=sys.executable)) for cell in CELLS])
    nbclient.NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
    texts = ["".join(output.get("text", "") for output in cell.outputs).strip() for cell in notebook.cells]
    assert texts == ["status 0", "status 0", "module://matplotlib_inline.backend_inline"]
