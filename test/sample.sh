#!/usr/bin/env bash
# Sets up the environment, segments the bundled sample with process.py, shows the result and checks it.
. "$(dirname "$0")/setup.sh"
exec python test/sample.py
