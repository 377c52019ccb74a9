#!/bin/sh
# Builds the image with buildah, which needs no daemon, and starts in it what the image and the systemd unit start: under
# their users and limits, on a read-only root, with two umasks and nothing to write but what they name. Needs root.
#
#   deploy/check/image.sh MODEL [BASE [options of buildah bud ...]]
#
# MODEL: folder of a reranker. BASE: an image with Python 3.11 or later; where none can be fetched, one that debootstrap
# made: debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm ROOT, then
# c=$(buildah from scratch) && buildah copy $c ROOT / && buildah commit $c base. STORAGE_DRIVER=vfs helps
# where overlays cannot be mounted.
set -eu
model=$(realpath "$1")
base=${2:-docker.io/library/python:3.12-slim}
if [ $# -ge 2 ]; then shift 2; else shift; fi
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/tamis/__init__.py)

buildah bud --isolation chroot --format docker --layers=false -f deploy/Dockerfile --build-arg "BASE=$base" "$@" -t "tamis:$version" .
container=$(buildah from "tamis:$version")
trap 'buildah rm "$container" >/dev/null' EXIT
user=$(buildah inspect --format '{{.OCIv1.Config.User}}' "$container")
# Whatever is mounted there is gone with the process, before the container is removed.
unshare --mount --propagation private deploy/check/start_in.sh "$(buildah mount "$container")" "$user" "$model"
