# Turnstile with native Lean, for machines without a GPU: `docker build --file docker/cpu.Dockerfile --tag turnstile .`
# `--build-arg MATHLIB=1` adds Mathlib (7 GB), `--build-arg LEAN=4.30.0` chooses another Lean. This image has not been built yet.
FROM python:3.12.12-slim-bookworm

ARG LEAN=4.28.0
ARG MATHLIB=0
ARG ELAN=4.2.4
ARG ELAN_SHA256=42b94d4244e8353142c456ec0e4ca6528fd898a6c604d4059f494e706e431f63

# Lean links the proof server with its own compiler; Lake needs git. Debian removes old versions, so that a pinned one stops building.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends bubblewrap ca-certificates curl git \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 turnstile

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

USER 1000:1000
WORKDIR /home/turnstile
ENV PATH=/home/turnstile/venv/bin:/home/turnstile/.elan/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    TURNSTILE_LEAN=native

RUN curl --proto '=https' --tlsv1.2 --fail --silent --show-error --location --output elan.tar.gz \
      "https://github.com/leanprover/elan/releases/download/v$ELAN/elan-x86_64-unknown-linux-gnu.tar.gz" \
 && echo "$ELAN_SHA256  elan.tar.gz" | sha256sum --check - \
 && tar --extract --gzip --file elan.tar.gz \
 && ./elan-init -y --no-modify-path --default-toolchain "leanprover/lean4:v$LEAN" \
 && rm elan.tar.gz elan-init

# PyTorch for the CPU comes from its own index; PyPI's wheel brings CUDA.
RUN python -m venv venv \
 && pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0

COPY --chown=1000:1000 pyproject.toml README.md LICENSE src/
COPY --chown=1000:1000 lean_project src/lean_project
COPY --chown=1000:1000 turnstile src/turnstile
COPY --chown=1000:1000 prover src/prover
COPY --chown=1000:1000 curricula src/curricula
COPY --chown=1000:1000 rl src/rl
RUN pip install --no-cache-dir ./src

# Builds the proof server. A volume takes over the owner of an existing folder.
RUN if [ "$MATHLIB" = 1 ]; then turnstile setup mathlib --lean "$LEAN"; else python -m prover.lean.setup; fi \
 && rm -rf .cache/mathlib \
 && mkdir work

WORKDIR /home/turnstile/work
ENTRYPOINT ["turnstile"]
CMD ["doctor"]
