"""Draws the pictures of the pages on attention and recurrence: one head, and one cell over time, of
language models that learn the Zen of Python for some seconds.

python docs/pictures/sequences.py
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import tempfile
from pathlib import Path

from chainrule.cli import run
from chainrule.explain import explain
from chainrule.explain.scheme import draw

HERE = Path(__file__).parent.absolute()
DRAWN = {
    "head": ("embedding 45 16, transformer 1 heads=2 causal=true", "transformer_1.block_1.attention.query.W[3, 5]"),
    "cell": ("embedding 45 16, lstm 12 all=true", "lstm_1.state.U[3, 17]"),
}
"""The network of each picture, and the weight."""


def main() -> None:
    """Train, explain the last step, and draw."""
    with contextlib.redirect_stdout(io.StringIO()):
        import this
    text = codecs.decode(this.s, "rot13")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("zen.txt").write_text(text * 4)
        for name, (network, weight) in DRAWN.items():
            settings = ["--network", network, "--length", "24", "--epochs", "10", "--seed", "1"]
            run(["train", "zen.txt", *settings, "--output", name])
            (HERE / f"{name}.svg").write_text(draw(explain(name, weight), 1000))
        os.chdir(HERE)


if __name__ == "__main__":
    main()
