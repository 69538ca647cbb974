"""What the documentation shows is what the project makes now."""

import importlib.util
import re
from pathlib import Path

import pytest

from chainrule.explain import worked_example
from chainrule.explain.scheme import draw

DOCS = Path(__file__).parents[2] / "docs"


def test_the_readmes_scheme_is_the_one_that_is_drawn():
    assert (DOCS / "pictures" / "scheme.svg").read_text() == draw(worked_example())


def test_the_numbers_in_the_text_are_those_that_are_computed():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    markdown = (DOCS / "backpropagation.md").read_text()
    made = hooks.computed(markdown)
    assert markdown.count("<!--=") == 3
    assert made == re.sub("<!--=.*?-->", "", markdown)
