# The image of the tree with what its containment tests need; TRAINYARD is the image that they are about. The context is the tests' folder.
ARG TRAINYARD=trainyard-contained:cpu
FROM python:3.11-slim AS needed
COPY needed.lock /needed.lock
RUN pip install --quiet --no-cache-dir --target /needed -r /needed.lock

FROM $TRAINYARD
COPY --from=needed /needed /needed
COPY pyproject.toml /proving/
COPY tests /proving/tests
WORKDIR /proving
ENV PYTHONPATH=/needed PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["python3"]
