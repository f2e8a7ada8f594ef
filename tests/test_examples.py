"""The notebooks run from their first cell to their last, on generated images, and are stored without what they gave."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One after the other in one kernel, which loads torch once; each begins without the names of the one before."""
    monkeypatch.setenv("DERMDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    whole = nbformat.v4.new_notebook()
    for path in NOTEBOOKS:
        book = nbformat.read(path, 4)
        whole.cells += [nbformat.v4.new_code_cell("%reset -f"), *book.cells]
    assert len(whole.cells) > 20
    NotebookClient(whole, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    told = "".join(output.get("text", "") for cell in whole.cells for output in cell.get("outputs", []))
    assert "2 views of" in told
    assert "are at or above the threshold" in told


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_stored_without_what_they_gave(path: Path):
    book = nbformat.read(path, 4)
    nbformat.validate(book)
    assert all(not cell.outputs and cell.execution_count is None for cell in book.cells if cell.cell_type == "code")
    assert f"({path.name})" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
