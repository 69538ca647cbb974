"""Alters recorded runs, one thing at a time and with correct hashes, and uses them.

    python campaigns/altered_runs.py --count 2000

Every alteration is generated from the files themselves: each key removed, each value replaced by
others, each array in another dtype or length, each file missing, cut or replaced by a directory or
a pipe. Of an altered run every command must either give the result that it gave before, or refuse
with one line and exit code 2. A value of the right type and range makes another run, which may
give another result; where that can be is listed in ANOTHER. Everything else is a finding: the
program prints it, keeps it as a small file, and exits with 1. What was found before is tried first.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

import chainrule
from chainrule.cli import run as command

FINDINGS = Path(__file__).resolve().parents[1] / "tests" / "runs" / "findings"
SECONDS = 60
"""The time limit of all commands on one altered run; unaltered they take about one second."""

ANOTHER = (
    "manifest.json chainrule",
    "manifest.json limit",
    "manifest.json threshold",
    "recipe.json versions.*",
    "recipe.json data.name",
    "recipe.json data.folder",
    "recipe.json data.validation",
    "recipe.json data.fingerprint",
    "recipe.json data.weight",
    "recipe.json data.settings.*",
    "recipe.json data.rows.*",
    "recipe.json plan.seed",
    "recipe.json plan.engine",
    "recipe.json plan.patience",
    "recipe.json plan.batch_size",
    "recipe.json plan.metrics*",
    "recipe.json plan.monitor",
    "recipe.json plan.min_delta",
    "recipe.json plan.threshold",
    "recipe.json plan.network.dtype",
    "recipe.json plan.network.layers",
    "recipe.json plan.network.layers.*",
    "recipe.json plan.loss.*",
    "recipe.json plan.optimizer.*",
    "recipe.json plan.penalties*",
    "history-*.json *",
    "preparation.json columns.*",
    "preparation.json encoders*",
    "preparation.skops *",
    "state-*",
    "frame-*",
    "preparation.safetensors *",
)
"""Where another value of the right type is another valid run, as patterns of file and path."""


@dataclass(frozen=True)
class Alteration:
    """One change of one file.

    Attributes:
        file: the file's name, with * for what depends on the run
        path: where in the file
        what: what is done there
        alike: whether the new value is of the type of the old one
        change: makes the new content from the old; None instead of bytes removes the file
        apply: changes the file itself, instead
    """

    file: str
    path: str
    what: str
    alike: bool
    change: Callable[[bytes], bytes | None] | None = None
    apply: Callable[[Path], object] | None = None

    @property
    def label(self) -> str:
        """Names the alteration."""
        return f"{self.file} {self.path}: {self.what}".replace(" : ", ": ")

    @property
    def may_differ(self) -> bool:
        """Whether the altered run may be another valid run."""
        place = re.sub(r"\[\d+\]", "", f"{self.file} {self.path}")
        return self.alike and any(fnmatchcase(place, pattern) for pattern in ANOTHER)


# The runs


def record(folder: Path) -> dict[str, tuple[Path, list[list[str]]]]:
    """Small runs of different kinds, each with the commands that use it."""
    rng = np.random.default_rng(0)
    rows = [f"{a:.2f},{rng.choice(['red', 'green'])},{'' if k % 9 == 0 else k % 7},{a * 2 + rng.normal() / 9:.3f}"
            for k, a in enumerate(rng.normal(size=60))]  # fmt: skip
    (folder / "data.csv").write_text("\n".join(["size,colour,rooms,price", *rows]) + "\n")
    grades = [f"{a:.2f},{['low', 'medium', 'high'][int(a > -0.5) + int(a > 0.5)]}" for a in rng.normal(size=60)]
    (folder / "grades.csv").write_text("\n".join(["size,grade", *grades]) + "\n")
    trainings: dict[str, tuple[str, dict[str, Any]]] = {
        "iris": ("iris", {"network": "3 tanh, dropout 0.2, batchnorm", "optimizer": "adam 0.01 clip=1", "patience": 9}),
        "table": ("data.csv", {"network": "3 relu", "optimizer": "momentum 0.01 schedule=cosine", "engine": "numpy",
                               "penalties": [chainrule.losses.l2(1e-3)], "dtype": "float64"}),
        "lbfgs": ("iris", {"network": "residual(4 tanh)", "optimizer": "lbfgs memory=2", "class_weight": [1, 2, 1]}),
        "moons": ("moons", {"network": "3 tanh", "metrics": ["accuracy", "neg_brier_score"], "monitor": "roc_auc",
                            "min_delta": 0.01, "patience": 3, "threshold": "f1"}),
        "quantiles": ("data.csv", {"network": "3 tanh", "loss": "quantiles 0.1 0.5 0.9"}),
        "ordinal": ("grades.csv", {"network": "3 tanh"}),
    }  # fmt: skip
    loading: dict[str, Any] = {"grades.csv": {"order": ["low", "medium", "high"]}}
    runs = {}
    for name, (data, settings) in trainings.items():
        run = folder / name
        loaded = chainrule.load(data, **loading[data]) if data in loading else data
        chainrule.train(data=loaded, epochs=2, callbacks=[chainrule.Recorder(run)], **settings)
        commands = [["show", "run"], ["show", "run", "--json"], ["predict", "run", data], ["evaluate", "run"],
                    ["evaluate", "run", data, "--json"], ["explain", "run", "--format", "json"],
                    ["train", "--resume", "run", "--epochs", "3", "--json"]]  # fmt: skip
        runs[name] = run, commands
    return runs


# The alterations


def alterations(run: Path) -> Iterator[Alteration]:
    """Every alteration of a run, in a fixed order."""
    checkpoints = sorted(run.glob("frame-*"))
    for path in sorted(run.iterdir()):
        if path in checkpoints[1:-1]:
            continue
        name = re.sub(r"-\d{8}(?=\.)", "-*", path.name)
        name = f"{name} (last)" if path in checkpoints[1:] else name
        content = path.read_bytes()
        yield from of_file(name)
        if path.suffix == ".json":
            yield from of_json(name, content)
        elif path.suffix == ".safetensors":
            yield from of_arrays(name, content)
        elif path.suffix == ".skops":
            yield from of_archive(name, content)


def of_file(name: str) -> Iterator[Alteration]:
    """Alterations of a whole file."""
    whole: dict[str, Callable[[bytes], bytes | None]] = {
        "missing": lambda _: None,
        "empty": lambda _: b"",
        "cut": lambda content: content[: len(content) // 2],
        "doubled": lambda content: content * 2,
        "zeros": lambda content: bytes(len(content)),
        "no UTF-8": lambda content: b"\xff\xfe\xfa" + content,
        "null": lambda _: b"null",
        "a list": lambda _: b"[]",
        "nested 100,000 deep": lambda _: b"[" * 100_000 + b"]" * 100_000,
        "objects nested 100,000 deep": lambda _: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    }
    for what, change in whole.items():
        yield Alteration(name, "", what, False, change)
    yield Alteration(name, "", "a directory", False, apply=lambda path: (path.unlink(), path.mkdir()))
    yield Alteration(name, "", "a pipe", False, apply=lambda path: (path.unlink(), os.mkfifo(path)))
    yield Alteration(name, "", "a device", False, apply=lambda path: (path.unlink(), path.symlink_to("/dev/zero")))
    yield Alteration(name, "", "a dangling link", False, apply=lambda path: (path.unlink(), path.symlink_to("none")))


DEEP = "DEEP"
"""Stands for a list nested 20,000 deep, which `json.dumps` can't write."""
REPLACEMENTS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 10**30, -(10**30), 2**63, 0.5, 1.5, -0.5, 1e308, -1e308, 1e-320,
    float("nan"), float("inf"), -float("inf"), "", "x", "1", "[/b]", "\ud800", "\x1b[2J", "a\nb", "../../x",
    "x" * 100_000, [], [1], [None], ["x"], [[]], {}, {"a": 1}, {"kind": "layers.ReLU"}, {"kind": []},
    {"kind": "descent.Constant", "rate": 0.1}, DEEP,
)  # fmt: skip


def of_json(name: str, content: bytes, depth: int | None = None) -> Iterator[Alteration]:
    """Alterations of JSON values; with a depth only the first of those whose last keys agree."""
    seen = set[Any]()
    value = json.loads(content)

    def altered(place: tuple[Any, ...], act: Callable[[Any, Any], None]) -> Callable[[bytes], bytes]:
        def change(content: bytes) -> bytes:
            root = json.loads(content)
            parent = root
            for key in place[:-1]:
                parent = parent[key]
            act(parent, place[-1])
            text = json.dumps(root)
            return text.replace(f'"{DEEP}"', "[" * 20_000 + "]" * 20_000).encode()

        return change

    for place, old in walk(value):
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).lstrip(".")
        if name == "manifest.json" and path == "files":
            continue  # its entries are altered one by one
        if depth is not None and (place[-depth:] in seen or seen.add(place[-depth:])):
            continue
        is_layer = re.search(r"layers\[\d+\]$", path) is not None  # without one that has no weights, another run
        yield Alteration(name, path, "removed", is_layer, altered(place, lambda parent, key: parent.__delitem__(key)))
        for new in REPLACEMENTS:
            if type(new) is not type(old) or new != old:
                put = altered(place, lambda parent, key, new=new: parent.__setitem__(key, new))
                possible = path.endswith("settings.validation") and isinstance(new, str)
                possible |= path.endswith("validation_loss") and new == float("inf")
                yield Alteration(name, path, f"= {str(new)[:20]!r}" if isinstance(new, str) else f"= {new}",
                                 is_alike(old, new) or possible, put)  # fmt: skip
        if isinstance(old, int) and not isinstance(old, bool):
            put = altered(place, lambda parent, key: parent.__setitem__(key, parent[key] + 1))
            yield Alteration(name, path, "one more", True, put)
        if isinstance(old, dict):
            put = altered(place, lambda parent, key: parent[key].__setitem__("unknown", 1))
            yield Alteration(name, path, "with an unknown key", False, put)
        if isinstance(old, list) and old:
            put = altered(place, lambda parent, key: parent[key].append(parent[key][0]))
            yield Alteration(name, path, "its first value again", False, put)
            put = altered(place, lambda parent, key: parent[key].reverse())
            yield Alteration(name, path, "reversed", True, put)


def walk(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value within a value, with its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*place, key), item
        yield from walk(item, (*place, key))


def is_alike(old: Any, new: Any) -> bool:
    """Whether a new value could be meant where the old one was."""
    number = int | float
    if isinstance(old, bool) or isinstance(new, bool):
        return isinstance(old, bool) and isinstance(new, bool)
    if isinstance(old, number) and isinstance(new, number):
        return np.isfinite(float(new)) and (isinstance(old, float) or isinstance(new, int))
    if old is None or new is None:  # an optional setting
        return not isinstance(new, dict | list)
    return type(old) is type(new) and not isinstance(old, list | dict)


def of_arrays(name: str, content: bytes) -> Iterator[Alteration]:
    """Alterations of the arrays in a safetensors file."""
    from safetensors.numpy import load, save

    def altered(key: str, act: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
        def change(content: bytes) -> bytes:
            arrays = load(content)
            arrays[key] = act(arrays[key])
            return save({k: np.asarray(a, order="C") for k, a in arrays.items() if a is not None})

        return change

    def retyped(key: str, kind: str) -> Callable[[bytes], bytes]:
        def change(content: bytes) -> bytes:
            (size,) = struct.unpack("<Q", content[:8])
            header = json.loads(content[8 : 8 + size])
            header[key]["dtype"] = kind
            text = json.dumps(header).encode()
            return struct.pack("<Q", len(text)) + text + content[8 + size :]

        return change

    for key, array in load(content).items():
        acts: dict[str, tuple[bool, Callable[[Any], Any]]] = {
            "removed": (False, lambda _: None),
            "shortened": (False, lambda a: a.reshape(-1)[:-1]),
            "lengthened": (False, lambda a: np.append(a, a.reshape(-1)[:1]).astype(a.dtype)),
            "empty": (False, lambda a: a.reshape(-1)[:0]),
            "with another axis": (False, lambda a: a[None]),
            "negative": (True, lambda a: -np.abs(a) - 1),
            "zero": (True, lambda a: np.zeros_like(a)),
            "huge": (True, lambda a: np.full_like(a, np.iinfo(a.dtype).max if a.dtype.kind == "i" else 1e30)),
            "one more": (True, lambda a: a + a.dtype.type(1)),
        }  # fmt: skip
        if array.dtype.kind == "f":
            # what an optimizer or a layer accumulates may overflow to infinity
            acts |= {f"= {x}": (x == np.inf, lambda a, x=x: np.full_like(a, x)) for x in (np.nan, np.inf, -np.inf)}
        for kind in (bool, np.int8, np.uint8, np.int32, np.int64, np.uint64, np.float16, np.float32, np.float64):
            if array.dtype != kind:
                acts[f"as {np.dtype(kind)}"] = False, lambda a, kind=kind: a.astype(kind)
        for what, (alike, act) in acts.items():
            yield Alteration(name, key, what, alike, altered(key, act))
        for kind in ("BF16", "F16", "F8_E4M3", "I64", "U32", "nonsense"):
            yield Alteration(name, key, f"called {kind}", False, retyped(key, kind))
    yield Alteration(name, "unknown", "added", False,
                     lambda content: save({**load(content), "unknown": np.zeros(3)}))  # fmt: skip


def of_archive(name: str, content: bytes) -> Iterator[Alteration]:
    """Alterations of the files in an archive of skops: of its schema, and of its arrays."""

    def repacked(entry: str, change: Callable[[bytes], bytes | None]) -> Callable[[bytes], bytes]:
        def altered(content: bytes) -> bytes:
            out = io.BytesIO()
            with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
                for item in old.namelist():
                    data = old.read(item)
                    data = change(data) if item == entry else data
                    if data is not None:
                        new.writestr(item, data)
            return out.getvalue()

        return altered

    def saved(array: Any) -> bytes:
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.namelist():
            for whole in of_file(name):
                if whole.change is not None:
                    yield Alteration(name, entry, whole.what, False, repacked(entry, whole.change))
            if entry == "schema.json":
                for inner in of_json(name, archive.read(entry), depth=2):
                    yield Alteration(name, f"{entry}.{inner.path}", inner.what, True, repacked(entry, inner.change))
            elif entry.endswith(".npy"):
                acts: dict[str, Callable[[Any], Any]] = {
                    "shortened": lambda a: a.reshape(-1)[:-1],
                    "as text": lambda a: a.astype(str),
                    "as float16": lambda a: a.astype(np.float16) if a.dtype.kind in "fiu" else a[:0],
                    "= nan": lambda a: np.full(a.shape, np.nan),
                    "= inf": lambda a: np.full(a.shape, np.inf),
                    "negative": lambda a: -np.abs(a) - 1 if a.dtype.kind in "fi" else a[::-1],
                }
                for what, act in acts.items():
                    change = repacked(entry, lambda data, act=act: saved(act(np.load(io.BytesIO(data)))))
                    yield Alteration(name, entry, what, True, change)


def altered_copy(run: Path, to: Path, alteration: Alteration) -> None:
    """Copy a run, alter it, and correct the hashes."""
    shutil.copytree(run, to)
    if alteration.file.endswith("(last)"):
        path = sorted(to.glob("frame-*"))[-1]
    else:
        path = min(to.glob(alteration.file))
    if alteration.apply is not None:
        alteration.apply(path)
        return
    assert alteration.change is not None
    content = alteration.change(path.read_bytes())
    if content is None:
        path.unlink()
        return
    path.write_bytes(content)
    if path.name != "manifest.json":
        manifest = json.loads((to / "manifest.json").read_text())
        manifest["files"][path.name] = hashlib.sha256(content).hexdigest()
        (to / "manifest.json").write_text(json.dumps(manifest))


# The commands


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code, or None for a crash; its output; whether the run changed."""

    code: int | None
    out: str
    err: str
    changed: bool


class Worker:
    """A process that runs commands, and is replaced by another when it crashes or hangs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def outcomes(self, folder: Path, commands: list[list[str]]) -> list[Outcome]:
        """Run these commands in this folder, one after another, within the time limit."""
        if self._process is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), "--work"], text=True, **pipes
            )  # type: ignore[call-overload]
        process, alarm = self._process, threading.Timer(SECONDS, self._process.kill)
        assert process.stdin is not None
        assert process.stdout is not None
        alarm.start()
        start = time.monotonic()
        found = []
        for arguments in commands:
            print(json.dumps([str(folder), arguments]), file=process.stdin, flush=True)
            line = process.stdout.readline()
            if not line:
                hung = time.monotonic() - start >= SECONDS
                ending = f"no end within {SECONDS} s" if hung else f"the process died: {process.wait()}"
                found.append(Outcome(None, "", ending, False))
                self._process = None
                break
            found.append(Outcome(*json.loads(line)))
        alarm.cancel()
        return found

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def work() -> int:
    """What a worker does: run each command that it reads, and write its outcome."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        folder, arguments = json.loads(line)
        os.chdir(folder)
        print(json.dumps(tried(arguments)), file=answers, flush=True)
    return 0


def tried(arguments: list[str]) -> tuple[int | None, str, str, bool]:
    """Run one command here."""
    from chainrule.cli import display

    before = snapshot(Path("run"))
    out, err, code = io.StringIO(), io.StringIO(), None
    display.out.file, display.err.file = out, err
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = command(arguments)
        except BaseException:
            traceback.print_exc()
    return code, out.getvalue(), err.getvalue()[-3000:], snapshot(Path("run")) != before


def snapshot(folder: Path) -> dict[str, Any]:
    """The names, sizes and times of a folder's files."""
    return {path.name: (s.st_size, s.st_mtime_ns, s.st_ino) for path in folder.iterdir() for s in [path.lstat()]}


def judged(alteration: Alteration, arguments: list[str], before: Outcome, now: Outcome) -> str:
    """The verdict: "same", "refused" or "another run"; anything else is what is wrong."""
    lines = now.err.strip().splitlines()
    if now.code == 2:
        if now.changed and not alteration.may_differ:
            return "refused, but the run was changed"
        if now.out or len(lines) != 1 or not lines[0].startswith("chainrule: "):
            diverged = alteration.may_differ and lines and lines[-1].startswith("chainrule: ")
            return (
                "refused" if diverged and "Traceback" not in now.err else f"refused, but not in one line: {now.err!r}"
            )
        return "refused"
    if now.code != 0:
        return f"crash: {lines[-1] if lines else now.code}"
    if now.out == before.out:
        return "same"
    if alteration.may_differ:
        bad = arguments[0] == "predict" and alteration.what != "huge" and re.search(r"\b(nan|inf)\b", now.out)
        return "another run that predicts NaN or infinity" if bad else "another run"
    return "accepted with another result"


def main() -> int:
    """Run the campaign; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="how many alterations to try (all there are: 0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30, help="stop after this time")
    parser.add_argument("--replay", type=Path, default=FINDINGS, help="findings to try again, first")
    parser.add_argument("--keep", type=Path, default=FINDINGS, help="where findings are written")
    parser.add_argument("--only", default="*", help="a pattern of alterations")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work()
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        return campaign(Path(temporary), options)


def campaign(home: Path, options: argparse.Namespace) -> int:
    """Try the alterations that the options ask for, and print a table."""
    runs = record(home)
    every = [(name, alteration) for name, (run, _) in runs.items() for alteration in alterations(run)]
    found = {(f["run"], f["alteration"]): f["command"].split()
             for f in map(json.loads, map(Path.read_text, options.replay.glob("*.json")))}  # fmt: skip
    chosen = [(name, alteration, found[name, alteration.label])
              for name, alteration in every if (name, alteration.label) in found]  # fmt: skip
    assert len(chosen) == len(found), "a finding's alteration exists no more"
    every = [(name, alteration) for name, alteration in every if fnmatchcase(alteration.label, options.only)]
    chosen += [(name, alteration, None)
               for name, alteration in spread(every, random.Random(options.seed))[: options.count or None]]  # fmt: skip
    unaltered, worker = {}, Worker()
    for name, (run, commands) in runs.items():
        shutil.copytree(run, home / "unaltered" / name / "run")
        copy_tables(home, home / "unaltered" / name)
        unaltered[name] = worker.outcomes(home / "unaltered" / name, commands)
        assert [outcome.code for outcome in unaltered[name]] == [0] * len(commands), unaltered[name]
    end = time.monotonic() + 60 * options.minutes
    tried, good, findings = Counter[str](), Counter[str](), []
    kinds = Counter[str]()
    for name, alteration, once in chosen:
        if time.monotonic() > end:
            break
        folder = home / "altered"
        folder.mkdir()
        tables = copy_tables(home, folder)
        run, every_command = runs[name]
        commands = every_command if once is None else [once]  # a finding needs only the command that it was found by
        altered_copy(run, folder / "run", alteration)
        file = alteration.file.removesuffix(" (last)")
        for arguments, now in zip(commands, worker.outcomes(folder, commands), strict=False):
            before = unaltered[name][every_command.index(arguments)]
            verdict = judged(alteration, arguments, before, now)
            tried[file] += 1
            if verdict in ("same", "refused", "another run"):
                good[file] += 1
                kinds[verdict] += 1
            else:
                findings.append((name, alteration, " ".join(arguments), verdict))
                print(f"{name}: {alteration.label}\n    {' '.join(arguments)}: {verdict}", flush=True)
        if litter := {path.name for path in folder.iterdir()} - {"run", *tables}:
            findings.append((name, alteration, "", f"litter: {litter}"))
        shutil.rmtree(folder)
        tried["altered runs"] += 1
    worker.close()
    good["altered runs"] = tried["altered runs"] - len({(name, alteration.label) for name, alteration, *_ in findings})
    for name, alteration, arguments, verdict in findings:
        keep(options.keep, name, alteration, arguments, verdict)
    print(f"\n{'':28}{'tried':>8}{'good':>8}")
    for file in sorted(tried, key=lambda file: (file == "altered runs", file)):
        print(f"{file:28}{tried[file]:8,}{good[file]:8,}")
    print(", ".join(f"{verdict}: {count:,}" for verdict, count in kinds.most_common()))
    return 1 if findings else 0


def copy_tables(home: Path, folder: Path) -> list[str]:
    """Copy the data of the runs to a folder; returns the names of the files."""
    tables = sorted(home.glob("*.csv"))
    for table in tables:
        shutil.copy(table, folder)
    return [table.name for table in tables]


def spread(every: list[tuple[str, Alteration]], rng: random.Random) -> list[tuple[str, Alteration]]:
    """The alterations in a random order in which the runs and their files take turns."""
    rng.shuffle(every)
    turns, turn_of = Counter[tuple[str, str]](), []
    for name, alteration in every:
        turns[name, alteration.file] += 1
        turn_of.append(turns[name, alteration.file])
    return [pair for _, pair in sorted(zip(turn_of, every, strict=True), key=lambda pair: pair[0])]


def keep(folder: Path, name: str, alteration: Alteration, arguments: str, verdict: str) -> None:
    """Write a finding as a small file, which `--replay` tries again."""
    folder.mkdir(parents=True, exist_ok=True)
    number = hashlib.sha256(f"{name} {alteration.label}".encode()).hexdigest()[:10]
    finding = {"run": name, "alteration": alteration.label, "command": arguments, "found": verdict[:300]}
    (folder / f"{number}.json").write_text(json.dumps(finding, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
