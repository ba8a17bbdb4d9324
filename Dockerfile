# What the README's two commands do, in a container: `--target cpu` (default) or `--target gpu`. See docs/serve.md.
FROM python:3.11-slim AS base
WORKDIR /opt/pnp-ovss
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
RUN useradd --create-home app && mkdir /work && chown app /work

FROM base AS gpu
RUN pip install "torch>=2.6,<2.15"
COPY . .
RUN pip install ".[demo,serve]"
USER app
WORKDIR /work
EXPOSE 8000
ENTRYPOINT ["pnp-ovss"]
CMD ["serve", "--host", "0.0.0.0"]

FROM base AS cpu
ARG TORCH_INDEX=""
RUN pip install "torch>=2.6,<2.15" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
COPY . .
RUN pip install ".[demo,serve]"
USER app
WORKDIR /work
EXPOSE 8000
ENTRYPOINT ["pnp-ovss"]
CMD ["serve", "--host", "0.0.0.0"]
