"""The page that is a notebook: the build executes it and shows what each cell displays."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

SOURCE = Path(__file__).with_name("notebook.ipynb")
PAGE = "notebook.md"
WAIT = 300
"""Seconds that a cell may take; it takes about one."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=markdown(executed(SOURCE))))
    return files


def executed(source: Path) -> Any:
    """The notebook with its outputs; raises an error if a cell does."""
    notebook = nbformat.read(source, as_version=4)
    over_files = Config({"KernelManager": {"transport": "ipc"}})  # not over the network
    NotebookClient(notebook, timeout=WAIT, startup_timeout=WAIT, config=over_files).execute()
    return notebook


def markdown(notebook: Any) -> str:
    """The notebook as a page: texts as they are, code in blocks, outputs below it."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        else:
            parts += [f"```python\n{cell.source}\n```", *map(shown, cell.outputs)]
    return "\n\n".join(parts) + "\n"


def shown(output: Any) -> str:
    """An output as HTML: its own, or else its text."""
    data = output.get("data", {})
    text = output.get("text") or data.get("text/plain", "")
    inner = data.get("text/html") or f"<pre>{html.escape(text)}</pre>"
    lines = filter(None, (line.strip() if "<pre" not in inner else line for line in inner.splitlines()))
    return f'<div class="output">{" ".join(lines) if "<pre" not in inner else inner}</div>'
