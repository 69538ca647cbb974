"""The documentation's notebook, and progress in notebooks and terminals."""

import importlib.util
import io
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from rich.console import Console

import chainrule
from chainrule.training import ProgressBar
from waiting import WAIT

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def page():
    """The module that makes the notebook a page of the documentation."""
    spec = importlib.util.spec_from_file_location("notebook_page", DOCS / "notebook_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.WAIT = WAIT
    return module


@pytest.fixture(scope="module")
def executed(page):
    return page.executed(page.SOURCE)


SLOWER = "chainrule trains with NumPy"
"""What is said once on stderr where the native engine was not built."""


def outputs(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[shown for shown in cell.outputs if not shown.get("text", "").startswith(SLOWER)] for cell in cells]


def test_the_notebook_is_kept_without_outputs(page):
    notebook = nbformat.read(page.SOURCE, as_version=4)
    assert all(shown == [] for shown in outputs(notebook))
    assert all(cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


def test_every_cell_of_the_notebook_displays_what_it_should(executed):
    head, data, training, trained, scores, predictions, report, run, explanation = outputs(executed)
    for (shown,) in (head, data, training, trained, scores, predictions, report, run, explanation):
        assert shown.output_type in ("display_data", "execute_result")  # and nothing was printed
        assert "text/plain" in shown.data
        assert len(str(shown.data)) < 60_000
    (bar,) = training
    ended = re.fullmatch(
        r"epoch (\d+)/60 . loss [\d.]+ . validation loss [\d.]+ . validation R2 [\d.]+ . stopped early",
        bar.data["text/plain"],
    )
    assert ended
    assert f'<progress max="60" value="{ended[1]}">' in bar.data["text/html"]
    for (shown,), words in ((data, "1,050 training"), (trained, "stopped early"), (run, "MeanSquaredError")):
        assert 'class="chainrule-summary"' in shown.data["text/html"]
        assert words in shown.data["text/html"]
        assert words in shown.data["text/plain"]
    assert {"Each class", "malignant", "<svg"} <= {
        words for words in ("Each class", "malignant", "<svg") if words in report[0].data["text/html"]
    }
    assert "<svg" in explanation[0].data["text/html"]
    assert explanation[0].data["text/plain"].startswith("Why dense_1.W[0, 3] changed in step 100")
    assert eval(scores[0].data["text/plain"])["r2"] > 0.9


def test_the_page_has_every_text_cell_and_output(page, executed):
    markdown = page.markdown(executed)
    assert markdown.count('<div class="output">') == sum(len(cell.get("outputs", ())) for cell in executed.cells) >= 8
    assert all(cell.source in markdown for cell in executed.cells)
    blocks = re.findall(r'(?s)<div class="output">.*?\n\n', markdown + "\n\n")
    assert all(block.count("<div") == block.count("</div>") for block in blocks)  # no empty line ends one


QUIET = """
import chainrule
trained = chainrule.train("4 tanh", "iris", epochs=3, progress=False)
"""
TWICE = """
bar = chainrule.ProgressBar()
trained = chainrule.train("4 tanh", "iris", epochs=3, callbacks=[bar])
"""
FAILED = """
try:
    chainrule.train("4 tanh", "diabetes", epochs=3, optimizer="sgd 1e30")
except chainrule.errors.NonFiniteError as error:
    print("diverged")
"""


def test_a_bar_can_be_left_out_and_is_never_shown_twice(page, tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in (QUIET, TWICE, FAILED)]
    path = tmp_path / "other.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    quiet, twice, failed = outputs(page.executed(path))
    assert quiet == []
    assert [shown.data["text/plain"].split(" \u00b7 ")[0] for shown in twice] == ["epoch 3/3"]
    bar, printed = failed
    assert bar.data["text/plain"] == "epoch 0/3 \u00b7 diverged"
    assert printed.text == "diverged\n"


def lines(terminal, **settings):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100, color_system=None, markup=False)
    chainrule.train("4 tanh", "iris", callbacks=[ProgressBar(console)], **settings)
    return file.getvalue().splitlines()


def test_without_a_terminal_progress_is_about_ten_lines():
    shown = lines(False, epochs=30)
    assert len(shown) == 10
    assert all(
        re.fullmatch(rf"epoch {3 * k + 3}/30  loss \S+ +validation loss \S+ +validation accuracy \S+ %", line)
        for k, line in enumerate(shown)
    )


def test_in_a_terminal_progress_is_a_bar():
    shown = "\n".join(lines(True, epochs=30))
    assert "epoch 30/30 \u2501" in shown


def test_in_a_script_nothing_is_shown_unless_it_is_asked_for(capsys):
    chainrule.train("4 tanh", "iris", epochs=2)
    assert capsys.readouterr() == ("", "")
    chainrule.train("4 tanh", "iris", epochs=2, progress=True)
    assert capsys.readouterr().err.startswith("epoch 1/2  loss")


def test_importing_and_training_import_no_ipython():
    code = "import sys, chainrule; chainrule.train('4 tanh', 'iris', epochs=1); sys.exit('IPython' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
