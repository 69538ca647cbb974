"""Names, streams and settings at the edge of what is possible: what works does so with every name
and every encoding; what doesn't is one line and exit code 2.
"""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from chainrule.cli import display, run
from waiting import WAIT

LONG = "x" * 300
MAIN = [sys.executable, "-c", "from chainrule.cli import main; main()"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(path, names):
    """A table of numbers whose columns have these names."""
    rows = np.random.default_rng(0).normal(size=(40, len(names))).round(3)
    path.write_text(",".join(names) + "\n" + "\n".join(",".join(map(str, row)) for row in rows), encoding="utf-8")


def started(*arguments, **options):
    """The command in a process of its own: exit code, stdout and stderr as bytes."""
    environment = {**os.environ, **options.pop("environment", {})}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    done = subprocess.run([*MAIN, *arguments], env=environment, timeout=2 * WAIT, check=False, **output)
    return done.returncode, done.stdout, done.stderr


def printed(*arguments, encoding="utf-8", output=None):
    """The command in this process, on streams of this encoding: exit code, stdout and stderr."""
    streams = [io.TextIOWrapper(output or io.BytesIO(), encoding), io.TextIOWrapper(io.BytesIO(), encoding)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        patch.setattr(display, "out", Console(soft_wrap=True))  # one keeps what it could not write
        display.print_anything()
        code = run([os.fsdecode(argument) for argument in arguments])
    out, err = (stream.detach() for stream in streams)
    return code, b"" if output else out.getvalue(), err.getvalue()


def one_line(code, err):
    """The error's line."""
    lines = err.strip().splitlines()
    assert (code, len(lines)) == (2, 1), err
    assert lines[0].startswith("chainrule: ")
    return lines[0]


def test_names_are_printed_as_they_are(capsys):
    table(Path("speed.csv"), ["a", "[bold]b", "speed [km/h]", "[/x]"])
    assert run(["train", "speed.csv", "--epochs", "1", "--output", "runs/[red]x"]) == 0
    output = capsys.readouterr()
    assert "target [/x] (regression)" in output.err
    assert "runs/[red]x" in output.out
    assert run(["show", "runs/[red]x"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("runs/[red]x: ")
    assert re.search(r"(?m)^target  +\[/x\] \(regression\)$", output)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", LONG], ["train", "--resume", LONG], ["train", "t.csv", "--epochs", "1", "--output", LONG],
        ["show", LONG], ["predict", LONG, "t.csv"], ["evaluate", LONG], ["explain", LONG], ["check", LONG],
        ["descend", LONG], ["gradients", LONG], ["play", LONG], ["worksheet", LONG],
        ["worksheet", "-o", f"{LONG}.html"], ["explain", "--example", "--format", "svg", "-o", f"{LONG}.svg"],
    ],
    ids=lambda arguments: " ".join(arguments).replace(LONG, "LONG"),
)  # fmt: skip
def test_a_name_that_is_too_long(arguments, capsys):
    table(Path("t.csv"), ["a", "b", "c"])
    assert "file name too long" in one_line(run(arguments), capsys.readouterr().err.lower())
    assert [path.name for path in Path().iterdir() if path.name != "runs"] == ["t.csv"]


def test_what_a_terminal_lacks_is_escaped():
    table(Path("sizes.csv"), ["a", "größe", "π"])
    assert run(["train", "sizes.csv", "--epochs", "2", "--output", "runs/sizes"]) == 0
    for code, out, _ in (
        started("show", "runs/sizes", environment={"PYTHONIOENCODING": "ascii"}),
        printed("show", "runs/sizes", encoding="latin-1"),
    ):
        assert code == 0
        assert re.search(rb"(?m)^target  +\\u03c0 \(regression\)$", out)
        assert b"***" in out  # the curve, without braille
    code, out, _ = printed("predict", "runs/sizes", "sizes.csv", encoding="ascii")
    assert (code, out.splitlines()[0]) == (0, b"\\u03c0")


def test_a_name_that_is_not_utf8():
    table(Path("t.csv"), ["a", "b", "c"])
    Path("t.csv").rename(os.fsdecode(b"b\xffd.csv"))
    code, _, err = printed("train", b"b\xffd.csv", "--epochs", "1")
    assert (code, err.splitlines()[-1].count(b"not UTF-8; rename the file")) == (2, 1)
    assert b"Traceback" not in err
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["data"], ["data", "--json"], ["--help"]], ids=" ".join)
def test_a_full_disk_behind_the_output(arguments):
    with Path("/dev/full").open("wb") as full:
        code, _, err = started(*arguments, stdout=full)
    assert "no space is left" in one_line(code, err.decode())


@pytest.mark.parametrize("arguments", [["train", "iris", "--epochs", "1"], ["train", "t.csv"], ["worksheet"]])
def test_a_working_directory_that_is_gone(arguments):
    gone = "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); from chainrule.cli import main; main()"
    command = [sys.executable, "-c", gone, *arguments]
    done = subprocess.run(command, capture_output=True, timeout=2 * WAIT, check=False, text=True)
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("chainrule: ")


def test_without_a_command_there_is_help(capsys):
    code, out, err = started()
    assert (code, err) == (0, b"")
    assert b"COMMAND [ARGS]" in out
    assert run([]) == 0
    assert "COMMAND [ARGS]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "command"),
    [(["train", "iris", "--epoch", "3"], "train "), (["train", "iris", "--epochs"], "train "),
     (["predict"], "predict "), (["play", "--port", "x"], "play "),
     (["trian"], ""), (["--nonsense"], "")],
)  # fmt: skip
def test_a_usage_error_names_the_help_of_its_command(arguments, command, capsys):
    assert run(arguments) == 2
    assert capsys.readouterr().err.endswith(f"; see 'chainrule {command}--help'\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "iris", "--network", str(10**18)], "weights; at most 1,099,511,627,776 are possible"),
        (["train", "iris", "--network", "residual(" * 2000 + "3" + ")" * 2000], "nested 2,000 deep"),
        (["train", "iris", "--network", "embedding 20 2.5, flatten"], "units is 2.5; it is a whole number"),
        (["train", "iris", "--network", "reshape 2.0 2, flatten"], "it takes a sequence of integers"),
        (["train", "iris", "--network", "residual"], "'residual' holds layers in parentheses"),
        (["train", "iris", "--optimizer", "adam epsilon=-1"], "epsilon is -1; it must be finite and not negative"),
        (["train", "iris", "--optimizer", "adam epsilon=nan"], "nan is not finite"),
        (["train", "iris", "--optimizer", "sgd accumulate=2.7"], "is 2.7; it is a whole number"),
        (["train", "iris", "--optimizer", "sgd warmup=inf"], "inf is not finite"),
        (["train", "iris", "--loss", ""], "the loss is empty"),
        (["train", "iris", "--penalty", ""], "the penalty is empty"),
        (["train", "iris", "--penalty", "elastic 1 2 3"], "on is 3; it takes a glob of parameter names"),
        (["train", "t.csv", "--loss", "poisson"], "the loss Poisson takes targets of 0 or more"),
        (["worksheet", "--step", "3"], "--step is a step of a run"),
        (["check", "--network", "3", "--inputs", "9" * 20], "weights; at most 1,099,511,627,776 are possible"),
        (["check", "--network", "3", "--loss", ""], "the loss is empty"),
        (["worksheet", "--loss", ""], "the loss is empty"),
        (["train", "iris", "--network", "4 relu, residual"], "'residual' holds layers in parentheses"),
        (["train", "iris", "--optimizer", "sgd accumulate=nan"], "nan is not finite"),
        (["train", "iris", "--optimizer", "sgd accumulate=inf"], "inf is not finite"),
        (["train", "iris", "--optimizer", "sgd warmup=nan"], "nan is not finite"),
        (["train", "iris", "--optimizer", "lbfgs memory=2.5"], "memory is 2.5; it is a whole number"),
        (["train", "iris", "--optimizer", "lbfgs memory=" + "9" * 20], "it must be at most 10,000"),
        (["train", "iris", "--optimizer", "lbfgs trials=1e12"], "trials is 1e12; it is a whole number"),
        (["train", "iris", "--optimizer", "lbfgs trials=0"], "trials is 0; it must be at least 1"),
        (["train", "iris", "--epochs", "9" * 20], "training takes at most 1,000,000,000,000"),
        (["train", "iris", "--patience", "9" * 20], "at most 1,000,000,000,000"),
        (["play", "--host", " "], "--host is empty"),
        (["play", "--host", "999.1.1.1", "--no-browser"], "choose another --host"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)  # fmt: skip
def test_settings_at_the_edge(arguments, message, capsys):
    table(Path("t.csv"), ["a", "b", "c"])
    assert message in one_line(run(arguments), capsys.readouterr().err)
    assert sorted(path.name for path in Path().iterdir()) == ["t.csv"]


@pytest.fixture
def recorded():
    table(Path("t.csv"), ["a", "b", "c"])
    assert run(["train", "t.csv", "--epochs", "1", "--network", "2", "--output", "run"]) == 0


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "iris", "--resume", "run", "--network", "3"], "leave DATA and --network out"),
        (["train", "--resume", "run", "--seed", "0", "--limit", "9"], "leave --seed and --limit out"),
        (["train", "--resume", "run", "--epochs", "9" * 20], "training takes at most 1,000,000,000,000"),
        (["explain", "--example", "--step", "3"], "leave --step out"),
        (["explain", "run", "--width", "900"], "choose it with --format svg"),
        (["explain", "run", "--step", "-1"], "it has no step -1; it has steps 0 to 0"),
        (["check", "run", "--loss", "mae", "--inputs", "4"], "leave --inputs and --loss out"),
        (["worksheet", "run", "--inputs", "2"], "leave --inputs out"),
        (["worksheet", "run", "--step", "-1"], "it has no step -1"),
        (["play", "--target", "c"], "are for a file; pass it"),
        (["play", "run", "--target", "c"], "leave --target out"),
        (["play", "t.csv", "--save", "x.html", "--port", "80"], "leave DATA or RUN and --port out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_options_that_would_be_ignored_are_refused(arguments, message, capsys):
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    capsys.readouterr()
    assert message in one_line(run(arguments), capsys.readouterr().err)
    assert before == {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.usefixtures("recorded")
def test_a_missing_checkpoint_is_named(capsys):
    Path("run/frame-00000000.safetensors").unlink()
    capsys.readouterr()
    for arguments in (["show"], ["predict", "t.csv"], ["evaluate"], ["check"]):  # which need none
        assert run([arguments[0], "run", *arguments[1:]]) == 0
    for arguments in (["explain"], ["descend"], ["gradients"], ["worksheet"], ["train", "--epochs", "3", "--resume"]):
        capsys.readouterr()
        line = one_line(run([*arguments, "run"]), capsys.readouterr().err)
        assert "frame-00000000.safetensors: the file is missing from the run" in line


def test_control_characters_are_escaped(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{k},{2 * k}\n" for k in range(30))
    Path("t\x1b[31m.csv").write_text(f"a\x1b[2J,b\n{rows}")
    assert run(["train", "t\x1b[31m.csv", "--epochs", "1", "--output", "run\nforged\x07"]) == 0
    for command in ("show", "evaluate", "explain"):
        assert run([command, "run\nforged\x07"]) == 0
    Path("t\x1b[31m.csv").unlink()
    assert run(["evaluate", "run\nforged\x07"]) == 2
    said = "".join(capsys.readouterr())
    assert not set("\x1b\x07") & set(said)
    assert "t\\x1b[31m.csv" in said
    assert "run\\nforged\\x07: complete" in said


def test_a_run_whose_name_is_not_utf8(recorded):
    Path("run").rename(os.fsdecode(b"r\xffn"))
    code, out, err = started(b"show", b"r\xffn", environment={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert (code, err) == (0, b"")
    assert out.startswith(b"r\xffn: complete after 1 epochs")
    code, out, err = printed("predict", b"r\xffn", "t.csv", "-o", b"\xfe.csv")
    assert (code, Path(os.fsdecode(b"\xfe.csv")).exists()) == (0, True), err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.usefixtures("recorded")
def test_a_full_disk_behind_the_output_of_every_command():
    for arguments in (["show", "run"], ["predict", "run", "t.csv"], ["evaluate", "run"], ["explain", "--example"]):
        with Path("/dev/full").open("wb") as full:
            code, _, err = printed(*arguments, output=full)
        assert "no space is left" in one_line(code, err.decode())
