#!/usr/bin/env bash
# Runs the native engine's tests with AddressSanitizer and UndefinedBehaviorSanitizer, then with ThreadSanitizer:
#
#     native/sanitize.sh [PYTHON]
#
# PYTHON (default: .venv/bin/python) needs NumPy, SciPy, pytest, pytest-xdist and hypothesis.
# Requires GCC; stops at the first finding.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "${1:-.venv/bin/python}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

instrumented() {
    local sanitizer=$1 library=$2 home="$work/${1//,/-}"
    printf '\n== %s\n' "$sanitizer"
    python3 -m venv --without-pip "$home"
    # The tests' dependencies come from the given environment, chainrule itself from the new one.
    "$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
        > "$("$home/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/others.pth"
    python3 -m pip --quiet --python "$home/bin/python" install --no-deps \
        -C "build-dir=$work/build-${sanitizer//,/-}" \
        -C "cmake.define.CHAINRULE_SANITIZE=$sanitizer" -C cmake.build-type=Debug .
    # Python itself is not instrumented: it frees some memory only at exit (hence no leak detection), and its address
    # space must not be randomized for ThreadSanitizer.
    env OPENBLAS_NUM_THREADS=1 PYTHONMALLOC=malloc \
        LD_PRELOAD="$(g++ -print-file-name="$library") $(g++ -print-file-name=libstdc++.so)" \
        ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1 \
        setarch -R "$home/bin/python" -m pytest -n auto -p no:cacheprovider --capture=sys \
        tests/engine/test_native.py tests/engine/test_native_arguments.py tests/engine/test_sequences.py \
        tests/engine/test_windows.py tests/engine/test_continuation.py tests/engine/test_together.py
}

instrumented address,undefined libasan.so
instrumented thread libtsan.so
echo "no findings"
