# The server, `segue serve`, with the embedded models; docs/installing.md shows how to build and run it.
# TORCH_INDEX: a further index for torch, such as that of its CPU builds; without one, PyPI's CUDA build is taken.
FROM python:3.12-slim-bookworm AS build

ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/segue \
    && /opt/segue/bin/pip install -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} ".[serve]"

FROM python:3.12-slim-bookworm

RUN useradd --home-dir /var/lib/segue --create-home --uid 10001 segue
COPY --from=build /opt/segue /opt/segue
ENV PATH="/opt/segue/bin:$PATH" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
USER 10001
WORKDIR /var/lib/segue
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["segue", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--model", "segue-mini"]
