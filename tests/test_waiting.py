"""No test waits for a fixed time, and none gives up before a busy machine has had its turn."""

import re
from pathlib import Path

import pytest

from waiting import WAIT

HERE = Path(__file__).parent
FILES = sorted(set(HERE.rglob("*.py")) - {Path(__file__)})
FIXED = re.compile(r"wait_for_timeout\(|\bsleep\(|setTimeout")
LIMIT = re.compile(r"timeout\w*(?:=|\(|\"\s*:)([^,)}]+)")


def test_a_limit_is_half_a_minute_at_least():
    assert WAIT >= 30


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(HERE).as_posix())
def test_nothing_waits_for_a_fixed_time_or_gives_up_early(file):
    text = file.read_text()
    assert FIXED.findall(text) == []
    assert [limit for limit in LIMIT.findall(text) if "WAIT" not in limit] == []
