"""What the documentation shows is drawn by the project itself, when the documentation is built."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from chainrule.explain import worked_example
from chainrule.explain.scheme import draw


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the picture of the worked example."""
    files.append(File.generated(config, "pictures/scheme.svg", content=draw(worked_example())))
    return files
