# Functions that build.sh, export.sh and test/container.sh share.

fail() {
    echo "${0##*/}: error: $*" >&2
    exit 2
}

version() { sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml; }

container_engine() {
    # docker if its daemon answers, else podman; $CONTAINER_ENGINE overrides both.
    if [ -n "${CONTAINER_ENGINE:-}" ]; then
        echo "$CONTAINER_ENGINE"
    elif docker info > /dev/null 2>&1; then
        echo docker
    elif command -v podman > /dev/null; then
        echo podman
    else
        fail "found neither a Docker daemon nor podman; install one of them"
    fi
}
