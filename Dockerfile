# Two bases with the same Python on the same Debian: one to install with, and one to run on, which has no shell.
ARG BUILD=python:3.13-slim-trixie
ARG RUNTIME=gcr.io/distroless/python3-debian13:nonroot

FROM ${BUILD} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# pip stays in an environment of its own: nothing is installed at run time.
RUN python -m venv /opt/build && python -m venv --without-pip /opt/tickbridge
WORKDIR /src
# The dependencies first: they change less often than the code, and every one of them is held to its hash.
COPY requirements.lock requirements-build.lock ./
RUN /opt/build/bin/pip --python /opt/tickbridge install --no-compile --require-hashes -r requirements.lock \
 && /opt/build/bin/pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md ./
COPY schemas schemas
COPY bridge bridge
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheel . \
 && /opt/build/bin/pip --python /opt/tickbridge install --no-compile --no-deps /wheel/*.whl
# Bytecode that is never held against its source, which cannot change here. Then the environment is pointed at the
# interpreter of the other base, which lies elsewhere.
ARG INTERPRETER=/usr/bin/python3
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/tickbridge/lib \
 && sed -i "s|^home = .*|home = $(dirname ${INTERPRETER})|" /opt/tickbridge/pyvenv.cfg \
 && ln -sfn ${INTERPRETER} /opt/tickbridge/bin/python \
 && mkdir /spill

FROM ${RUNTIME}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tickbridge" \
      org.opencontainers.image.description="Keep one market-data WebSocket subscribed to what a compacted Kafka topic asks for, and publish its ticks to Kafka." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/tickbridge /opt/tickbridge
# A volume that is mounted here takes over this owner, and so can hold the spill.
COPY --from=build --chown=10001:10001 /spill /var/lib/tickbridge
ENV PATH=/opt/tickbridge/bin:$PATH
# Shows that the two bases fit together, and leaves the bytecode of what is used of Python's own library, which this base
# comes without: halves the time to start.
USER 0:0
RUN ["tickbridge", "run", "--help"]
# From here on the root file system may be read-only, so no bytecode is written; logs leave as they are written.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, since Kubernetes cannot tell of a name that it is not root.
USER 10001:10001
# The base's own is another user's home.
WORKDIR /
EXPOSE 8080
# Exec form: SIGTERM reaches the bridge itself, which then drains and flushes.
ENTRYPOINT ["tickbridge"]
CMD ["run"]
