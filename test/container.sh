#!/usr/bin/env bash
# Builds the image and runs it as the platform does: no network, no capabilities, read-only, 8 GB, another user id.
#
#   bash test/container.sh            ten to fifteen minutes on two cores
#   bash test/container.sh --full     also the sample at full size: five folds, windows of 192 voxels
#
# Uses docker if its daemon answers, else podman. Neither needs a registry: Debian with the pinned torch stands in for the
# base image. AUTOSEGNET_BASE_ARCHIVE=FILE (from `docker save`) gives another base, such as the real one. On Debian, root
# installs what is missing. If that fails, the last line says SKIPPED and why, and the exit code is 77. The folds are
# untrained and tiny: the masks mean nothing.
. "$(dirname "$0")/setup.sh"
. test/engine.sh
full=no
case "${1:-}" in
    --full) full=yes ;;
    "") ;;
    *) fail "unknown argument $1; expected --full or nothing" ;;
esac

root="$PWD"
data="${AUTOSEGNET_DATA:-$root/../shared/data}"
work="$(mktemp -d "${TMPDIR:-/tmp}/autosegnet-container.XXXXXX")"
chmod 755 "$work"
server="autosegnet-test-$$"
tags=(autosegnet-test:exec autosegnet-test:again autosegnet-test:invoke autosegnet-test:bare autosegnet-test:base autosegnet-test:debian)
engine=""
export OMP_NUM_THREADS=1  # also in the containers: the same sums in the same order outside and inside
passed=0 failed=0

skip() {
    echo "SKIPPED test/container.sh: $*"
    exit 77
}

clean_up() {
    if [ -n "$engine" ]; then
        "$engine" rm --force "$server" > /dev/null 2>&1 || true
        for tag in "${tags[@]}"; do "$engine" rmi --force "$tag" > /dev/null 2>&1 || true; done
    fi
    if [ "$engine" = podman ]; then
        "$engine" rmi --all --force > /dev/null 2>&1 || true
        umount "$work"/*/overlay > /dev/null 2>&1 || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 143' TERM INT

say() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

check() {
    # check TEXT COMMAND...: one fact.
    local text="$1"
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok      $text"
    else
        failed=$((failed + 1))
        echo "FAILED  $text"
    fi
}

choose_engine() {
    if docker info > /dev/null 2>&1; then
        engine=docker
        return
    fi
    local missing=()
    for tool in podman buildah runc mmdebstrap; do
        command -v "$tool" > /dev/null || missing+=("$tool")
    done
    if [ "${#missing[@]}" -gt 0 ]; then
        [ "$(id -u)" = 0 ] || skip "no docker daemon answers, and ${missing[*]} cannot be installed without root"
        command -v apt-get > /dev/null || skip "no docker daemon answers, and ${missing[*]} cannot be installed without apt-get"
        say "installing ${missing[*]}"
        { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } > "$work/apt.log" 2>&1 ||
            skip "no docker daemon answers, and ${missing[*]} cannot be installed: $(tail -1 "$work/apt.log")"
    fi
    [ "$(id -u)" = 0 ] || skip "no docker daemon answers, and this script can set up podman for root only"
    configure_podman
    engine=podman  # set only now, because clean_up removes all images of podman's storage, which must be our own
}

configure_podman() {
    # Uses storage of its own. runc and cgroupfs work without systemd, these limits without CAP_SYS_RESOURCE.
    mkdir -p "$work/storage" "$work/state"
    printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/storage" "$work/state" > "$work/storage.conf"
    cat > "$work/containers.conf" <<'END'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
END
    export CONTAINERS_STORAGE_CONF="$work/storage.conf" CONTAINERS_CONF="$work/containers.conf" TMPDIR="$work"
}

build_options() {
    # Gives podman's build this machine's pip configuration, and the files that it names.
    build=()
    [ "$engine" = podman ] || return 0
    python - "$work/pip.conf" > "$work/mounts" <<'END'
import os, subprocess, sys
from pathlib import Path

listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
lines = [line.partition("=") for line in listed.splitlines()]
# Environment variables come first in the list and override files.
values = {key.rpartition(".")[2]: value.strip("'") for key, _, value in reversed(lines)}
Path(sys.argv[1]).write_text("[global]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()))
words = {word for value in values.values() for word in value.split()}
paths = {Path(word) for word in words if word.startswith("/")}
paths |= {Path(word[len("file://"):]).parent for word in words if word.startswith("file://")}
print(*sorted(str(p) for p in paths if p.exists()), sep="\n")
END
    build=(--isolation=chroot --network=host --pull=never --volume "$work/pip.conf:/etc/pip.conf:ro")
    while read -r path; do
        [ -z "$path" ] || build+=(--volume "$path:$path:ro")
    done < "$work/mounts"
}

make_base() {
    if [ -n "${AUTOSEGNET_BASE_ARCHIVE:-}" ]; then
        "$engine" load --input "$AUTOSEGNET_BASE_ARCHIVE" 2> /dev/null | sed -n 's/^Loaded image[^:]*: *//p' | tail -1 > "$work/loaded"
        "$engine" tag "$(cat "$work/loaded")" autosegnet-test:base
        return
    fi
    command -v mmdebstrap > /dev/null || skip "found no mmdebstrap to make a base image; give one with AUTOSEGNET_BASE_ARCHIVE"
    mmdebstrap --quiet --variant=minbase --include=python3,python3-pip,ca-certificates bookworm "$work/debian.tar" \
        2> "$work/mmdebstrap.log" || skip "Debian cannot be fetched: $(tail -1 "$work/mmdebstrap.log")"
    "$engine" import "$work/debian.tar" autosegnet-test:debian > /dev/null 2>&1
    rm "$work/debian.tar"
    mkdir "$work/nothing"
    "$engine" build "${build[@]}" --tag autosegnet-test:base --file - "$work/nothing" > "$work/base.log" 2>&1 <<END ||
FROM autosegnet-test:debian
RUN rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -sf python3 /usr/bin/python
RUN python -m pip install --no-cache-dir $(grep '^torch==' requirements.txt)
END
        fail "the base cannot be built: $(tail -1 "$work/base.log")"
}

make_context() {
    # Copies the repository's files, with untrained folds in weights/.
    mkdir -p "$work/context/test" "$work/context/weights"
    cp -r autosegnet process.py requirements.txt requirements-hashes.txt pyproject.toml Dockerfile .dockerignore build.sh export.sh "$work/context"
    cp test/engine.sh "$work/context/test"
    cp weights/README.md "$work/context/weights"
    PYTHONPATH=test python - "$work/context/weights" <<'END'
import sys
from pathlib import Path

from untrained_folds import write_untrained_weights

from autosegnet.model.recipe import Recipe

tiny = Recipe(patch=(32, 32, 32), spacing_mm=(8.0, 8.0, 8.0), overlap=0.0)
write_untrained_weights(Path(sys.argv[1]), folds=2, recipe=tiny)
END
}

make_inputs() {
    # Makes the cases sample, real (if there are data), and three that must be refused. All use the same file names.
    mkdir -p "$work/inputs"
    python - "$work/inputs" "$data/sts" <<'END'
import shutil, sys
from pathlib import Path

import SimpleITK as sitk

sitk.ProcessObject.SetGlobalWarningDisplay(False)  # about tags that MetaImage cannot hold
inputs, studies = Path(sys.argv[1]), Path(sys.argv[2])

def path(case, name):
    (inputs / case / "images" / name).mkdir(parents=True, exist_ok=True)
    return inputs / case / "images" / name / f"{name}.mha"

sample = {name: next(Path("test/input/images", name).glob("*.mha")) for name in ("pet", "ct")}
for case in ("sample", "no-ct", "damaged", "swapped"):
    for name, source in sample.items():
        shutil.copy(source, path(case, name))
path("no-ct", "ct").unlink()
path("damaged", "pet").write_bytes(sample["pet"].read_bytes()[:-1000])
shutil.copy(sample["ct"], path("swapped", "pet"))
shutil.copy(sample["pet"], path("swapped", "ct"))
for study in sorted(studies.glob("STS_*"))[:1]:
    for name, file in (("pet", "SUV.nii.gz"), ("ct", "CTres.nii.gz")):
        sitk.WriteImage(sitk.ReadImage(str(study / file)), str(path("real", name)), useCompression=True)
END
    chmod -R a+rX "$work/inputs"
    cases=(sample real)
    [ -d "$work/inputs/real" ] || { cases=(sample); echo "no real study: found no sts/ in \$AUTOSEGNET_DATA or ../shared/data"; }
}

image() {
    # image TAG OPTIONS...: builds the context with its own build.sh.
    local tag="$1" log="$work/build-${1##*:}.log" start=$SECONDS
    shift
    local split=() more=()
    for option in "$@"; do [ "$option" = --no-cache ] && more+=("$option") || split+=("$option"); done
    CONTAINER_ENGINE="$engine" "$work/context/build.sh" --base autosegnet-test:base --tag "$tag" "${split[@]}" \
        -- "${build[@]}" "${more[@]}" > "$log" 2>&1 || { tail -20 "$log"; fail "$tag cannot be built"; }
    echo "$(tail -1 "$log") in $((SECONDS - start)) s"
}

restrictions() {
    # As strict as the platform can be. Root runs the image as a user id that nobody has.
    local user="12345:54321"
    [ "$(id -u)" = 0 ] || user="$(id -u):$(id -g)"
    limits=(--network none --cap-drop ALL --security-opt no-new-privileges --read-only --tmpfs /tmp --memory 8g
        --memory-swap 8g --shm-size 64m --pids-limit 256 --user "$user" --env OMP_NUM_THREADS)
    [ "$engine" = docker ] || limits+=(--pull=never --read-only-tmpfs=false)
}

fresh() {
    rm -rf "$work/runs/$1"
    mkdir -p "$work/runs/$1/output"
    chmod 777 "$work/runs/$1/output"
}

job() {
    # job NAME INPUT IMAGE OPTIONS...: runs a container once; output, log and exit code go to runs/NAME.
    local name="$1" input="$2" image="$3" code=0
    shift 3
    fresh "$name"
    "$engine" run --rm "${limits[@]}" --volume "$work/inputs/$input:/input:ro" \
        --volume "$work/runs/$name/output:/output" "$@" "$image" \
        > "$work/runs/$name/stdout" 2> "$work/runs/$name/stderr" || code=$?
    echo "$code" > "$work/runs/$name/code"
}

mask() { echo "$work/runs/$1/output/images/automated-petct-lesion-segmentation/ct.mha"; }
equal() { [ "$1" = "$2" ] || { echo "        found '$1', expected '$2'"; return 1; }; }
code() { equal "$(cat "$work/runs/$1/code")" "$2"; }
silent() { equal "$(cat "$work/runs/$1/stderr")" ""; }
last_line() { tail -1 "$work/runs/$1/stderr"; }
matches() { [[ "$1" == $2 ]] || { echo "        found '$1', expected '$2'"; return 1; }; }
files() { (cd "$work/runs/$1/output" && find . -type f | sort | tr '\n' ' '); }
same() { cmp "$(mask "$1")" "$(mask "$2")"; }

outside() {
    # Segments the same study with the same folds, without a container.
    fresh "outside-$1"
    python process.py --input "$work/inputs/$1" --output "$work/runs/outside-$1/output" --weights "$work/context/weights" \
        --device cpu > "$work/runs/outside-$1/stdout"
}

listing() {
    # Lists type, mode, owner, size, SHA-256 and name of every file of an image.
    local container
    container="$("$engine" create "$1")"
    "$engine" export "$container" | python -c '
import hashlib, sys, tarfile
lines = []
with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
    for file in archive:
        data = archive.extractfile(file) if file.isreg() else None
        digest = hashlib.sha256(data.read()).hexdigest() if data else file.linkname
        lines.append(f"{file.type.decode()} {file.mode:o} {file.uid}:{file.gid} {file.size} {digest} {file.name}")
print(*sorted(lines), sep="\n")'
    "$engine" rm "$container" > /dev/null
}

label() { "$engine" image inspect --format "{{index .Config.Labels \"$2\"}}" "$1"; }

check_builds() {
    say "build: exec, exec again without cache, invoke, and exec without weights"
    image autosegnet-test:exec
    image autosegnet-test:again --no-cache
    image autosegnet-test:invoke --api invoke
    image autosegnet-test:bare --without-weights
    listing autosegnet-test:exec > "$work/listing-1"
    listing autosegnet-test:again > "$work/listing-2"
    echo "$(wc -l < "$work/listing-1") files and folders"
    check "two builds have the same files, modes and SHA-256" diff "$work/listing-1" "$work/listing-2"
    check "the image does not run as root" equal "$("$engine" image inspect --format '{{.Config.User}}' autosegnet-test:exec)" 10001:10001
    check "the exec image says so" equal "$(label autosegnet-test:exec org.grand-challenge.api-method)" exec
    check "the invoke image says so" equal "$(label autosegnet-test:invoke org.grand-challenge.api-method)" invoke
    check "the image carries its version" equal "$(label autosegnet-test:exec org.opencontainers.image.version)" "$(version)"
    check "torch is installed once" equal "$(grep -c ' [^ ]*/torch-[0-9.]*[^/]*dist-info/METADATA$' "$work/listing-1")" 1
    check "there are no tests, training code or leftovers" equal \
        "$(grep -cE ' opt/autosegnet/(test|resources|docs|\.)| tmp/.' "$work/listing-1")" 0
}

check_restrictions() {
    say "the restrictions hold"
    "$engine" run --rm "${limits[@]}" --entrypoint sh autosegnet-test:exec -c '
        grep -E "^(CapEff|NoNewPrivs)" /proc/self/status | tr -d "\t" | tr "\n" " "
        touch /opt/autosegnet/x 2> /dev/null || printf "read-only "
        cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null | tr "\n" " "
        cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2> /dev/null | tr "\n" " "
        echo "$(ls /sys/class/net)"' > "$work/inside" 2> /dev/null
    check "no capabilities, no new privileges, read-only, 8 GiB, 256 processes, no network" \
        equal "$(cat "$work/inside")" "CapEff:0000000000000000 NoNewPrivs:1 read-only 8589934592 256 lo"
}

check_jobs() {
    say "exec: one job per run"
    for case in "${cases[@]}"; do
        outside "$case"
        job "$case" "$case" autosegnet-test:exec
        check "$case: exit code 0" code "$case" 0
        check "$case: nothing on stderr" silent "$case"
        check "$case: the mask and results.json" equal "$(files "$case")" \
            "./images/automated-petct-lesion-segmentation/ct.mha ./results.json "
        check "$case: the mask equals the one made outside the container, byte by byte" same "$case" "outside-$case"
    done
    local name reason
    while IFS='|' read -r name reason; do
        job "$name" "$name" autosegnet-test:exec
        check "$name: exit code 3" code "$name" 3
        check "$name: the last line says why" matches "$(last_line "$name")" "autosegnet: error: *$reason*"
        check "$name: nothing is left at the output" equal "$(files "$name")" ""
    done << 'END'
no-ct|no image
damaged|pet.mha
swapped|CT
END
    job limited sample autosegnet-test:exec --env AUTOSEGNET_EDITION=autopet4 --env AUTOSEGNET_TIME_LIMIT=0.1 --env AUTOSEGNET_DEGRADE=1
    check "the environment sets the edition" equal "$(files limited)" \
        "./images/tumor-lesion-segmentation/ct.mha ./results.json "
    check "the environment sets the time limit" grep -q '"degraded": true' "$work/runs/limited/output/results.json"
}

call() {
    # call METHOD PATH: asks the server from inside its container, which has no network.
    "$engine" exec "$server" python -c '
import sys, urllib.error, urllib.request
request = urllib.request.Request(f"http://127.0.0.1:4743{sys.argv[2]}", method=sys.argv[1])
try:
    answer = urllib.request.urlopen(request, timeout=600)
except urllib.error.HTTPError as error:
    answer = error
except OSError:
    sys.exit("no answer")
print(answer.status, answer.read().decode().strip())' "$1" "$2"
}

provide() {
    # Makes fresh folders for the next call, with the same names.
    rm -rf "$work"/runs/server/{input,output}/*
    cp -r "$work/inputs/$1/." "$work/runs/server/input/"
}

answers() {
    # answers CASE: the server's mask equals that of the case's own container.
    provide "$1"
    check "$1: 201" equal "$(call POST /invoke)" "201 done"
    check "$1: the mask equals that of its own container" cmp "$(mask server)" "$(mask "$1")"
}

check_server() {
    say "invoke: one server, several jobs"
    fresh server
    mkdir -p "$work/runs/server/input"
    "$engine" run --detach --name "$server" "${limits[@]}" --volume "$work/runs/server/input:/input:ro" \
        --volume "$work/runs/server/output:/output" autosegnet-test:invoke > /dev/null 2>&1
    local start=$SECONDS
    until call GET /health > "$work/health" 2> /dev/null || [ $((SECONDS - start)) -gt 300 ]; do sleep 1; done
    check "healthy after $((SECONDS - start)) s" equal "$(cat "$work/health")" "200 ready"
    local test
    test="$("$engine" image inspect --format '{{json .HealthCheck}}' autosegnet-test:invoke 2> /dev/null ||
        "$engine" image inspect --format '{{json .Config.Healthcheck}}' autosegnet-test:invoke)"
    check "the image has a health check" matches "$test" '*4743/health*'
    [ "$engine" != podman ] || check "the health check passes" "$engine" healthcheck run "$server"
    for case in "${cases[@]}"; do answers "$case"; done
    provide damaged
    check "a damaged study: 422 and the same line as its own container" equal "$(call POST /invoke)" "422 $(last_line damaged)"
    check "a damaged study: nothing is left at the output" equal "$(files server)" ""
    answers sample
    check "the weights were loaded once" equal "$("$engine" logs "$server" 2> /dev/null | grep -c ' folds, weights ')" 1
    check "stderr holds only the refusal" equal "$("$engine" logs "$server" 2>&1 > /dev/null | grep autosegnet)" "$(last_line damaged)"
    start=$SECONDS
    "$engine" stop --time 20 "$server" > /dev/null 2>&1
    check "SIGTERM ends it cleanly, within $((SECONDS - start)) s" equal "$("$engine" inspect --format '{{.State.ExitCode}}' "$server")" 0
    "$engine" rm "$server" > /dev/null 2>&1
}

check_exports() {
    say "export: the image, and the weights as the platform's model"
    local start=$SECONDS
    (cd "$work/context" && CONTAINER_ENGINE="$engine" ./export.sh image weights --tag autosegnet-test:exec)
    echo "in $((SECONDS - start)) s"
    python - "$work/context/dist/autosegnet-test_exec.tar.gz" > "$work/archive" <<'END'
import json, sys, tarfile

with tarfile.open(sys.argv[1]) as archive:
    (image,) = json.load(archive.extractfile("manifest.json"))
    config = json.load(archive.extractfile(image["Config"]))
print(config["architecture"], config["config"]["User"], config["config"]["Labels"]["org.grand-challenge.api-method"])
END
    check "the archive has what the platform reads" equal "$(cat "$work/archive")" "amd64 10001:10001 exec"
    local load=(docker load)
    if [ "$engine" = podman ]; then
        load=(podman --root "$work/elsewhere" --runroot "$work/elsewhere-state" load)
    else
        docker rmi --force autosegnet-test:exec > /dev/null
    fi
    start=$SECONDS
    # Decompressed on the way: podman 4.3 takes no compressed archive, whoever wrote it.
    check "the archive loads elsewhere" matches \
        "$(gunzip --stdout "$work/context/dist/autosegnet-test_exec.tar.gz" | "${load[@]}" 2> /dev/null)" "*autosegnet-test:exec*"
    echo "in $((SECONDS - start)) s"

    job no-weights sample autosegnet-test:bare
    check "an image without weights: exit code 4" code no-weights 4
    check "an image without weights: the last line says so" matches "$(last_line no-weights)" "autosegnet: error: no weights*"
    mkdir "$work/model"
    tar --extract --gzip --file "$work/context/dist/model.tar.gz" --directory "$work/model"
    chmod -R a+rX "$work/model"
    job model sample autosegnet-test:bare --volume "$work/model:/opt/ml/model:ro"
    check "with the model tarball mounted: the same mask" same model sample
}

check_full_size() {
    say "the sample at full size: five folds, windows of 192 voxels"
    PYTHONPATH=test python test/untrained_folds.py "$work/full"
    chmod -R a+rX "$work/full"
    job full sample autosegnet-test:bare --volume "$work/full:/opt/ml/model:ro"
    tail -3 "$work/runs/full/stdout"
    check "full size: exit code 0 within 8 GB" code full 0
    [ ! -f test/expected/untrained.mha ] || check "full size: the mask is the expected one" python -c '
import sys
from autosegnet.evaluation import measure
from autosegnet.io import read_mask
sys.exit(measure(*map(read_mask, sys.argv[1:])).dsc < 0.99)' "$(mask full)" test/expected/untrained.mha
}

choose_engine
build_options
restrictions
say "the base, the folds and the studies, with $engine"
make_base
make_context
make_inputs
check_builds
check_restrictions
check_jobs
check_server
check_exports
[ "$full" = no ] || check_full_size
say "done"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
