#!/usr/bin/env bash
# Compiles requirements.txt (what the container runs) and requirements-dev.txt (all extras) from pyproject.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
    pip-compile --quiet --strip-extras --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
        --no-emit-trusted-host --allow-unsafe "$@" pyproject.toml
}
compile --extra challenge --output-file requirements.txt
compile --extra challenge --extra dev --extra docs --extra train --output-file requirements-dev.txt
# A local build of torch has a suffix (+cpu, +cu126). The pin is the version without it.
sed -i 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.txt requirements-dev.txt
# OpenVINO runs without it. With it, its import would send messages to an analytics host.
sed -i '/^openvino-telemetry==/d' requirements.txt requirements-dev.txt
