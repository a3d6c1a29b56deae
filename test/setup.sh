# Sourced by the other scripts: a virtual environment with every pinned package, made once, and again when the pins change.
# It is .venv in the repository, or the folder that AUTOSEGNET_VENV names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv="${AUTOSEGNET_VENV:-$PWD/.venv}"
stamp="$venv/.autosegnet-$(cat requirements-dev.txt pyproject.toml | sha256sum | cut -c1-16)"

pip_install() {
    # Shows pip's own progress on a terminal. A log gets the lines of the steps alone.
    local quiet=()
    [ -t 1 ] || quiet=(-qq)
    "$venv/bin/python" -m pip install "${quiet[@]}" --disable-pip-version-check "$@"
}

if [ ! -f "$stamp" ]; then
    python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
        { echo "python3 is not Python 3.11, 3.12 or 3.13; the pinned packages are built for these only" >&2; exit 2; }
    echo "Setting up $venv: about 3 GB, a few minutes, the first time only"
    echo "1 of 3: the virtual environment"
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"  # an earlier try on a machine without venv leaves one without pip
    echo "2 of 3: $(grep -c == requirements-dev.txt) packages of requirements-dev.txt (this takes minutes)"
    pip_install -r requirements-dev.txt
    echo "3 of 3: autosegnet"
    pip_install --no-deps --no-build-isolation --editable .
    touch "$stamp"
    echo "The environment is ready"
fi
export PATH="$venv/bin:$PATH"
