#!/bin/sh
# Makes the base into what both images run on: bubblewrap, which contains custom code, and other packages that are named; a user; no pip.
set -eu

apt-get update -q
apt-get install -y -q --no-install-recommends bubblewrap "$@"
rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*

# the program runs from an environment of its own
python3 -m pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip
rm -rf /usr/local/lib/python3.11/ensurepip

groupadd --gid 10001 trainyard
useradd --uid 10001 --gid trainyard --no-create-home --home-dir /tmp trainyard
# a volume that is mounted on one of these belongs to its owner from then on
for folder in /work /spool /datasets /stores/redis /stores/minio /stores/prometheus /secrets/api /secrets/worker /secrets/redis /secrets/minio /secrets/monitor; do
  mkdir -p "$folder"
  chown trainyard:trainyard "$folder"
  chmod 700 "$folder"
done
