#!/usr/bin/env bash
# The native engine's tests with AddressSanitizer and UndefinedBehaviorSanitizer, and then with ThreadSanitizer:
#
#     native/sanitize.sh [PYTHON]
#
# PYTHON (by default .venv/bin/python) has NumPy, SciPy, pytest, pytest-xdist and hypothesis. Needs GCC; ends at the first finding.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "${1:-.venv/bin/python}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

instrumented() {
    local what=$1 library=$2 home="$work/${1//,/-}"
    printf '\n== %s\n' "$what"
    python3 -m venv --without-pip "$home"
    # What the tests need is looked up in the given environment, but chainrule itself in the new one.
    "$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
        > "$("$home/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/others.pth"
    python3 -m pip --quiet --python "$home/bin/python" install --no-deps \
        -C "build-dir=$work/build-${what//,/-}" -C "cmake.define.CHAINRULE_SANITIZE=$what" -C cmake.build-type=Debug .
    # Python itself is not instrumented: it holds memory to its end, and lays it out as ThreadSanitizer does not expect.
    env OPENBLAS_NUM_THREADS=1 PYTHONMALLOC=malloc \
        LD_PRELOAD="$(g++ -print-file-name="$library") $(g++ -print-file-name=libstdc++.so)" \
        ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1 \
        setarch -R "$home/bin/python" -m pytest -n auto -p no:cacheprovider --capture=sys \
        tests/engine/test_native.py tests/engine/test_native_arguments.py
}

instrumented address,undefined libasan.so
instrumented thread libtsan.so
echo "no findings"
