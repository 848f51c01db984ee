#!/usr/bin/env bash
# See that what the image is built and tested with is there: a Docker engine, or the means to run one of our own.
# Debian's packages are installed where that is allowed; elsewhere it says what is missing, and exits with 69.
set -euo pipefail
if command -v docker > /dev/null && docker version > /dev/null 2>&1; then exit 0; fi
. "$(dirname "$0")/debian.sh"
missing=()
PATH=$PATH:/usr/sbin command -v dockerd > /dev/null && command -v docker > /dev/null || missing+=(docker.io)
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
[ ${#missing[@]} -eq 0 ] && exit 0
if may_install; then
  install_debian "the image" "${missing[@]}"
else
  echo "The image needs a Docker engine that answers, or root and Debian's packages ${missing[*]}." >&2
  exit 69
fi
