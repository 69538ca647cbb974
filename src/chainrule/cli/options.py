"""The command line's arguments that several commands share, and how texts become settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from chainrule.arrays import Shape
from chainrule.errors import SettingError

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]


def share_or_file(text: str, what: str) -> float | str:
    """A share such as 0.1, or else a file's name."""
    try:
        return float(text)
    except ValueError:
        if text.strip():
            return text
        raise SettingError(f"--{what}: it is empty; give a share such as 0.1, or a file") from None


def image_size(text: str | None) -> Shape | None:
    """(height, width) from a text such as 28x28, width first as is the custom for pictures."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", text)
    if match is None or int(match[1]) < 1 or int(match[2]) < 1:
        raise SettingError(f"--image-size {text!r}: write it as width x height, such as 28x28")
    return int(match[2]), int(match[1])
