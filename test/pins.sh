#!/usr/bin/env bash
# Compiles the lists of packages from pyproject.toml: requirements-dev.txt (all extras), requirements.txt (what the container
# runs) and requirements-hashes.txt (the same with the SHA-256 of every file, but for torch, which the base image brings).
set -euo pipefail
cd "$(dirname "$0")/.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
compile() {
    pip-compile --quiet --strip-extras --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
        --no-emit-trusted-host --allow-unsafe "$@" pyproject.toml
}
drop() {  # a package with its hashes
    awk -v package="^$1==" '$0 ~ package {skip = 1} !skip {print} skip && !/\\$/ {skip = 0}' "$2" > "$work/kept"
    cp "$work/kept" "$2"
}
compile --extra challenge --extra cloud --extra cluster --extra dev --extra docs --extra tables --extra train --output-file requirements-dev.txt
# A local build of torch has a suffix (+cpu, +cu126). The pin is the version without it.
sed -i 's/^\(torch==[0-9.]*\)+.*/\1/' requirements-dev.txt

# In the container, evalutils without the tools of its template (cookiecutter, pip-tools): itself, and what it imports.
printf '%s\n' imageio pandas scikit-learn > "$work/evalutils.in"
# Within the versions of the other list, so that what runs in the container is what was tested.
compile --generate-hashes --constraint requirements-dev.txt --output-file "$work/hashes.txt" "$work/evalutils.in"
evalutils="$(grep '^evalutils==' requirements-dev.txt)"
python -m pip download --quiet --no-deps --dest "$work" "$evalutils"
printf '%s \\\n    --hash=sha256:%s\n' "$evalutils" "$(sha256sum "$work"/evalutils-* | cut -d' ' -f1)" >> "$work/hashes.txt"
# OpenVINO runs without it. With it, its import would send messages to an analytics host.
sed -i '/^openvino-telemetry==/d' requirements-dev.txt
drop openvino-telemetry "$work/hashes.txt"
{ sed -n 's/^\([^ ]*==[^ ]*\) .*/\1/p' "$work/hashes.txt" | grep -v '^torch=='; grep '^torch==' requirements-dev.txt; } | sort > requirements.txt
drop torch "$work/hashes.txt"
cp "$work/hashes.txt" requirements-hashes.txt
