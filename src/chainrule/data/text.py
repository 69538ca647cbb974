"""A text, as it is read from files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from chainrule.data.barrier import guarded
from chainrule.data.formats import read_bytes
from chainrule.data.source import fingerprint
from chainrule.data.tables import check_encoding, check_null
from chainrule.errors import DataError

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""How a text in UTF-16 begins: with the mark of its byte order."""
LINES = 20
"""The lines by which a text is told from a table."""


@dataclass(frozen=True)
class Text:
    """A text to learn a language model from.

    Attributes:
        name: its name in messages
        content: the characters
        content_hash: SHA-256 hash of what was read; computed if empty
        files: the names of the files that a pattern matched; empty for a single one

    Examples:
        >>> import chainrule
        >>> from chainrule.data import Text
        >>> rhyme = Text("rhyme", "Row, row, row your boat, gently down the stream. " * 20)
        >>> data = chainrule.load(rhyme, length=16)
        >>> data.training.x.shape, data.target.classes[:5]
        ((42, 16), (' ', ',', '.', 'R', 'a'))
    """

    name: str
    content: str
    content_hash: str = ""
    files: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 hash of what was read, or of the characters in UTF-8."""
        return self.content_hash or fingerprint(self.content.encode(errors="surrogatepass"))


def read_text(path: Path, files: list[Path], names: tuple[str, ...] = ()) -> Text:
    """The text in these files, one after another; raises DataError for one that can't be read."""
    contents = [read_bytes(file) for file in files]
    texts = [decoded(file, content) for file, content in zip(files, contents, strict=True)]
    return Text(str(path), "\n".join(texts), fingerprint(*contents), names)


def decoded(path: Path, content: bytes) -> str:
    """The text in a file, with a line feed at the end of each line; raises DataError, with the
    line, for what is neither in UTF-8 nor in UTF-16 with a mark of its byte order.
    """
    if content.startswith(UTF_16):
        with guarded(f"{path}: not UTF-16, although it begins so; save it as UTF-8"):
            text = content.decode("utf-16")
        check_null(path, "\0" in text)  # as in UTF-32, which may begin in the same way
    else:
        check_encoding(path, content)
        text = content.decode("utf-8-sig")
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def is_written_as_table(content: bytes) -> bool:
    r"""Whether the first lines have the same number of one of the separators of tables each, which
    not always stands before a space or at the end of a line, as a comma in a sentence.

    Examples:
        >>> is_written_as_table(b"rooms,price\n3,100\n4,120"), is_written_as_table(b"Once upon a time,\nthere was")
        (True, False)
    """
    lines = [line for line in content[:100_000].splitlines() if line.strip()][:LINES]
    if len(lines) < 2:
        return False
    for separator in (b",", b";", b"\t", b"|"):
        counts = {line.count(separator) for line in lines}
        inside = re.compile(re.escape(separator) + rb"[^ \r\n]")
        if len(counts) == 1 and counts != {0} and any(map(inside.search, lines)):
            return True
    return False
