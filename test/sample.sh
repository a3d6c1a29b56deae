#!/usr/bin/env bash
# Sets up everything, segments the bundled sample study with process.py, shows the result and checks it.
. "$(dirname "$0")/setup.sh"
exec python test/sample.py
