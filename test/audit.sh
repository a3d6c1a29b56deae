#!/usr/bin/env bash
# Writes a CycloneDX SBOM of what the container runs, build/sbom.cdx.json, and asks for known vulnerabilities.
# The tools are pinned in pyproject.toml. They get an environment of their own, because they are not part of the product.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${AUTOSEGNET_AUDIT_VENV:-$PWD/build/audit}"
if [ ! -x "$venv/bin/cyclonedx-py" ]; then
    python3 -m venv "$venv"
    python3 -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["audit"], sep="\n")' |
        xargs "$venv/bin/python" -m pip install --quiet --disable-pip-version-check
fi
mkdir -p build
"$venv/bin/cyclonedx-py" requirements --pyproject pyproject.toml --output-reproducible --validate \
    --output-file build/sbom.cdx.json requirements.txt
echo "build/sbom.cdx.json: $(grep -c '"purl"' build/sbom.cdx.json) packages"
"$venv/bin/pip-audit" --requirement requirements.txt --no-deps --disable-pip
