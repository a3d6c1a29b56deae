# Sourced by build.sh, export.sh and test/container.sh: what they share.

fail() {
    echo "${0##*/}: error: $*" >&2
    exit 2
}

version() { sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml; }

container_engine() {
    # docker where its daemon answers, else podman; $CONTAINER_ENGINE overrules.
    if [ -n "${CONTAINER_ENGINE:-}" ]; then
        echo "$CONTAINER_ENGINE"
    elif docker info > /dev/null 2>&1; then
        echo docker
    elif command -v podman > /dev/null; then
        echo podman
    else
        fail "neither a docker daemon nor podman is here"
    fi
}
