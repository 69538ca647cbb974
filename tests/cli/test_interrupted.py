"""Ctrl-C: every command ends with 130, whenever it comes."""

import subprocess
import sys

import pytest

from waiting import WAIT

WHILE_IMPORTED = """
import runpy, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "chainrule.cli.train":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
runpy.run_module("chainrule", run_name="__main__")
"""
WHILE_A_TEXT_RUNS = """
from chainrule import cli
def app(*arguments, **settings):
    print("so far")
    exec("raise KeyboardInterrupt")
cli.app = app
cli.main()
"""


@pytest.mark.parametrize(("code", "out"), [(WHILE_IMPORTED, ""), (WHILE_A_TEXT_RUNS, "so far\n")])
def test_ctrl_c_is_130_whenever_it_comes(code, out, tmp_path):
    """Without the command's care Python ends by the signal: with the return code -2."""
    (tmp_path / "interrupted.py").write_text(code)
    command = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stdout, done.stderr) == (130, out, "")
