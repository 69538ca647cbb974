"""Draws the README's pictures: the output of `chainrule train digits`, and a weight's scheme.

python docs/pictures/make.py
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI

from chainrule.cli import display, run
from chainrule.explain import worked_example
from chainrule.explain.scheme import draw

HERE = Path(__file__).parent.absolute()


def main() -> None:
    """Run the command with a console that records its output, and draw the scheme."""
    console = Console(record=True, width=120, highlight=False, force_terminal=False, file=io.StringIO())
    display.out = display.err = console
    console.print("[bold green]$[/] [bold]chainrule train digits[/]", markup=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run(["train", "digits"])
        os.chdir(HERE)
    console.print()  # rich cuts the last line off below its baseline
    # Without the fonts that rich's template loads from the network; the reader's own are used.
    plain = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    svg = console.export_svg(title="chainrule", theme=MONOKAI, code_format=plain, unique_id="chainrule")
    (HERE / "train.svg").write_text(svg)
    (HERE / "scheme.svg").write_text(draw(worked_example()))


if __name__ == "__main__":
    main()
