"""What may not be read or written: one line that says so and names what to do, nothing half-written.

The system's own calls are made to refuse, because tests may run as root, who may do everything.
"""

import builtins
import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule.cli import run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with tables, pictures and a run of each."""
    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(folder)
    rows = np.random.default_rng(0).normal(size=(40, 3)).round(3)
    Path("t.csv").write_text("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in rows))
    np.savez("t.npz", x=rows[:, :2], y=rows[:, 2])
    for label in ("cat", "dog"):
        Path("pictures", label).mkdir(parents=True)
        for k in range(4):
            Image.new("L", (6, 4), 20 * k).save(Path("pictures", label, f"{k}.png"))
    for data, name in (("t.csv", "run"), ("pictures", "seen")):
        assert run(["train", data, "--epochs", "1", "--network", "2", "--output", name]) == 0
    os.chdir(before)
    return folder


@pytest.fixture
def refusing(made, monkeypatch, capsys):
    """Runs a command while the system refuses a path: the line in which the command is refused."""
    monkeypatch.chdir(made)
    capsys.readouterr()

    def refused(arguments, part, writing=False, number=errno.EACCES):
        def guard(function, writes):
            def call(path, *rest, **named):
                refuses = not isinstance(path, int) and part in os.fspath(path)
                if refuses and (not writing or writes(*rest, **named)):
                    raise OSError(number, os.strerror(number), os.fspath(path))
                return function(path, *rest, **named)

            return call

        before = contents()
        with monkeypatch.context() as patch:
            opened = guard(open, lambda mode="r", *_, **__: bool(set(mode) & set("wax+")))
            patch.setattr(builtins, "open", opened)
            patch.setattr(io, "open", opened)
            patch.setattr(os, "open", guard(os.open, lambda flags, *_, **__: flags & (os.O_WRONLY | os.O_RDWR)))
            for name, writes in (("mkdir", True), ("replace", True), ("scandir", False), ("listdir", False)):
                patch.setattr(os, name, guard(getattr(os, name), lambda *_, writes=writes, **__: writes))
            code, output = run(arguments), capsys.readouterr()
        lines = output.err.strip().splitlines()
        assert (code, len(lines), output.out) == (2, 1, ""), output
        assert lines[0].startswith("chainrule: ")
        assert contents() == before
        return lines[0]

    return refused


def contents():
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in Path().rglob("*")}


OF_A_RUN = [
    ["show", "run"], ["predict", "run", "t.csv"], ["evaluate", "run"], ["explain", "run"], ["check", "run"],
    ["descend", "run"], ["gradients", "run"], ["worksheet", "run"], ["train", "--resume", "run", "--epochs", "3"],
    ["play", "run", "--no-browser"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", OF_A_RUN, ids=lambda arguments: " ".join(arguments[:2]))
def test_a_run_that_may_not_be_read(arguments, refusing):
    for file in ("manifest.json", "recipe.json", "state-", "history-", "preparation.safetensors"):
        line = refusing(arguments, f"run/{file}")
        assert f"run/{file}" in line
        assert line.endswith("it can't be read (Permission denied); check its permissions")


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["train", "t.csv", "--output", "new"], "t.csv"), (["train", "t.npz", "--output", "new"], "t.npz"),
        (["train", "iris", "--validation", "t.csv", "--output", "new"], "t.csv"),
        (["predict", "run", "t.csv"], "t.csv"),
        (["evaluate", "run", "t.csv"], "t.csv"), (["play", "t.csv", "--no-browser"], "t.csv"),
        (["train", "pictures", "--output", "new"], "dog/3.png"), (["predict", "seen", "pictures"], "dog/3.png"),
        (["train", "pictures", "--output", "new"], "dog"), (["predict", "seen", "pictures"], "dog"),
        (["evaluate", "seen", "pictures"], "dog"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)  # fmt: skip
def test_data_that_may_not_be_read(arguments, file, refusing):
    line = refusing(arguments, file)
    assert "Permission denied" in line
    assert file in line


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["predict", "run", "t.csv", "-o", "out.csv"], "choose another file (-o)"),
        (["predict", "run", "t.csv", "--output=out.json"], "choose another file (--output)"),
        (["explain", "run", "dense_1.W[0, 0]", "-oout.txt"], "choose another file (-o)"),
        (["explain", "--example", "--output", "out.txt"], "choose another file (--output)"),
        (["descend", "run", "--grid", "3", "-o", "out.html"], "choose another file (-o)"),
        (["gradients", "run", "--output", "out.html"], "choose another file (--output)"),
        (["worksheet", "-o", "out.html"], "choose another file (-o)"),
        (["play", "--save", "out.html"], "choose another file (--save)"),
        (["train", "--resume", "run", "--epochs", "3"], "copy the run to where you may write, and resume the copy"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_may_not_be_written(arguments, remedy, number, refusing, monkeypatch):
    monkeypatch.setattr("chainrule.play.saving.STEPS", (0,))
    line = refusing(arguments, "out." if "out." in str(arguments) else "run/", writing=True, number=number)
    reason = "the disk is full" if number == errno.ENOSPC else f"it can't be written ({os.strerror(number)})"
    assert reason in line
    assert line.endswith(remedy)
    assert str(Path.cwd()) not in line, "the name is the one that was given"


def test_a_new_run_that_may_not_be_written(refusing):
    line = refusing(["train", "t.csv", "--output", "new", "--json"], "new", writing=True)
    assert line == "chainrule: new: it can't be written (Permission denied); choose another folder (--output)"


@pytest.mark.parametrize("command", [["worksheet", "-o"], ["descend", "run", "-o"], ["play", "--save"]])
def test_a_file_that_can_not_be_is_refused_before_anything_is_computed(command, refusing, monkeypatch):
    def compute(*_, **__):
        raise AssertionError

    for name in ("worksheet.make_worksheet", "surface.loss_surface"):
        monkeypatch.setattr(f"chainrule.explain.{name}", compute)
    monkeypatch.setattr("chainrule.play.saving.saved_page", compute)
    option = command[-1]
    line = refusing([*command, "nowhere/x.html"], "unused")
    assert f"nowhere/x.html: it can't be written (there is no folder nowhere); choose another file ({option})" in line
    Path("folder.html").mkdir(exist_ok=True)
    assert "folder.html: it can't be written (it is a folder)" in refusing([*command, "folder.html"], "unused")


def test_a_file_that_is_read_only_is_not_replaced(refusing, monkeypatch):
    Path("kept.csv").write_text("mine")
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: (mode, Path(path).name) != (os.W_OK, "kept.csv") and access(path, mode)
    )
    line = refusing(["predict", "run", "t.csv", "-o", "kept.csv"], "unused")
    assert "kept.csv: it can't be written (the file is read-only); choose another file (-o)" in line
