# The algorithm's image. `./build.sh` builds it; `docker build .` works as well.
# The base brings torch and CUDA; the requirements bring everything else. CUDA 12.6 runs on the platform's T4, whose driver
# does not support CUDA 13. The default tag follows the naming of the PyTorch images on Docker Hub. It was not pulled where
# this file was written (docs/get-started/first-submission.md says what was tested). A tag can be moved: for a build that can be
# repeated, pull the base once, read its digest with `docker image inspect --format '{{index .RepoDigests 0}}' NAME`, and pass
# NAME@sha256:... by `./build.sh --base`.
ARG BASE_IMAGE=pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime

FROM ${BASE_IMAGE} AS program
SHELL ["/bin/sh", "-euc"]

# Only /output and /tmp are written. The user may have no name, no home and any number.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    PYTHONPATH=/opt/autosegnet \
    HOME=/tmp \
    LOGNAME=autosegnet \
    XDG_CACHE_HOME=/tmp/.cache \
    MPLCONFIGDIR=/tmp/.matplotlib

WORKDIR /opt/autosegnet

# Every package is pinned to one version and to the SHA-256 of its files, so no dependency is resolved here and no other file
# is taken. All are compiled now, because a read-only image cannot do it later. SOURCE_DATE_EPOCH makes pip write bytecode that
# depends on the source alone, not on its time.
COPY --chmod=755 requirements.txt requirements-hashes.txt ./
RUN PIP_BREAK_SYSTEM_PACKAGES=1 SOURCE_DATE_EPOCH=315532800 python -m pip install --no-cache-dir --no-deps --require-hashes \
        --root-user-action=ignore --requirement requirements-hashes.txt; \
    python -c 'import re, sys, torch; pin = re.search(r"^torch==(\S+)$", open("requirements.txt").read(), re.M)[1]; \
found = torch.__version__.partition("+")[0]; \
sys.exit(None if found == pin else f"the base has torch {found}, expected {pin}")'

COPY --chmod=755 autosegnet ./autosegnet
COPY --chmod=755 process.py ./
RUN python -m compileall -q --invalidation-mode unchecked-hash autosegnet process.py; \
    python -c 'import process, cc3d, highdicom, monai.networks.nets, nibabel, openvino, PIL, pydicom, safetensors.torch, \
scipy.ndimage, tqdm, waitress.server'; \
    rm -rf /tmp/* /tmp/.[!.]*

# The folder of weights is verified. With any other path of the context (./build.sh --without-weights: the model card
# alone) the image needs the platform's model in /opt/ml/model.
ARG WEIGHTS=weights
COPY --chmod=755 ${WEIGHTS} ./weights/
RUN if [ "${WEIGHTS}" = weights ]; then python -m autosegnet weights verify --weights weights; fi; \
    rm -rf /tmp/* /tmp/.[!.]*

ARG EDITION=autopet2
ARG TIME_LIMIT=
ARG DEGRADE=0
ARG NIFTI_FORM=
ARG NONFINITE=
ENV AUTOSEGNET_EDITION=${EDITION} \
    AUTOSEGNET_TIME_LIMIT=${TIME_LIMIT} \
    AUTOSEGNET_DEGRADE=${DEGRADE} \
    AUTOSEGNET_NIFTI_FORM=${NIFTI_FORM} \
    AUTOSEGNET_NONFINITE=${NONFINITE}

ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="autosegnet" \
      org.opencontainers.image.description="Lesion segmentation in whole-body FDG PET/CT" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"

# The platform refuses images that run as root. A number needs no entry in the base's list of users.
USER 10001:10001

# ./build.sh --api invoke: the server.
FROM program AS invoke
LABEL org.grand-challenge.api-method="invoke"
EXPOSE 4743
HEALTHCHECK --interval=10s --timeout=10s --start-period=300s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:4743/health', timeout=5)"]
ENTRYPOINT ["python", "/opt/autosegnet/process.py", "--api", "invoke", "--host", "0.0.0.0"]

# The default comes last: one job per run.
FROM program AS exec
LABEL org.grand-challenge.api-method="exec"
ENTRYPOINT ["python", "/opt/autosegnet/process.py"]
