"""The notebook runs from top to bottom, with weights of a moment's making in place of the default ones."""
from pathlib import Path

import pytest
import torch
from tiny_networks import TINY

from model import create_network
from model.checkpoint import save_model

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
NOTEBOOK = Path(__file__).resolve().parents[1] / "demo" / "demo.ipynb"


def test_every_cell_runs_and_shows_what_it_promises(tmp_path):
    torch.manual_seed(0)
    save_model(create_network("safa_small", **TINY), tmp_path / "random.safetensors")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # results belong to whoever runs it
    parameters, = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source += (f"\nMODEL = {str(tmp_path / 'random.safetensors')!r}\nDEVICE = 'cpu'\n"
                          f"CROP = (0, 0, 32, 24)\nOUTPUT = {str(tmp_path / 'output')!r}")
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    kinds = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert kinds.count("image/png") == 3
    shown = "".join(text for cell in notebook.cells for output in cell.get("outputs", [])
                    for text in (output.get("text", ""), *map(str, output.get("data", {}).values())))
    assert "<video" in shown and "own weights" in shown and "safa_small on cpu" in shown
    assert (tmp_path / "output" / "clip_4x.mp4").stat().st_size > 0
