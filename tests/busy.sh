#!/usr/bin/env bash
# The whole suite, three times in a row, while two processes keep both cores busy:
#
#     tests/busy.sh [PYTHON]
#
# PYTHON (by default .venv/bin/python) has what the tests need. Ends at the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}

busy=()
trap 'kill "${busy[@]}"' EXIT
for _ in 1 2; do
    "$python" -c 'while True: pass' &
    busy+=($!)
done

for time in 1 2 3; do
    printf '== %s of 3, load %s\n' "$time" "$(cut -d' ' -f1 /proc/loadavg)"
    "$python" -m pytest -n auto
done
