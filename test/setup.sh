# Sourced by the other scripts: a virtual environment with everything pinned, made once and again after a change of pins.
# Uses an active virtual environment of the caller if AUTOSEGNET_VENV names it; else .venv in the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv="${AUTOSEGNET_VENV:-$PWD/.venv}"
stamp="$venv/.autosegnet-$(cat requirements-dev.txt pyproject.toml | sha256sum | cut -c1-16)"
if [ ! -f "$stamp" ]; then
    python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
        { echo "Python 3.11, 3.12 or 3.13 is needed as python3: the pinned packages have no builds for others" >&2; exit 2; }
    echo "Setting up $venv (a few minutes the first time)"
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"  # without pip: an earlier try on a machine that lacked venv
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
    touch "$stamp"
fi
export PATH="$venv/bin:$PATH"
