# For CUDA:  docker build -t twostagealign .   (PyTorch as pip installs it by default)
# For CPUs:  docker build -t twostagealign --build-arg TORCH_INDEX=URL .   (URL: index of PyTorch's builds for CPUs,
#            which PyTorch's installation page gives; gigabytes less)
# Run:       docker run --rm -v "$PWD:/data" twostagealign restore --input burst --output restored
# With a GPU, add --gpus all. scripts/check_wheel.sh --full takes the same steps without Docker.
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir hatchling && python -m hatchling build -t wheel -d /dist

FROM python:3.12-slim
ARG TORCH_INDEX=
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.6" "torchvision>=0.21"
COPY --from=build /dist /dist
RUN pip install --no-cache-dir /dist/*.whl && rm -r /dist
WORKDIR /data
ENTRYPOINT ["twostagealign"]
CMD ["--help"]
