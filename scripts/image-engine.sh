#!/usr/bin/env bash
# Run a Docker engine of one's own in the foreground, with all its state in one directory.
#
#   scripts/image-engine.sh DIRECTORY        clients: DOCKER_HOST=unix://DIRECTORY/docker.sock
#
# It touches neither the machine's network nor another engine: it has no bridge and writes no firewall rules, so
# containers and builds run with `--network host`. SIGTERM ends it, and the containerd that it starts.
#
# Exits with 69 when something is missing (Debian: docker.io; and it must be root).
set -euo pipefail
directory=$(mkdir -p "$1" && cd "$1" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "an engine of one's own needs root" >&2; exit 69; }
engine=$(PATH=$PATH:/usr/sbin command -v dockerd) || { echo "dockerd is missing (Debian: docker.io)" >&2; exit 69; }
echo "{}" > "$directory/daemon.json"  # not the machine's
# What it mounts is seen by itself alone, and is gone with it.
exec unshare --mount -- "$engine" --host "unix://$directory/docker.sock" \
  --data-root "$directory/data" --exec-root "$directory/run" --pidfile "$directory/pid" \
  --config-file "$directory/daemon.json" --bridge none --iptables=false --ip6tables=false --log-level warn
