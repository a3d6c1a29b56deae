#!/usr/bin/env bash
# Measures the GPU path on a machine with torch, numpy, scipy and safetensors; arguments go to benchmarks/gpu.py:
#
#   bash benchmarks/gpu.sh [--output gpu.json]           # on a GPU: below three minutes
#   bash benchmarks/gpu.sh --device cpu --small          # proves the script
#
# The files of weights/ are not read. MONAI is measured, too, if it is installed or if $WHEELS names a folder that holds
# its wheel (monai-1.6.1-py3-none-any.whl).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD:$PWD/resources${WHEELS:+:$WHEELS/unpacked}"
python=${PYTHON:-python}
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --target "$WHEELS/unpacked" "$WHEELS"/*.whl
fi
exec "$python" -m benchmarks.gpu "$@"
