# shellcheck shell=bash
# Sourced by the scripts that see what is there: Debian's packages, where they may be installed.

may_install() { [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; }

# install_debian WHAT-FOR [PACKAGE...]: fetch the lists, and install what is named.
install_debian() {
  local what=$1
  shift
  echo "Installing for $what: $* …"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  [ $# -eq 0 ] || apt-get install -y -qq --no-install-recommends "$@" > /dev/null
}
