#!/usr/bin/env bash
# Runs the formatter, the linters, the type checker and the tests. Arguments go to pytest: `bash test/run.sh -m slow`.
# `bash test/run.sh --container` builds and runs the image instead (test/container.sh). If that is not possible here, it
# says SKIPPED and why, and succeeds.
. "$(dirname "$0")/setup.sh"
if [ "${1:-}" = --container ]; then
    shift
    code=0
    bash test/container.sh "$@" || code=$?
    [ "$code" = 77 ] || exit "$code"
    exit 0
fi
ruff format --check .
ruff check .
hadolint Dockerfile
mypy
export OMP_NUM_THREADS=1  # one thread per test process; two processes
exec python -m pytest -n 2 --dist worksteal "$@"
