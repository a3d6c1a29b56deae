#!/usr/bin/env bash
# Lists what the container runs as a CycloneDX SBOM, build/sbom.cdx.json, and looks it up among known vulnerabilities.
# Its tools are pinned in pyproject.toml and live in an environment of their own: they are no part of the product.
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
