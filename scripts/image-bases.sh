#!/usr/bin/env bash
# Make, without an image registry, two images that stand for the bases of the Dockerfile, and import them:
#
#   tickbridge-base/build:debian13      stands for python:3.13-slim-trixie
#   tickbridge-base/runtime:debian13    stands for gcr.io/distroless/python3-debian13:nonroot
#
# Both are unpacked from Debian's own packages. The second holds what the real one does: the same packages, users, paths
# and environment, and no shell. How this machine's pip reaches its index goes into the first, of which nothing is left
# in what is built with it; its certificates, too. Where an engine has both already, they stay as they are.
#
# Exits with 69 when something is missing (needs a Docker engine, Debian's apt-get and dpkg-deb; DEBIAN_MIRROR names the
# mirror where apt has no lists of Debian's).
set -euo pipefail
suite=trixie python=3.13
missing() { echo "$1" >&2; exit 69; }
for tool in docker apt-get dpkg-deb; do
  command -v "$tool" > /dev/null || missing "$tool is needed to make the base images"
done
docker version > /dev/null 2>&1 || missing "no Docker engine answers"
if docker image inspect tickbridge-base/{build,runtime}:debian13 > /dev/null 2>&1; then exit 0; fi
lists() { apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian'; }
mirror=${DEBIAN_MIRROR:-$(lists | sed -n 1p)}
if [ -z "$mirror" ] && [ "$(id -u)" -eq 0 ]; then apt-get update -qq; mirror=$(lists | sed -n 1p); fi
[ -n "$mirror" ] || missing "run apt-get update first, or name a mirror of Debian's in DEBIAN_MIRROR"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What distroless puts into its image for Python, and the packages that its own bases hold.
runtime=(base-files netbase tzdata media-types libc6 libssl3t64 libzstd1 gcc-14-base libgcc-s1 libgomp1 libstdc++6
  libbz2-1.0 libdb5.3t64 libexpat1 liblzma5 libsqlite3-0 libuuid1 libncursesw6 libtinfo6 zlib1g libcom-err2 libcrypt1
  libgssapi-krb5-2 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 libnsl2 libreadline8t64 libtirpc3t64 libffi8
  "libpython$python-minimal" "libpython$python-stdlib" "python$python-minimal" "python$python-venv")

# An apt of its own: another suite than the machine's, and an empty list of what is installed.
mkdir -p "$work"/{lists,cache,parts}/partial "$work/archives/partial"
: > "$work/status"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || missing "Debian's keys are needed to make the base images (Debian: debian-archive-keyring)"
echo "deb [signed-by=$keyring] $mirror $suite main" > "$work/sources.list"
own_apt() {
  apt-get -qq -o "Dir::State=$work" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache" \
    -o "Dir::Cache::archives=$work/archives" -o "Dir::Etc::sourcelist=$work/sources.list" \
    -o "Dir::Etc::sourceparts=$work/parts" -o Debug::NoLocking=1 -o APT::Sandbox::User=root "$@" < /dev/null
}
own_apt update
own_apt install --download-only --yes --no-install-recommends "${runtime[@]}" ca-certificates dash coreutils sed \
  > /dev/null

# Unpacked without their scripts, as distroless does; base-files first, since the others go through its links.
unpack() {  # ROOT PACKAGE...
  local root=$1 package; shift
  for package in "$@"; do dpkg-deb --extract "$work"/archives/"${package}"_*.deb "$root"; done
  mkdir -p "$root"/{tmp,proc,sys,dev,etc/ssl/certs,root,usr/local/bin}
  chmod 1777 "$root/tmp"
  printf '%s\n' root:x:0:0:root:/root:/sbin/nologin nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin \
    nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin > "$root/etc/passwd"
  printf '%s\n' root:x:0: nobody:x:65534: nonroot:x:65532: > "$root/etc/group"
  echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
  rm -rf "$root"/usr/share/{doc,man,locale,lintian}
}
import() {  # ROOT TAG CHANGE...
  local root=$1 tag=$2 changes=() change; shift 2
  for change in 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' 'ENV LANG=C.UTF-8' "$@"; do
    changes+=(--change "$change")
  done
  tar -C "$root" --owner=0 --group=0 --numeric-owner -c . | docker import "${changes[@]}" - "$tag" > /dev/null
  echo "$tag: $(du -sm "$root" | cut -f1) MB"
}

# The one to run on.
unpack "$work/runtime" "${runtime[@]}"
dpkg-deb --fsys-tarfile "$work"/archives/ca-certificates_*.deb |
  tar --extract --to-stdout --wildcards './usr/share/ca-certificates/mozilla/*.crt' \
    > "$work/runtime/etc/ssl/certs/ca-certificates.crt"
for name in python python3; do ln -sfn "python$python" "$work/runtime/usr/bin/$name"; done
install -d -o 65532 -g 65532 -m 700 "$work/runtime/home/nonroot"
import "$work/runtime" tickbridge-base/runtime:debian13 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
  'USER 65532' 'WORKDIR /home/nonroot' "ENTRYPOINT [\"/usr/bin/python$python\"]"

# The one to install with, where Python is found as in the official image, and pip's index as on this machine.
mapfile -t all < <(cd "$work/archives" && ls ./*.deb | sed 's|^\./||; s|_.*||')
unpack "$work/build" base-files "${all[@]}"
ln -sfn dash "$work/build/usr/bin/sh"
for name in python python3; do ln -sfn "/usr/bin/python$python" "$work/build/usr/local/bin/$name"; done
PIP_DISABLE_PIP_VERSION_CHECK=1 "${PYTHON:-python3}" -m pip config list |
  sed -nE "s/^[^.]*\.(index-url|extra-index-url|trusted-host|proxy|cert)='(.*)'$/\1 = \2/p" | sort -u > "$work/pip"
(echo '[global]' && cat "$work/pip") > "$work/build/etc/pip.conf"
sed -n 's/^cert = //p' "$work/pip" | while read -r file; do install -D -m 644 "$file" "$work/build/$file"; done
import "$work/build" tickbridge-base/build:debian13
