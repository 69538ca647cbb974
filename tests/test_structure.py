"""How the code is built: who may ask for a layer's class, and how large files and functions are."""

import ast
import importlib
from inspect import ismodule
from pathlib import Path

import pytest

import chainrule
from chainrule.layers import Layer

SOURCE = Path(chainrule.__file__).parent
MAY_ASK = ("layers", "engine/lowering")
FILES = [path for path in sorted(SOURCE.rglob("*.py")) if not str(path.relative_to(SOURCE)).startswith(MAY_ASK)]


def every_kind(kind=Layer):
    yield kind
    for inner in kind.__subclasses__():
        yield from every_kind(inner)


def asks(tree, names):
    """The lines that ask for the class of something, where it is a layer's or may be."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            wanted = {n.id for a in node.args[1:] for n in ast.walk(a) if isinstance(n, ast.Name)}
            wanted |= {n.attr for a in node.args[1:] for n in ast.walk(a) if isinstance(n, ast.Attribute)}
            if node.func.id in ("isinstance", "issubclass") and wanted & names:
                yield node.lineno
            if node.func.id == "type" and len(node.args) == 1 and "layer" in ast.unparse(node.args[0]).lower():
                yield node.lineno
            if node.func.id == "hasattr" and ast.unparse(node.args[1]) in ("'children'", "'layers'", "'forward'"):
                yield node.lineno
        if isinstance(node, ast.Compare):
            texts = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            if texts & names:
                yield node.lineno


def test_outside_of_layers_and_lowering_nothing_asks_for_a_layers_class():
    names = {kind.__name__ for kind in every_kind() if kind.__module__.startswith("chainrule.")}
    assert {"Dense", "Composite", "Activation", "Operator"} <= names
    found = {str(path.relative_to(SOURCE)): list(asks(ast.parse(path.read_text()), names)) for path in FILES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "code",
    ["isinstance(x, Dense)", "isinstance(x, (int, layers.Dense))", "isinstance(x, Dense | ReLU)", "type(layer) is int",
     "issubclass(k, Layer)", "hasattr(x, 'children')", "node.layer.kind == 'Dense'"],
)  # fmt: skip
def test_asking_is_noticed(code):
    assert list(asks(ast.parse(code), {"Dense", "ReLU", "Layer"}))


def test_no_name_shadows_its_module():
    """Where a package exported a function under the name of its module, the module could not be
    reached.
    """
    shadowing = set()
    for init in SOURCE.rglob("__init__.py"):
        modules = {path.stem for path in init.parent.glob("*.py")} | {path.name for path in init.parent.iterdir()}
        package = importlib.import_module(".".join(("chainrule", *init.parent.relative_to(SOURCE).parts)))
        exported = {name: getattr(package, name) for name in getattr(package, "__all__", ()) if name in modules}
        shadowing |= {f"{package.__name__}.{name}" for name, value in exported.items() if not ismodule(value)}
    assert shadowing == set()


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_prose_is_narrower_than_code(path):
    """Docstrings and comments stay under 100 columns; doctests may be as wide as code."""
    text = path.read_text()
    prose = {k for k, line in enumerate(text.splitlines(), start=1) if line.lstrip().startswith("#")}
    for node in ast.walk(ast.parse(text)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
        for statement in documented or ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                prose.update(range(statement.lineno, statement.end_lineno + 1))
    lines = text.splitlines()
    assert [k for k in sorted(prose) if len(lines[k - 1]) > 100 and ">>>" not in lines[k - 1]] == []


def waiting_generators(tree):
    """The generators that hold an executor: where one is abandoned, the garbage collector closes the
    executor and waits for its threads, which may wait for a lock that the collector's own thread holds.
    """
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            inside = list(ast.walk(function))
            yields = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in inside)
            if yields and any(isinstance(node, ast.Name) and node.id.endswith("Executor") for node in inside):
                yield function.name


def test_no_generator_holds_an_executor():
    code = "def events():\n    with ThreadPoolExecutor(1) as executor:\n        yield executor.submit(f).result()"
    assert list(waiting_generators(ast.parse(code))) == ["events"]
    for path in SOURCE.rglob("*.py"):
        assert list(waiting_generators(ast.parse(path.read_text()))) == [], path
