#!/usr/bin/env bash
# Compiles requirements.txt (what the container runs) and requirements-dev.txt (all extras) from pyproject.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
    pip-compile --quiet --strip-extras --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
        --no-emit-trusted-host --allow-unsafe "$@" pyproject.toml
}
compile --extra challenge --extra cloud --extra cluster --extra dev --extra docs --extra tables --extra train --output-file requirements-dev.txt
# Within the versions of the other list, so that what runs in the container is what was tested.
compile --extra challenge --constraint requirements-dev.txt --output-file requirements.txt
# A local build of torch has a suffix (+cpu, +cu126). The pin is the version without it.
sed -i 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.txt requirements-dev.txt
# OpenVINO runs without it. With it, its import would send messages to an analytics host.
sed -i '/^openvino-telemetry==/d' requirements.txt requirements-dev.txt
