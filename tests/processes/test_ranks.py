"""Training on several ranks: what mpirun starts, beside one process."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from engines import needs_native
from waiting import WAIT

BESIDE = Path(sys.executable).parent / "mpirun"
MPIRUN = str(BESIDE) if BESIDE.exists() else shutil.which("mpirun")
needs_mpi = pytest.mark.skipif(
    MPIRUN is None or importlib.util.find_spec("mpi4py") is None, reason="needs mpi4py and mpirun"
)
pytestmark = [needs_native, needs_mpi]
AGREEMENT = Path(__file__).with_name("agreement.py")
APART = 16
"""How many units in the last place of the largest number the steps of ranks may be from those of one
process: sums of up to 67 products over samples are made in another order, in 5 steps (in 4 by L-BFGS).
"""


@cache
def found(ranks):
    command = [MPIRUN, "-n", str(ranks), sys.executable, str(AGREEMENT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * WAIT, env=os.environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_take_the_steps_of_one_process(ranks):
    for name, scenario in found(ranks).items():
        assert scenario["apart"] < APART, name


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("bits", ["same", "again", "sent", "replayed"])
def test_all_ranks_have_the_same_bits_each_time(ranks, bits):
    for name, scenario in found(ranks).items():
        assert scenario[bits], name
