# transferscope on CPUs: docker build -t transferscope . ; the study's folder is mounted as /study (see README.md).
FROM python:3.13-slim
RUN useradd --create-home --uid 1000 reader && mkdir /study && chown reader /study
WORKDIR /home/reader/transferscope
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu '.[quickstart]'
USER 1000
ENV HF_HUB_OFFLINE=1
WORKDIR /study
ENTRYPOINT ["transferscope"]
CMD ["quickstart"]
