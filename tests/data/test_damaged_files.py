"""Damaged files are read correctly or refused in a line: a thinned campaign, and what it found."""

from pathlib import Path

import pytest

import fuzzed_files
from waiting import WAIT

COUNTS = {
    "csv": 20, "gzip": 10, "zstd": 10, "parquet": 8, "arrow": 8, "stream": 8, "excel": 8, "npz": 40, "picture": 40,
}  # fmt: skip
SAVED = sorted(fuzzed_files.FOUND.glob("*"))


def test_damaged_files_of_each_format():
    results = fuzzed_files.campaign(COUNTS, seed=1, seconds=10 * WAIT)
    assert len(results) == sum(COUNTS.values())
    assert {file: what for file, what in results.items() if what not in fuzzed_files.GOOD} == {}


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.name)
def test_what_the_campaign_found(path, tmp_path):
    kind = path.name.split("-")[0]
    assert fuzzed_files.read(kind, path.read_bytes(), tmp_path) in fuzzed_files.GOOD


def test_the_undamaged_files_are_read(tmp_path):
    for kind in fuzzed_files.FORMATS:
        for content in fuzzed_files.seeds(kind):
            assert fuzzed_files.read(kind, content, tmp_path) == "good"


def test_damages_depend_on_seed_and_number_alone():
    (content, *_) = fuzzed_files.seeds("csv")
    files = {fuzzed_files.damaged(content, seed, number) for seed in (0, 1) for number in range(50)}
    assert len(files) > 90
    assert fuzzed_files.damaged(content, 1, 7) == fuzzed_files.damaged(content, 1, 7)
    assert Path(fuzzed_files.__file__).parent.name == "campaigns"
