#!/usr/bin/env bash
# Build the image, and write it to a file if one is named.
#
#   scripts/image.sh [--no-registry] [OUT.tar [TAG]]        default tag: tickbridge:VERSION
#
# --no-registry: from bases made on the spot (scripts/image-bases.sh) in place of those that the Dockerfile names.
# Where no Docker engine answers, one of our own runs for as long as it takes (scripts/image-engine.sh), its state in
# TICKBRIDGE_ENGINE_DIR if that is set, which keeps what was built for the next time, else in a temporary directory.
# More arguments for `docker build` are taken from DOCKER_BUILD_ARGS.
set -euo pipefail
cd "$(dirname "$0")/.."
arguments=() no_registry=
if [ "${1:-}" = --no-registry ]; then no_registry=yes; shift; fi
out=${1:-}
version=$(sed -nE 's/^__version__ = "(.*)"$/\1/p' bridge/__init__.py)
tag=${2:-tickbridge:$version}

if ! docker version > /dev/null 2>&1; then
  directory=${TICKBRIDGE_ENGINE_DIR:-$(mktemp -d)}
  scripts/image-engine.sh "$directory" > "$directory.log" 2>&1 &
  engine=$!
  stop() {
    kill "$engine" 2> /dev/null || true
    wait "$engine" || true
    [ -n "${TICKBRIDGE_ENGINE_DIR:-}" ] || rm -rf "$directory" "$directory.log"
  }
  trap stop EXIT
  export DOCKER_HOST=unix://$directory/docker.sock
  for _ in $(seq 300); do
    docker version > /dev/null 2>&1 && break
    kill -0 "$engine" 2> /dev/null || { wait "$engine" || code=$?; cat "$directory.log" >&2; exit "${code:-69}"; }
    sleep 0.1
  done
  arguments+=(--network host)  # it has no network of its own
fi
if [ -n "$no_registry" ]; then
  scripts/image-bases.sh
  arguments+=(--build-arg BUILD=tickbridge-base/build:debian13 --build-arg RUNTIME=tickbridge-base/runtime:debian13)
  arguments+=(--network host)
fi
read -ra more <<< "${DOCKER_BUILD_ARGS:-}"
docker build "${arguments[@]}" --build-arg "VERSION=$version" \
  --build-arg "REVISION=$(git rev-parse --short HEAD 2> /dev/null || echo unknown)" --tag "$tag" "${more[@]}" .
if [ -n "$out" ]; then docker save --output "$out" "$tag"; fi
docker images --format '{{.Repository}}:{{.Tag}}: {{.Size}}' "$tag"
