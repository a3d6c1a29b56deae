#!/usr/bin/env bash
# Builds the image with docker, or with podman if no docker daemon answers.
set -euo pipefail
usage() {
    cat <<'END'
./build.sh [options] [-- further arguments of docker build or podman build]
    --api exec|invoke     one job per run (default), or the HTTP server on port 4743
    --edition NAME        autopet1 to autopet5 (default: autopet2)
    --time-limit SECONDS  warn if a job will probably take longer
    --degrade             then run the fast mode, then fewer folds
    --nonfinite air       read voxels that are NaN or infinite as air, instead of refusing them
    --nifti-form FORM     sform or qform: the one to believe if they differ
    --without-weights     leave the weights out; upload them as the model: ./export.sh weights
    --base IMAGE          another base, with the torch that requirements.txt pins (default: see Dockerfile)
    --tag NAME            default: autosegnet:VERSION, or autosegnet:VERSION-invoke
CONTAINER_ENGINE=docker|podman chooses the engine. More: docs/get-started/first-submission.md
END
}
cd "$(dirname "$0")"
. ./test/engine.sh
api=exec tag='' arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
        --api) api="$2"; shift 2 ;;
        --edition) arguments+=(--build-arg "EDITION=$2"); shift 2 ;;
        --time-limit) arguments+=(--build-arg "TIME_LIMIT=$2"); shift 2 ;;
        --degrade) arguments+=(--build-arg DEGRADE=1); shift ;;
        --nonfinite) arguments+=(--build-arg "NONFINITE=$2"); shift 2 ;;
        --nifti-form) arguments+=(--build-arg "NIFTI_FORM=$2"); shift 2 ;;
        --without-weights) arguments+=(--build-arg WEIGHTS=weights/README.md); shift ;;
        --base) arguments+=(--build-arg "BASE_IMAGE=$2"); shift 2 ;;
        --tag) tag="$2"; shift 2 ;;
        --help | -h) usage; exit 0 ;;
        --) shift; break ;;
        *) usage >&2; fail "unknown option $1" ;;
    esac
done
case "$api" in exec | invoke) ;; *) fail "--api is '$api', expected exec or invoke" ;; esac
suffix=""
[ "$api" = exec ] || suffix="-$api"
tag="${tag:-autosegnet:$(version)$suffix}"
engine="$(container_engine)"

# All times are that of the last commit, so two builds give the same layers.
epoch="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
case "$engine" in
    podman) arguments+=(--format docker --timestamp "$epoch") ;;
    docker) arguments+=(--platform linux/amd64 --build-arg "SOURCE_DATE_EPOCH=$epoch") ;;
esac
revision="$(git rev-parse HEAD 2>/dev/null || echo unknown)"
[ -z "$(git status --porcelain 2>/dev/null)" ] || revision="$revision-modified"

"$engine" build --target "$api" --tag "$tag" \
    --build-arg "VERSION=$(version)" \
    --build-arg "REVISION=$revision" \
    --build-arg "CREATED=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)" \
    "${arguments[@]}" "$@" .
echo "built $tag with $engine: $("$engine" image inspect --format '{{.Id}}, {{.Size}} bytes' "$tag")"
