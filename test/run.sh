#!/usr/bin/env bash
# All tests: formatter, linter, type checker, then pytest. Arguments go to pytest: `bash test/run.sh -m slow`.
. "$(dirname "$0")/setup.sh"
ruff format --check .
ruff check .
mypy
export OMP_NUM_THREADS=1  # one thread a test process; two processes
exec python -m pytest -n 2 --dist worksteal "$@"
