# Antiphon's images: `--target cpu` and `--target cuda`. The base is pinned by digest; PYTHON replaces it
# (any Debian with Python 3.11 and its venv module). Needs no BuildKit.
ARG PYTHON=python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

# What both targets run on: ffmpeg for the clips of commands, libnuma for vLLM, a compiler for torch.compile, Triton and our C++ kernels,
# tini to reap the children of engines. Nothing here may be written at run time but /tmp and the cache.
FROM ${PYTHON} AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ffmpeg g++ libnuma1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home --home-dir /var/cache/antiphon --shell /usr/sbin/nologin antiphon
ENV PATH=/opt/antiphon/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/cache/antiphon \
    XDG_CACHE_HOME=/var/cache/antiphon \
    ANTIPHON_MEDIA__FRAMES_FOLDER=/var/cache/antiphon \
    VLLM_NO_USAGE_STATS=1 \
    ANTIPHON_HOST=0.0.0.0 \
    ANTIPHON_PORT=8000

FROM base AS build
ENV PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY lock/ lock/

FROM build AS build-cpu
RUN lock/install.sh /opt/antiphon cpu
COPY pyproject.toml README.md LICENSE ./
COPY deploy/tiers/ deploy/tiers/
COPY kernels/ kernels/
COPY model_executor/ model_executor/
COPY server/ server/
RUN pip install --no-deps --no-build-isolation .

FROM build AS build-cuda
RUN lock/install.sh /opt/antiphon cuda
COPY pyproject.toml README.md LICENSE ./
COPY deploy/tiers/ deploy/tiers/
COPY kernels/ kernels/
COPY model_executor/ model_executor/
COPY server/ server/
RUN pip install --no-deps --no-build-isolation .

FROM base AS runtime
LABEL org.opencontainers.image.title="antiphon" \
      org.opencontainers.image.description="An open inference server for Thinker-Talker omni models" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
WORKDIR /var/cache/antiphon
VOLUME /var/cache/antiphon
EXPOSE 8000
STOPSIGNAL SIGTERM
# Ready only when both engines are loaded and warm: a large model takes minutes.
HEALTHCHECK --interval=10s --timeout=3s --start-period=600s --retries=3 \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["tini", "--", "antiphon"]

# No GPU. Without arguments it serves antiphon-nano, which comes with it.
FROM runtime AS cpu
COPY --from=build-cpu /opt/antiphon /opt/antiphon
CMD ["serve"]

# NVIDIA GPUs, through the container toolkit. Mount a checkpoint: `-v /models:/models:ro ... serve --model /models/...`.
FROM runtime AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda /opt/antiphon /opt/antiphon
CMD ["serve", "--model", "/models/Qwen3-Omni-30B-A3B-Instruct"]
