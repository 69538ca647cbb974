"""Pictures that stay on disk: the same bits as in memory, in every use, and files that are damaged,
changed or gone.
"""

import os
import re
import resource
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from chainrule.cli import run
from chainrule.data import files, find, find_samples, load, memory
from chainrule.data.memory import most_memory
from chainrule.data.picture_files import PictureFiles
from chainrule.data.pictures import fingerprint_of_pixels, read_pictures
from chainrule.data.source import fingerprint
from chainrule.errors import DataError, SettingError
from chainrule.explain import explain
from chainrule.runs import Recorder, Run, train
from chainrule.threads import ahead, in_threads
from chainrule.training import EpochEnded
from trainings import assert_same

SETTINGS = {"epochs": 3, "seed": 1, "patience": None, "batch_size": 8, "augment": "none"}
NETWORK = "conv 3 3x3 stride=2 relu, flatten, 6 tanh, dropout 0.2"


def make(folder, count=90, shape=(12, 10, 3), classes=("cat", "dog", "fox"), suffix=".png"):
    """Write a folder of pictures, whose brightness says their class."""
    random = np.random.default_rng(0)
    for k in range(count):
        label = k % len(classes)
        (folder / classes[label]).mkdir(parents=True, exist_ok=True)
        pixels = (random.integers(0, 120, shape) + 60 * label).astype(np.uint8)
        Image.fromarray(pixels).save(folder / classes[label] / f"{k:03d}{suffix}")
    return folder


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So few mini-batches at a time that even a small folder is read in many parts."""
    monkeypatch.setattr("chainrule.engine.feed.MOST_BATCHES", 3)
    monkeypatch.setattr("chainrule.engine.native.MOST_NUMBERS", 3000)
    monkeypatch.setattr("chainrule.network.MOST_NUMBERS", 3000)
    monkeypatch.setattr("chainrule.data.picture_files.AT_A_TIME", 3000)


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "animals")


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("augment", ["none", "shift 1, flip, mixup 0.2"])
@pytest.mark.parametrize("shape", [(12, 10, 3), (9, 9)])
def test_pictures_on_disk_train_to_the_bits_of_those_in_memory(tmp_path, engine, augment, shape):
    folder, settings = make(tmp_path / "animals", shape=shape), SETTINGS | {"engine": engine, "augment": augment}
    in_memory, on_disk = (train(NETWORK, folder, memory=most, **settings) for most in ("1GB", 1))
    assert isinstance(in_memory.data.source.features, np.ndarray)
    assert isinstance(on_disk.data.source.features, PictureFiles)
    assert on_disk.data.training.x.on_disk
    assert not in_memory.data.training.x.on_disk
    assert in_memory.data.fingerprint == on_disk.data.fingerprint
    assert_same(in_memory, on_disk)


def test_grey_pictures_among_coloured_ones_and_resized_ones_are_the_same_on_disk(tmp_path):
    folder = make(tmp_path / "animals", 20)
    make(folder, 13, (30, 20), ("grey",), ".jpg")
    with pytest.raises(DataError, match=r"20 x 30 pixels, but .* has 10 x 12; resize all"):
        find(folder, memory=1)
    in_memory, on_disk = (find(folder, image_size=(8, 9), memory=most) for most in (10**9, 1))
    np.testing.assert_array_equal(in_memory.features, on_disk.features[:])
    assert on_disk.features.shape == in_memory.features.shape == (33, 8, 9, 3)
    rows = np.array([30, 2, 2, 17])
    np.testing.assert_array_equal(on_disk.features.take(rows), in_memory.features[rows])
    np.testing.assert_array_equal(on_disk.features[-1], in_memory.features[-1])
    np.testing.assert_array_equal(np.asarray(on_disk.take(rows).features), in_memory.features[rows])


def test_a_validation_folder_of_its_own_may_stay_on_disk(tmp_path):
    folder, others = make(tmp_path / "animals"), make(tmp_path / "others", 30)
    settings = SETTINGS | {"validation": others, "monitor": "accuracy"}
    assert_same(*(train(NETWORK, folder, memory=most, **settings) for most in ("1GB", 1)))


def test_every_command_takes_a_run_whose_pictures_are_on_disk(folder, tmp_path, capsys):
    arguments = ["train", str(folder), "--network", NETWORK, "--epochs", "2", "--augment", "flip"]
    printed = []
    for most in ("1GB", "1KB"):
        output = tmp_path / f"run-{most}"
        assert run([*arguments, "--memory", most, "-o", str(output)]) == 0
        assert run(["train", "--resume", str(output), "--epochs", "4"]) == 0
        capsys.readouterr()
        for command in (
            ["show"], ["evaluate"], ["evaluate", str(folder)], ["predict", str(folder)], ["explain"],
            ["explain", "--step", "3", "--format", "json"], ["check"],
        ):  # fmt: skip
            assert run([command[0], str(output), *command[1:]]) == 0, command
        printed.append(re.sub(r"run-1[GK]B", "run", capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert Run.open(tmp_path / "run-1KB").data["settings"]["memory"] == "1KB"
    assert Run.open(tmp_path / "run-1KB").load_data().training.x.on_disk


def test_a_training_on_disk_is_resumed_and_replayed_bit_for_bit(folder, tmp_path):
    whole = train(NETWORK, load(folder, memory=1), **SETTINGS, callbacks=[Recorder(tmp_path / "whole")])

    def stop(event):
        if event.progress.position.step >= 11:
            event.stop()

    train(NETWORK, load(folder, memory=1), **SETTINGS, callbacks=[Recorder(tmp_path / "parts"), stop])
    resumed = Run.open(tmp_path / "parts").resume(load(folder, memory=1))
    assert_same(whole, resumed)
    for data in (load(folder, memory=1), load(folder, memory="1GB")):
        replayed, other = (Run.open(tmp_path / name).at(14, data) for name in ("whole", "parts"))
        assert replayed.gradient.tobytes() == other.gradient.tobytes()
        explained = explain(Run.open(tmp_path / "whole"), "dense_1.W[3, 2]", 14, data=data)
        assert explained.gradient == pytest.approx(sum(sample.product for sample in explained.samples))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_damaged_picture_is_found_before_training_whichever_set_it_is_in(folder, tmp_path, capsys, place):
    data = load(folder, memory=1)
    rows = (data.rows, data.validation_rows, data.test_rows)[place]
    file = folder / data.source.features.names[rows[2]]
    file.write_bytes(file.read_bytes()[:-40])
    assert run(["train", str(folder), "--memory", "1KB", "-o", str(tmp_path / "run")]) == 2
    assert re.search(rf"chainrule: {re.escape(str(file))}: not a readable image", capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_a_damaged_picture_of_a_validation_folder_is_found_before_training(folder, tmp_path):
    others = make(tmp_path / "others", 12)
    (others / "dog" / "004.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"validation data: .*004.png: not a readable image"):
        load(folder, validation=others, memory=1)
    (others / "dog" / "004.png").write_bytes((others / "dog" / "007.png").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"validation data: .*004.png: not a readable image"):
        load(folder, validation=others, memory=1)


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("part", ["rows", "validation_rows"])
def test_a_file_that_disappears_ends_training_and_nothing_is_lost(folder, tmp_path, engine, part):
    data, settings = load(folder, memory=1), SETTINGS | {"engine": engine}
    whole = train(NETWORK, data, **settings)
    lost = folder / data.source.features.names[getattr(data, part)[5]]

    def lose(event):
        if isinstance(event, EpochEnded) and event.progress.epoch == 1:
            shutil.move(lost, tmp_path / "lost.png")

    with pytest.raises(DataError, match=rf"{re.escape(str(lost))}: it is missing; put it back"):
        train(NETWORK, data, **settings, callbacks=[Recorder(tmp_path / "run"), lose])
    left = Run.open(tmp_path / "run")
    assert left.manifest["status"] == "interrupted"
    assert left.manifest["epochs"] == 1
    with pytest.raises(DataError, match=r"it has changed since the run"):
        left.load_data()
    shutil.move(tmp_path / "lost.png", lost)
    assert_same(Run.open(tmp_path / "run").resume(load(folder, memory=1)), whole)


def test_the_command_says_which_file_is_gone_and_that_the_run_can_be_resumed(folder, tmp_path, monkeypatch, capsys):
    file = folder / "cat" / "000.png"
    monkeypatch.setattr("chainrule.cli.train._Example.__call__", lambda *_: file.unlink(missing_ok=True))
    arguments = ["--memory", "1KB", "--network", NETWORK, "--test", "0", "--validation", "0", "--epochs", "2"]
    assert run(["train", str(folder), *arguments, "-o", str(tmp_path / "run")]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "training stopped; the run keeps the state before that step; --resume continues it" in shown
    assert f"chainrule: {file}: it is missing; put it back" in shown
    assert Run.open(tmp_path / "run").manifest["status"] == "interrupted"


def test_a_file_that_changes_its_size_is_told(folder):
    data = load(folder, memory=1)
    file = folder / data.source.features.names[data.rows[0]]
    Image.new("RGB", (5, 5)).save(file)
    with pytest.raises(DataError, match=rf"{re.escape(str(file))}: it has changed since it was first read; restore it"):
        train(NETWORK, data, **SETTINGS)


@pytest.mark.parametrize("kind", ["pixels", "pipe"])
def test_a_picture_that_is_exchanged_during_training_ends_it(folder, tmp_path, kind):
    for file in (*folder.glob("*/*"),):  # without compression, all have the same size
        Image.open(file).save(file.with_suffix(".bmp"))
        file.unlink()
    data = load(folder, memory=1)
    whole = train(NETWORK, data, **SETTINGS)
    file = folder / data.source.features.names[data.rows[5]]
    before, size = file.read_bytes(), file.stat().st_size

    def exchange(event):
        if isinstance(event, EpochEnded) and event.progress.epoch == 1:
            shutil.move(file, tmp_path / "original.bmp")
            if kind == "pipe":
                os.mkfifo(file)
            else:
                Image.new("RGB", (10, 12)).save(file)
                assert file.stat().st_size == size
                assert file.read_bytes() != before

    problem = "it is not a regular file" if kind == "pipe" else "it has changed since it was first read; restore it"
    with pytest.raises(DataError, match=rf"{re.escape(str(file))}: {problem}"):
        train(NETWORK, data, **SETTINGS, callbacks=[Recorder(tmp_path / "run"), exchange])
    assert Run.open(tmp_path / "run").manifest["status"] == "interrupted"
    shutil.move(tmp_path / "original.bmp", file)
    assert_same(Run.open(tmp_path / "run").resume(load(folder, memory=1)), whole)


def test_deeper_pictures_than_fit_are_refused_with_what_to_do(tmp_path):
    for k in range(4):
        (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
        Image.fromarray(np.full((9, 9), 300 * k, np.uint16)).save(tmp_path / "ab"[k % 2] / f"{k}.png")
    with pytest.raises(DataError, match=r"pictures of integers of 16 bits take .* convert them to 8 bits"):
        find(tmp_path, memory=1000)
    assert find(tmp_path).features.dtype == np.float32


def test_pictures_to_predict_stay_on_disk_if_there_is_little_memory(folder, monkeypatch):
    trained = train(NETWORK, folder, **SETTINGS)
    in_memory = trained.raw(find_samples(folder))
    monkeypatch.setattr(memory, "free", lambda: 1)
    source = find_samples(folder)
    assert isinstance(source.features, PictureFiles)
    assert trained.raw(source).tobytes() == in_memory.tobytes()
    assert trained.evaluate(folder) == trained.evaluate(find(folder, memory="1GB"))


def test_a_folder_is_known_to_runs_of_earlier_versions_by_its_pixels(folder, tmp_path, monkeypatch):
    def as_before(path, size=None, most=None):
        source = read_pictures(path, size, most)
        names = [str(name) for name in sorted(str(file.relative_to(path)) for file in path.glob("*/*"))]
        expected = fingerprint(repr(names).encode(), source.features[:])
        assert fingerprint_of_pixels(path, size) == expected
        return type(source)(**{**vars(source), "content_hash": expected})

    others = make(tmp_path / "others", 12)
    with monkeypatch.context() as patched:
        patched.setattr(files, "read_pictures", as_before)
        train(NETWORK, folder, **SETTINGS, validation=others, callbacks=[Recorder(tmp_path / "run")])
    assert len(Run.open(tmp_path / "run").load_data().training.x) == 72
    Image.new("RGB", (10, 12)).save(folder / "cat" / "000.png")
    with pytest.raises(DataError, match="it has changed since the run"):
        Run.open(tmp_path / "run").load_data()


# The memory that pictures may take


@pytest.mark.parametrize("wrong", ["2 apples", "", "-1", -1, 0, "0GB", True, 1.5, "GB", "1e99GB"])
def test_what_is_no_size_is_refused(wrong, folder):
    with pytest.raises(SettingError, match=r"the memory is .* it is a number of bytes, or a text such as memory=.2GB"):
        load(folder, memory=wrong)


@pytest.mark.parametrize("what", ["digits", (np.ones((9, 8, 8)), np.arange(9) % 2)])
def test_a_limit_that_would_be_ignored_is_refused(what):
    with pytest.raises(SettingError, match=r"it is no folder of pictures, .*; leave memory out"):
        load(what, memory="2GB")


def test_sizes_are_written_in_several_ways():
    assert [most_memory(one) for one in ("1.5 gb", "20MB", "300 b", "7", 8)] == [1_500_000_000, 20_000_000, 300, 7, 8]


def test_the_default_is_half_of_what_limits_leave(monkeypatch):
    assert 0 < most_memory() == pytest.approx(memory.SHARE * memory.free(), rel=0.2)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2**40 if which == resource.RLIMIT_AS else 10, 0))
    assert memory.free() == 0
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, 0))
    unlimited = memory.free()
    assert unlimited > 0


def test_the_limit_of_a_control_group_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    (tmp_path / "memory.max").write_text("50000\n")
    (tmp_path / "memory.current").write_text("20000\n")
    assert memory.free() == 30_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free() > 30_000


# Threads


def test_the_next_is_computed_while_the_one_before_is_used():
    begun = [threading.Event() for _ in range(4)]
    for k in ahead(lambda k: begun[k].set() or k, range(4)):
        assert k == 3 or begun[k + 1].wait(60)
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda k: 1 // k, [1, 0, 2]))


def test_of_several_failures_the_first_is_raised(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert in_threads(str, range(1000)) == [*map(str, range(1000))]

    def fail(k):
        if k in (700, 701, 999):
            raise ValueError(k)

    with pytest.raises(ValueError, match="700"):
        in_threads(fail, range(1000))
