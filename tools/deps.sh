# Debian packages that uc needs; sourced by quickstart, test and tools/dev.
# usage: deps_install "what for" package...   Asks nothing; without root it prints the one line to run.

UC_BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config python3 liblua5.4-dev lua-filesystem-dev
 libcurl4-openssl-dev libsqlite3-dev libssl-dev libpcre2-dev libutf8proc-dev libjansson-dev"
UC_TEST_PACKAGES="libcmocka-dev python3-venv clang libclang-rt-14-dev libasan8 libubsan1 libtsan2"

deps_missing() {
  for p in "$@"; do
    [ "$(dpkg-query -W -f='${Status}' "$p" 2>/dev/null)" = "install ok installed" ] || printf '%s ' "$p"
  done
}

deps_install() {
  what=$1; shift
  command -v dpkg-query >/dev/null || {
    echo "This is not a Debian system. uc needs these Debian packages or their equals: $*" >&2; return 0; }
  missing=$(deps_missing "$@")
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    echo "To $what these packages are missing. Run this line, then start again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $missing" >&2
    return 1
  fi
  echo "installing: $missing"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/tmp/uc-apt.$$ 2>&1 || {
    tail -n 20 /tmp/uc-apt.$$ >&2; rm -f /tmp/uc-apt.$$; return 1; }
  rm -f /tmp/uc-apt.$$
}
