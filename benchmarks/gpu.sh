#!/usr/bin/env bash
# Measures the GPU path on a machine with torch, numpy, scipy and safetensors; arguments go to benchmarks/gpu.py:
#
#   bash benchmarks/gpu.sh [--output gpu.json]                    # on a GPU
#   bash benchmarks/gpu.sh --steps "whole case" launching         # some of it
#   bash benchmarks/gpu.sh --device cpu --small                   # proves the script
#
# The files of weights/ are not read. Whole cases need SimpleITK and zlib-ng, a batch cc3d too, and what was published
# MONAI and nibabel. Those that are not installed are found if $WHEELS names a folder with wheels for its Python:
#
#   pip download --no-deps --only-binary :all: --python-version 3.12 --dest wheels \
#       simpleitk zlib-ng connected-components-3d monai nibabel
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD:$PWD/resources${WHEELS:+:$WHEELS/unpacked}"
python=${PYTHON:-python}
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --target "$WHEELS/unpacked" "$WHEELS"/*.whl
fi
exec "$python" -m benchmarks.gpu "$@"
