#!/usr/bin/env bash
# Runs the whole chain on small simulated studies: simulate, index, prepare, train five tiny folds for seconds,
# cross-validate, export, predict. It takes minutes on two CPU cores. It shows that every step works; its weights are
# useless. The studies are sarcomas, and most of this seed are large and hot: a few training steps find these first.
#
#   bash resources/from_nothing.sh [FOLDER]        default: a new temporary folder
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$(mktemp -d)}
python=${PYTHON:-python}
export PYTHONPATH="$repository:$repository/resources${PYTHONPATH:+:$PYTHONPATH}"
train() { "$python" -m autosegnet_training "$@"; }

train simulate --output "$folder/data" --number 10 --seed 15 --spacing 8 8 8 --field 420 --cohort sarcoma
train index "$folder/data/cases.csv" --output "$folder/cases.csv"
train prepare "$folder/cases.csv" --output "$folder/prepared" --spacing 8 8 8 --suv-limit 20
settings=(--preset starter --batch 2 --focal-weights 1 100 --focal-gamma 2 --patch 32 32 32 --inference-patch 64 64 64 --overlap 0.25
    --epochs 8 --patches-per-case 4 --lesion-patches 0.5 --learning-rate 0.01 --false-volume 0
    --validate-every 8)
for fold in 0 1 2 3 4; do
    train train "$folder/prepared" --fold "$fold" --output "$folder/runs" --device cpu "${settings[@]}"
done
train cross-validate "$folder/prepared" --runs "$folder/runs" --device cpu
train export --runs "$folder/runs" --output "$folder/weights" \
    --description "Trained on ten coarse simulated studies for seconds, to try the commands; useless otherwise."
study=$(dirname "$(find "$folder/data" -name SUV.nii.gz | sort | head -n 1)")
"$python" -m autosegnet predict --pet "$study/SUV.nii.gz" --ct "$study/CTres.nii.gz" \
    --output "$folder/mask.nii.gz" --weights "$folder/weights" --device cpu
echo "done: see $folder"
