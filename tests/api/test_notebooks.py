"""The notebooks below docs/ can be executed, and show what they say that they show."""

from pathlib import Path

import pytest

from tests.api.notebooks import execute, read
from tests.test_readme import warm_model

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_from_documents_to_ranked_answers(file, tiny_encoder, tmp_path, monkeypatch):
    model = warm_model(tmp_path / "model", tiny_encoder)
    monkeypatch.chdir(tmp_path)
    notebook = read(file)
    shown = execute(notebook, {'"tamis-base"': repr(str(model)), '"demo/models/e5-small"': repr(str(tiny_encoder))})
    stored = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [bool(text.strip()) for text in shown] == [bool(outputs) for outputs in stored]
    ranked = next(text for text in shown if text.count("  ") == 3 and text.startswith(("0.", "1.")))
    scores = [float(line.split()[0]) for line in ranked.splitlines()]
    assert scores == sorted(scores, reverse=True)
    assert shown[-1] == "(1.0, 1.0, 1.0, 0.0, 3.0)\n"  # words of "set the clock" in the first five documents
