# One machine's worth of multihop: the engine, with everything the lock files name.
#   docker build -t multihop .          behind a mirror: --secret id=pip.conf,src=/etc/pip.conf
#                                       and --build-arg MAVEN_MIRROR=…
#   docs/operations.md shows how to run it.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless procps \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/multihop --create-home multihop

WORKDIR /opt/multihop

# The environment changes seldom: exactly what is locked, each file checked by its hash. The class
# archive is recorded here too, because it holds for the jars of this very folder only.
COPY requirements.lock requirements-uv.lock jars.lock ./
COPY scripts/setup.py scripts/record_archive.py scripts/
COPY profiles profiles
COPY loaders loaders
COPY dbt_guard dbt_guard
ARG MAVEN_MIRROR=
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    LAKEHOUSE_ROOT=/tmp/setup UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1 \
    python scripts/setup.py --without-aws \
    && rm -rf /tmp/setup

COPY dbt_project.yml ./
COPY macros macros
COPY models models
COPY seeds seeds
COPY tests/data tests/data
COPY dashboard dashboard

# The code stays root's: the engine writes below its root, and to /tmp.
USER multihop
ENV LAKEHOUSE_ROOT=/var/lib/multihop/lakehouse \
    HOME=/var/lib/multihop \
    USER=multihop \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
VOLUME /var/lib/multihop

# SIGTERM is the engine's sign to finish its batches; it ends within 30 seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD [".venv/bin/python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('HTTP_PORT', '8088') + '/healthz', timeout=4)"]
ENTRYPOINT [".venv/bin/python", "-m", "loaders"]
CMD ["up"]
