# shellcheck shell=bash
# What the other scripts share: messages, the cache outside the clone, and how missing packages are installed.
# Sourced, never run. It changes nothing by itself.

# shellcheck disable=SC2034
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Everything that may be kept between runs, and shared by several clones, lives here and not in the clone.
cache=${BERRY_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/berry}

say() { printf '==> %s\n' "$*" >&2; }

# fail WHAT REMEDY
fail() {
  printf 'error: %s\n' "$1" >&2
  if [ $# -gt 1 ]; then printf '  what to do: %s\n' "$2" >&2; fi
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# need PROGRAM REMEDY
need() { have "$1" || fail "$1 is not installed" "$2"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    fail "root is needed for: $*" "run it as root, or install sudo"
  fi
}

# apt_install PACKAGE...: installs those that are missing, and asks for root only then.
apt_install() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  have apt-get || fail "missing packages: ${missing[*]}" "install them with this system's package manager"
  say "installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# try_apt_install PACKAGE...: the same, but its failure is an answer, not the end of the script.
try_apt_install() { (apt_install "$@") || return 1; }

# once KEY COMMAND...: runs COMMAND with the directory $cache/KEY as its last argument, unless an earlier run has
# finished that already. Half-made directories are made anew, and two runs at a time wait for each other.
once() {
  local dir="$cache/$1"
  shift
  mkdir -p "$cache"
  (
    if have flock; then flock 9; fi
    [ ! -e "$dir/.ready" ] || exit 0
    rm -rf "$dir"
    mkdir -p "$dir"
    "$@" "$dir" && : >"$dir/.ready"
  ) 9>"$cache/.lock"
}

hash_of() { cat "$@" | sha256sum | cut -c 1-16; }
