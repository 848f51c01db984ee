#!/bin/bash
# Build an image of Kafka from what this machine has, fetching no image from anywhere.
#
#   tests/support/image/build.sh [TAG...]        default: tickbridge-test/kafka:8.4.0
#
# It holds a Java runtime cut down by jlink with the libraries it links to, busybox for a shell, the verified jars, and,
# in Confluent's places, the scripts that testcontainers' KafkaContainer calls. That class reads Confluent's version from
# the tag: Kafka 4.4 is 8.4 there, and 4.4.0 itself would be refused as too old.
#
# Exits with 69 when a tool is missing (Debian: default-jdk-headless maven busybox-static, and a Docker engine).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../../.." && pwd)
tags=("${@:-tickbridge-test/kafka:8.4.0}")

for tool in docker busybox jlink ldd tar; do
    command -v "$tool" > /dev/null || { echo "$tool is needed to build the image" >&2; exit 69; }
done
if ldd "$(command -v busybox)" > /dev/null 2>&1; then
    echo "busybox is needed to build the image, linked statically (busybox-static)" >&2
    exit 69
fi
jars=$(cd "$project" && "${PYTHON:-python3}" -m tests.support.jars)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# The runtime. java.desktop is here for java.beans, which log4j uses; its native libraries would want those of X11.
modules=java.base,java.desktop,java.logging,java.management,java.naming,java.security.jgss,java.security.sasl,java.sql
modules+=,jdk.crypto.ec,jdk.management,jdk.security.auth,jdk.unsupported,jdk.zipfs
jlink --add-modules "$modules" --strip-debug --no-header-files --no-man-pages --compress=1 --output "$root/opt/java"
rm -f "$root"/opt/java/lib/lib{awt,awt_headless,awt_xawt,fontmanager,freetype,javajpeg,jawt,jsound,lcms,mlib_image,splashscreen}.so
"$root/opt/java/bin/java" -Xshare:dump -XX:+UseSerialGC > /dev/null 2>&1 || true  # only makes the start quicker

# What the runtime links to, at the same paths, the loader included.
find "$root/opt/java" \( -name '*.so' -o -name java -type f \) -exec ldd {} + 2> /dev/null |
    grep -o '/[^ :]*\.so[^ :]*' | grep -v "^$root" | sort -u |
    while read -r library; do install -D "$library" "$root$library"; done

# A shell and what the scripts call.
install -D "$(command -v busybox)" "$root/bin/busybox"
for applet in sh env sed tr cat mkdir sleep hostname cut; do ln -s busybox "$root/bin/$applet"; done

install -d "$root/tmp" "$root/var/lib/kafka" "$root/opt/kafka" "$root/root"
chmod 1777 "$root/tmp"
cp "$jars"/*.jar "$root/opt/kafka/"
cp "$project"/tests/support/kafka-*/log4j2.yaml "$root/opt/kafka/"
cp -R "$here/rootfs/." "$root/"

id=$(tar -C "$root" --owner=0 --group=0 -c . |
    docker import --change 'ENV PATH=/bin:/opt/java/bin' --change 'CMD ["sh"]' - "${tags[0]}")
for tag in "${tags[@]:1}"; do docker tag "$id" "$tag"; done
echo "${tags[*]}: $(du -sm "$root" | cut -f1) MB"
