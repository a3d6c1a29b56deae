#!/usr/bin/env bash
# Five starter folds in so many minutes, from label volumes and real crops, on a CPU or a GPU:
#
#   bash resources/starter_weights.sh --labels DIR --real DIR --output DIR --minutes N [--device auto|cpu|cuda] …
#
# DIR of --labels is what `autosegnet-train label-volumes` writes, DIR of --real what `autosegnet-train prepare` writes.
# Run again, it continues where it stopped. All options: bash resources/starter_weights.sh --help
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$repository:$repository/resources${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m autosegnet_training starter "$@"
