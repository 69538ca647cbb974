"""The commands of the guide from one file to many machines."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from waiting import WAIT

PAGE = Path(__file__).parents[1] / "docs" / "larger.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
MPIRUN = Path(sys.executable).with_name("mpirun")


def flights(rows, first=0):
    """Some rows of a table."""
    k = [*range(first, first + rows)]
    names = ["KL", "BA", "LX"]
    return pl.DataFrame({
        "distance": [100.0 + 37 * n % 5000 for n in k],
        "airline": [names[n % 3] for n in k],
        "hour": [n % 24 for n in k],
        "delay": [(n % 24) * 1.5 + 10 * (n % 3) for n in k],
    })  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a file, and a folder of files."""
    place = tmp_path_factory.mktemp("larger")
    flights(400).write_csv(place / "flights.csv")
    (place / "flights").mkdir()
    for part in range(3):
        flights(200, 200 * part).write_parquet(place / "flights" / f"part-{part}.parquet")
    return place


def test_every_command_of_the_guide_runs(folder):
    """In their order: a later one takes the runs of earlier ones."""
    found = shutil.which("mpirun") if not MPIRUN.exists() else str(MPIRUN)
    programs = {"chainrule": [sys.executable, "-m", "chainrule"], "mpirun": [found]}
    lacks_mpi = found is None or importlib.util.find_spec("mpi4py") is None
    for line in "".join(BLOCKS).splitlines():
        program, *rest = shlex.split(line)
        if lacks_mpi and ("mpirun" in line or "flights-5" in line):
            continue
        inner = [part for word in rest for part in (programs["chainrule"] if word == "chainrule" else [word])]
        environment = {**os.environ, "CHAINRULE_CACHE": str(folder / "cache")}
        done = subprocess.run(
            [*programs[program], *inner], cwd=folder, env=environment, capture_output=True, text=True, timeout=3 * WAIT,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stderr}"


def test_the_guide_links_to_pages_that_exist():
    for link in re.findall(r"\]\((\w+\.md)\)", PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link
