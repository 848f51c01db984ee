#!/usr/bin/env bash
# See that what the tests use beside Python is there: Java and Maven (a real Kafka), Chromium (the page), promtool (the
# alerts and the dashboard).
# Debian's packages are installed where that is allowed; elsewhere it says what to install, and the tests that need it
# are skipped with the same words (under CI=true they fail).
set -euo pipefail
. "$(dirname "$0")/debian.sh"
missing=()
command -v java >/dev/null || missing+=(default-jre-headless)
command -v mvn >/dev/null || missing+=(maven)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)

# promtool alone is taken out of Debian's package: installing that would start a server.
promtool="${XDG_CACHE_HOME:-$HOME/.cache}/tickbridge/promtool"
have_promtool() { command -v promtool >/dev/null || [ -x "$promtool" ]; }
take_promtool() {
  local scratch
  scratch=$(mktemp -d)
  if (cd "$scratch" && apt-get download -qq prometheus 2>/dev/null && dpkg-deb --extract prometheus_*.deb .); then
    mkdir -p "$(dirname "$promtool")"
    # It takes its name only when it is whole: other runs may look for it at this moment.
    cp "$scratch/usr/bin/promtool" "$promtool.$$" && mv "$promtool.$$" "$promtool"
  fi
  rm -rf "$scratch"
}

have_promtool || ! command -v apt-get >/dev/null || take_promtool || true
[ ${#missing[@]} -eq 0 ] && have_promtool && exit 0
if may_install; then
  install_debian "the tests" "${missing[@]}"
  have_promtool || take_promtool || true
else
  have_promtool || missing+=("prometheus (for promtool)")
  echo "The tests also use: ${missing[*]} (names of Debian's packages). Install them to run every test." >&2
fi
