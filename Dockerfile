# Two images: `service` (the default, no torch) serves stores; `convert` has every offline command and the client.
#
#     docker build -t drawpoint .
#     docker build -t drawpoint-convert --target convert --build-arg PIP_EXTRA_INDEX_URL=<index of CPU wheels> .

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# With it Python ties bytecode to what sources hold and not to their times. Some engines round the times of files that
# they copy, and with stale bytecode under a read-only root every process compiles everything anew.
ENV SOURCE_DATE_EPOCH=1577836800
WORKDIR /src
RUN python -m venv --without-pip /opt/drawpoint
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY client client
COPY service service

FROM build AS build-service
# Places beside its default index where pip may look; they are not kept in the image.
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
RUN pip --python /opt/drawpoint/bin/python install --no-cache-dir -c constraints.txt '.[service]'

FROM build AS build-convert
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
# torch's default wheels for Linux bring gigabytes of CUDA, hence PIP_EXTRA_INDEX_URL.
RUN pip --python /opt/drawpoint/bin/python install --no-cache-dir -c constraints.txt '.[client,convert]'

FROM ${PYTHON_IMAGE} AS run
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="drawpoint" \
      org.opencontainers.image.description="Random draws of huge CFD samples, served over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Two malloc arenas: with one per thread, memory that threads have freed is held by the process for ever.
ENV PATH=/opt/drawpoint/bin:$PATH \
    HOME=/tmp \
    MALLOC_ARENA_MAX=2 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A new volume mounted here takes this owner.
RUN install -d -o 10001 -g 10001 /stores
USER 10001:10001
ENTRYPOINT ["drawpoint"]

FROM run AS convert
COPY --from=build-convert /opt/drawpoint /opt/drawpoint
CMD ["--help"]

FROM run AS service
COPY --from=build-service /opt/drawpoint /opt/drawpoint
EXPOSE 8000
STOPSIGNAL SIGTERM
# http.client, because urllib would ask the proxy that the environment may name.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--store", "store=/stores"]
