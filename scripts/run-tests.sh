#!/usr/bin/env bash
# Runs every test of Berry, after it has installed what the tests need: the Rust tests, the tests that talk through a
# running Berry with the vendors' own Python and Node clients, and the lints. Quick when run again.
#
#   scripts/run-tests.sh              everything
#   scripts/run-tests.sh rust         one or more of: rust, sdk, lint
#
# Build output goes to $CARGO_TARGET_DIR, else to a cache outside the clone; client packages go to that cache too, under
# the hash of what they were installed from.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
# The build output is thrown away more often than it is debugged: no incremental state in CI, it only costs disk.
if [ -n "${CI:-}" ]; then export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}; fi

results=()
failed=0

# suite NAME COMMAND...: runs it, notes how it went and how long it took, and goes on.
suite() {
  local name=$1 start=$SECONDS verdict=passed
  shift
  say "$name"
  "$@" || { verdict=FAILED; failed=1; }
  results+=("$(printf '%-28s %-7s %4d s' "$name" "$verdict" $((SECONDS - start)))")
}

# === what the tests need ===

need_rust() {
  need cargo "install Rust with rustup; rust-toolchain.toml names the version that Berry is built with"
  # C is compiled for the TLS library only.
  if ! have cc; then apt_install gcc libc6-dev; fi
}

need_clients() {
  need python3 "install Python 3.11 or newer (apt-get install python3)"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed, this is $(python3 --version)" "put a newer python3 first in PATH"
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
  if ! have node || ! have npm; then apt_install nodejs npm; fi
  node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
    fail "Node 20 or newer is needed, this is $(node --version)" "put a newer node first in PATH"

  python_dir="python-$(python3 -c 'import platform; print(platform.python_version())')-$(hash_of tests/sdk/requirements.txt)"
  node_dir="node-$(hash_of tests/sdk/package-lock.json)"
  once "$python_dir" install_python_clients
  once "$node_dir" install_node_clients
  # Node finds packages by walking up from the file that imports them, so the clone gets a link.
  ln -sfn "$cache/$node_dir/node_modules" tests/sdk/node_modules
}

install_python_clients() {
  say "installing the Python clients"
  python3 -m venv "$1" && "$1/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/sdk/requirements.txt
}

install_node_clients() {
  say "installing the Node clients"
  cp tests/sdk/package.json tests/sdk/package-lock.json tests/sdk/.npmrc "$1/" && npm ci --prefix "$1" --ignore-scripts --loglevel=error
}

# === the suites ===

rust_tests() {
  # nextest has no documentation tests; and where it is missing, building it would cost more than it saves.
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked && cargo test --workspace --locked --doc --quiet
  else
    say "cargo-nextest is not installed (scripts/dev-setup.sh installs it): using cargo test"
    cargo test --workspace --locked --no-fail-fast
  fi
}

sdk_tests() {
  # The same set of targets as the Rust tests, so that not a single crate is built twice.
  cargo build --workspace --locked --bins --tests &&
    "$cache/$python_dir/bin/python" tests/sdk/run.py --berry "$CARGO_TARGET_DIR/debug/berry"
}

if [ $# -eq 0 ]; then set -- rust sdk lint; fi

need_rust
for name in "$@"; do
  case $name in
    rust | lint) ;;
    sdk) need_clients ;;
    *) fail "unknown suite: $name" "the suites are rust, sdk and lint" ;;
  esac
done

for name in "$@"; do
  case $name in
    rust) suite "Rust tests" rust_tests ;;
    sdk) suite "official clients" sdk_tests ;;
    lint) suite "lints" scripts/lint.sh ;;
  esac
done

printf '\n'
printf '%s\n' "${results[@]}"
exit "$failed"
