"""Lines of code in src/ by room, without docstrings, comments and blank lines.

    python benchmarks/lines.py [FOLDER]

FOLDER is the package whose lines are counted, by default src/chainrule.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

LAYOUT = (
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENDMARKER, tokenize.ENCODING),
)


def lines_of_code(source):
    """The number of lines with code."""
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        for statement in getattr(node, "body", ()) if not isinstance(node, ast.Lambda | ast.IfExp) else ():
            text = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                docstrings.update(range(statement.lineno, statement.end_lineno + 1))
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def main():
    """Print the lines of each room, and the totals with and without the live page."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "src/chainrule")
    rooms = Counter()
    for path in root.rglob("*.py"):
        rooms[path.relative_to(root).parts[0]] += lines_of_code(path.read_text())
    for room, count in sorted(rooms.items()):
        print(f"{count:>7,}  {room}")
    print(f"{rooms.total():>7,}  total")
    print(f"{rooms.total() - rooms['play']:>7,}  total without the live page (play/)")


if __name__ == "__main__":
    main()
