"""The pictures and numbers in the documentation are up to date."""

import importlib.util
import re
from pathlib import Path

import pytest

from chainrule.explain import worked_example
from chainrule.explain.scheme import draw

DOCS = Path(__file__).parents[2] / "docs"


def test_the_readmes_scheme_is_up_to_date():
    assert (DOCS / "pictures" / "scheme.svg").read_text() == draw(worked_example())


def test_the_numbers_in_the_text_are_up_to_date():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    markdown = (DOCS / "backpropagation.md").read_text()
    page = hooks.computed(markdown)
    assert markdown.count("<!--=") == 3
    assert page == re.sub("<!--=.*?-->", "", markdown)
