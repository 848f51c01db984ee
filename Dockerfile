# Both stages come from the same image, so that what is compiled or linked in the first runs in the second.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/tickbridge
WORKDIR /src
# The dependencies first: they change less often than the code, and every one of them is held to its hash.
COPY requirements.lock ./
RUN /opt/tickbridge/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY schemas schemas
COPY bridge bridge
# Without pip afterwards: nothing is installed at run time.
RUN /opt/tickbridge/bin/pip install --no-deps . && /opt/tickbridge/bin/pip uninstall --yes pip

FROM ${PYTHON}
LABEL org.opencontainers.image.title="tickbridge" \
      org.opencontainers.image.description="Keep one market-data WebSocket subscribed to what a compacted Kafka topic asks for, and publish its ticks to Kafka." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/tickbridge /opt/tickbridge
# The root file system may be read-only, so no bytecode is written; logs leave as they are written.
ENV PATH=/opt/tickbridge/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, since Kubernetes cannot tell of a name that it is not root.
USER 10001:10001
EXPOSE 8080
# Exec form: SIGTERM reaches the bridge itself, which then drains and flushes.
ENTRYPOINT ["tickbridge"]
CMD ["run"]
