"""The cache, where its files were damaged, or written by somebody else."""

from __future__ import annotations

import fcntl
import json
import os

import pytest

from chainrule.data.streamed import cache
from chainrule.errors import DataError


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept() -> tuple[cache.Held, list[int]]:
    """A folder of the cache with a file of each kind, and whether it was built: then 1 is in the list."""
    built: list[int] = []

    def build(folder, progress):
        built.append(1)
        (folder / "training.npy").write_bytes(bytes(99))
        cache.write(folder / "preparation.json", b'{"mean": 1}')
        return {"what": "prepared samples", "rows": [7, (1, 2)]}

    return cache.kept("0" * 32, 100, None, build), built


@pytest.mark.parametrize(("name", "content"), [
    ("about.json", "null"), ("about.json", "[]"), ("about.json", '{"files": 3}'), ("about.json", "{"),
    ("about.json", '{"what": "prepared samples", "rows": [7], "files": {}}'), ("preparation.json", '{"mean": 2}'),
    ("preparation.json", ""), ("training.npy", "short"),
])  # fmt: skip
def test_what_was_damaged_is_prepared_again(root, name, content):
    first, built = kept()
    assert built
    assert cache.about(first.path) == {"what": "prepared samples", "rows": [7, [1, 2]],
                                       "files": {"training.npy": 99, "preparation.json": 11}}  # fmt: skip
    assert not kept()[1]
    del first
    (root / ("0" * 32) / name).write_text(content)
    assert len(cache.entries()) == 1  # so that it can be removed
    assert kept()[1]
    assert (root / ("0" * 32) / "preparation.json").read_bytes() == b'{"mean": 1}'
    assert cache.clear()
    assert not cache.entries()


def test_what_a_damaged_record_says_of_the_progress_is_not_believed(root):
    building = root / ("1" * 32 + cache.BUILDING)
    building.mkdir(parents=True)
    cache.save_progress(building, {"rows": 5})
    found = []
    record = building / cache.PROGRESS
    for change in ({}, {"rows": -3}, {"rows": "x"}):
        record.write_text(json.dumps({**json.loads(record.read_text()), **change}))
        found.append(cache._progress(building))
    assert found == [{"rows": 5}, {}, {}]


def test_a_damaged_folder_that_another_process_uses_is_an_error(root, monkeypatch):
    held, _ = kept()
    (held.path / "about.json").write_text("{}")
    monkeypatch.setattr(cache, "TRIES", 3)
    other = os.open(cache._lock_of(held.path), os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_SH)
    with pytest.raises(DataError, match="it is damaged, and another process uses it"):
        kept()
    os.close(other)
    del held
    assert kept()[1]
