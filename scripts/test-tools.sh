#!/usr/bin/env bash
# See that what the tests use beside Python is there: Java and Maven (a real Kafka), Chromium (the page).
# Debian's packages are installed where that is allowed; elsewhere it says what to install, and the tests that need it
# are skipped with the same words (under CI=true they fail).
set -euo pipefail
missing=()
command -v java >/dev/null || missing+=(default-jre-headless)
command -v mvn >/dev/null || missing+=(maven)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "Installing for the tests: ${missing[*]} …"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "The tests also use: ${missing[*]} (names of Debian's packages). Install them to run every test." >&2
fi
