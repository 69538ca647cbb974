"""MkDocs hooks: the build draws the pictures, records the page that opens the documentation, and
computes every number on the page about backpropagation.
"""

from __future__ import annotations

import doctest
import io
import re
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import chainrule
from chainrule.descent import optimizer
from chainrule.explain import worked_example
from chainrule.explain.charts import chart_page, surface_chart, surface_words
from chainrule.explain.page import page as explanation_page
from chainrule.explain.scheme import draw
from chainrule.explain.surface import loss_surface
from chainrule.explain.worksheet import NETWORK, make_worksheet
from chainrule.losses import loss
from chainrule.network import Network
from chainrule.play.saving import saved_page

COMPUTED = "backpropagation.md"
MOST_SAVED = 3_000_000
"""The largest size in bytes of the page that is recorded."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pictures and pages."""
    sheet = make_worksheet(Network(NETWORK, 2), loss("half_squares"), optimizer("sgd 0.1"))
    with tempfile.TemporaryDirectory() as folder:
        recorder = chainrule.Recorder(Path(folder, "run"))
        chainrule.train("6 tanh, 4 tanh", "moons", optimizer="adam 0.02", epochs=40, callbacks=[recorder])
        surface = loss_surface(str(Path(folder, "run")))
    generated = {
        "scheme.svg": draw(worked_example()),
        "explanation.html": explanation_page(worked_example()),
        "worksheet.html": sheet.page(),
        "descend.html": chart_page(surface_chart(surface), surface_words(surface)),
    }
    for name, content in generated.items():
        previous = files.get_file_from_path(f"pictures/{name}")
        if previous is not None:
            files.remove(previous)
        files.append(File.generated(config, f"pictures/{name}", content=content))
    recorded = saved_page()
    if len(recorded) > MOST_SAVED:
        raise PluginError(f"the saved page has {len(recorded):,} bytes; save fewer steps")
    files.append(File.generated(config, "first-step.html", content=recorded))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Compute the numbers on the page about backpropagation."""
    return computed(markdown) if page.file.src_uri == COMPUTED else markdown


def computed(markdown: str) -> str:
    """The page with the outputs of its examples, and the numbers in its text, recomputed.

    A number in the text is followed by a comment with its expression: 0.5<!--= 1 / 2 -->.
    """
    names: dict[str, Any] = {}
    parts = []
    for part in doctest.DocTestParser().parse(markdown):
        if isinstance(part, str):
            parts.append(part)
            continue
        lines = part.source.splitlines()
        prompted = [f">>> {lines[0]}", *(f"... {line}" for line in lines[1:])]
        parts.append("\n".join(prompted) + "\n" + _output(part.source, names))
    return re.sub(r"[-\d.e]+<!--=(.*?)-->", lambda match: str(eval(match[1], names)), "".join(parts))


def _output(source: str, names: dict[str, Any]) -> str:
    """What the interpreter would print for an example."""
    printed, hook = io.StringIO(), sys.displayhook
    with redirect_stdout(printed):
        sys.displayhook = sys.__displayhook__
        try:
            exec(compile(source, "<documentation>", "single"), names)
        finally:
            sys.displayhook = hook
    return printed.getvalue()
