#!/usr/bin/env bash
# Writes the files to upload to the platform: the image, and the weights as its model.
set -euo pipefail
usage() {
    cat <<'END'
./export.sh [image] [weights] [options]     (default: image)
    image          the image as .tar.gz, for "Container image" of the algorithm
    weights        weights/ as model.tar.gz, for "Model"; the platform unpacks it to /opt/ml/model, which takes precedence
    --tag NAME     which image (default: autosegnet:VERSION)
    --output DIR   default: dist
CONTAINER_ENGINE=docker|podman chooses the engine.
END
}
cd "$(dirname "$0")"
. ./test/engine.sh
what=() tag="autosegnet:$(version)" output=dist
while [ $# -gt 0 ]; do
    case "$1" in
        image | weights) what+=("$1"); shift ;;
        --tag) tag="$2"; shift 2 ;;
        --output) output="$2"; shift 2 ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; fail "unknown argument $1" ;;
    esac
done

written() {
    echo "$1: $(stat -c %s "$1") bytes, SHA-256 $(sha256sum "$1" | cut -d' ' -f1)"
}

export_weights() {
    # Packs the files that the recipe names, after checking their SHA-256; every export has the same bytes.
    python3 - <<'END' > "$output/.names" || fail "weights/ cannot be exported"
import hashlib, json, pathlib, sys
folds = json.loads(pathlib.Path("weights/recipe.json").read_text())["folds"]
for fold in folds:
    if hashlib.sha256(pathlib.Path("weights", fold["file"]).read_bytes()).hexdigest() != fold["sha256"]:
        sys.exit(f"weights/{fold['file']} differs from the SHA-256 in weights/recipe.json")
print("\n".join(["README.md", "recipe.json", *(fold["file"] for fold in folds)]))
END
    tar --create --directory weights --files-from "$output/.names" --format ustar --sort name --owner 0 --group 0 \
        --numeric-owner --mode a=r,u+w --mtime @0 | gzip -n > "$output/.part"
    mv "$output/.part" "$output/model.tar.gz"
    written "$output/model.tar.gz"
}

export_image() {
    local engine archive
    engine="$(container_engine)"
    archive="$output/${tag//[:\/]/_}.tar.gz"
    "$engine" image inspect "$tag" > /dev/null 2>&1 || fail "found no image $tag; build it with ./build.sh"
    local form=()
    [ "$engine" = docker ] || form=(--quiet --format docker-archive)
    "$engine" save "${form[@]}" "$tag" | gzip -n -3 > "$output/.part"
    mv "$output/.part" "$archive"
    written "$archive"
}

mkdir -p "$output"
trap 'rm -f "$output/.part" "$output/.names"' EXIT
for one in "${what[@]:-image}"; do "export_$one"; done
