#!/usr/bin/env bash
# See that what the cluster is made of is there, beside Kubernetes itself, which the tests build: Debian's packages, which
# are installed where that is allowed; elsewhere it says what to install, and the tests are skipped with the same words.
# A Go toolchain of 1.25 or newer is needed too, for as long as the build is not cached.
set -euo pipefail
. "$(dirname "$0")/debian.sh"
missing=()
need() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || missing+=("$2"); }
need etcd etcd-server
need containerd containerd
need runc runc
need iptables iptables
need ip iproute2
need openssl openssl
[ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
[ ${#missing[@]} -eq 0 ] && exit 0
if may_install; then
  install_debian "the cluster" "${missing[@]}"
else
  echo "The cluster also needs: ${missing[*]} (names of Debian's packages)." >&2
fi
