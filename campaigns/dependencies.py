"""Tests chainrule with the oldest and with the newest version of everything that it depends on.

    python campaigns/dependencies.py

Builds the wheel once, and makes two environments in a temporary folder: one with the lowest version
that pyproject.toml allows of each direct dependency, those of the extras for users and for tests
included, and one with the highest that there is. In both it runs the tests of the rooms that stand
on these libraries. Prints the versions and the results; exits with 1 if a test fails.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRA = "test"
"""Brings `earlier`, `excel`, `mlflow`, `mnist`, `tensorboard`, `tune`, `zstd` and `png`, and so `charts`, with it."""
RESOLUTIONS = {"oldest": "lowest-direct", "newest": "highest"}
ROOMS = ("data", "cli", "runs", "training", "descent", "layers", "logs", "losses")
SERVER = ("play/test_server.py", "play/test_upload.py", "play/test_trainer.py")
"""Of the live page the tests without a browser."""


def main() -> int:
    """Build, install and test; 1 if a test fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=RESOLUTIONS, help="one of the two environments")
    parser.add_argument("--tests", nargs="*", help="tests to run instead, as paths")
    parser.add_argument("--workers", default="2", help="processes that the tests are spread over")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it would be ignored
    tests = options.tests or [f"tests/{name}" for name in (*ROOMS, *SERVER)]
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        uv = home / "tools" / "bin" / "uv"
        ran(sys.executable, "-m", "venv", home / "tools")
        ran(home / "tools" / "bin" / "python", "-m", "pip", "install", "--quiet", "uv")
        ran(uv, "build", "--quiet", "--out-dir", home / "dist", ROOT)  # the wheel from an archive of the sources
        (wheel,) = (home / "dist").glob("*.whl")
        versions, results = {}, {}
        for name, resolution in RESOLUTIONS.items():
            if options.only not in (None, name):
                continue
            python = home / name / "bin" / "python"
            ran(uv, "venv", "--quiet", "--python", sys.executable, home / name)
            install = (uv, "pip", "install", "--quiet", "--python", python)
            ran(*install, "--resolution", resolution, "-r", ROOT / "pyproject.toml", "--extra", EXTRA)
            ran(*install, "--no-deps", wheel)
            versions[name] = installed(uv, python)
            results[name] = tested(python, tests, options.workers)
    print_table(versions)
    for name, (code, last) in results.items():
        print(f"{name}: {'good' if code == 0 else 'FAILED'}: {last}")
    return int(any(code for code, _ in results.values()))


def ran(*command: str | Path) -> str:
    """Run a command and return what it prints; an error ends the campaign."""
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout


def installed(uv: Path, python: Path) -> dict[str, str]:
    """The versions of all packages in an environment, and of Python."""
    lines = ran(uv, "pip", "freeze", "--quiet", "--python", python).splitlines()
    found = dict(line.split("==") for line in lines if "==" in line)
    return {"python": ran(python, "-c", "import platform; print(platform.python_version())").strip(), **found}


def tested(python: Path, tests: list[str], workers: str) -> tuple[int, str]:
    """Run the tests with the installed wheel; the exit code, and the last line."""
    # -P: what is imported is the wheel, not the sources in the working directory.
    command = [python, "-P", "-m", "pytest", "-n", workers, "-p", "no:cacheprovider", *tests]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    options = {"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(list(map(str, command)), **options) as process:  # type: ignore[call-overload]
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.strip())
    return process.returncode, lines[-1] if lines else "no output"


def direct() -> dict[str, str]:
    """The direct dependencies, in the order of pyproject.toml, with the bounds on their versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    brought = ("earlier", "excel", "mnist", "charts", "png", "tune", "zstd", EXTRA)
    lines = [*project["dependencies"], *(line for extra in brought for line in extras[extra])]
    names = {re.split(r"[^\w.-]", line)[0]: line.partition(";")[0] for line in lines}
    return {name: line.removeprefix(name) for name, line in names.items() if name != "chainrule"}


def print_table(versions: dict[str, dict[str, str]]) -> None:
    """The direct dependencies with their bounds and the versions that were tested."""
    print(f"\n{'':18}{'allowed':12}" + "".join(f"{name:14}" for name in versions))
    for name, bound in {"python": "", **direct()}.items():
        print(f"{name:18}{bound:12}" + "".join(f"{found.get(name, '-'):14}" for found in versions.values()))


if __name__ == "__main__":
    sys.exit(main())
