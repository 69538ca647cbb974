"""Draws the README's pictures: what `chainrule train digits` really prints, and the scheme of the worked example.

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
    """Run the command with a console that remembers what it prints, and draw the scheme."""
    console = Console(record=True, width=120, highlight=False, force_terminal=False, file=io.StringIO())
    display.out = display.err = console
    console.print("[bold green]$[/] [bold]chainrule train digits[/]", markup=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run(["train", "digits"])
        os.chdir(HERE)
    # The fonts that rich's format would fetch from the network are left out: the reader's own will do.
    plain = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    svg = console.export_svg(title="chainrule", theme=MONOKAI, code_format=plain, unique_id="chainrule")
    (HERE / "train.svg").write_text(svg)
    (HERE / "scheme.svg").write_text(draw(worked_example()))


if __name__ == "__main__":
    main()
