#!/usr/bin/env bash
# Runs the whole test suite three times in a row while two processes keep both cores busy:
#
#     tests/busy.sh [PYTHON]
#
# PYTHON (by default .venv/bin/python) has the test dependencies. Stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}

busy=()
trap 'kill "${busy[@]}"' EXIT
for _ in 1 2; do
    "$python" -c 'while True: pass' &
    busy+=($!)
done

for round in 1 2 3; do
    printf '== %s of 3, load %s\n' "$round" "$(cut -d' ' -f1 /proc/loadavg)"
    "$python" -m pytest -n auto
done
