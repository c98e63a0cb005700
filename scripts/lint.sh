#!/usr/bin/env bash
# Everything that can be said about the code without running it: formatting, clippy and rustdoc with warnings as errors,
# and shellcheck where it is installed. `scripts/lint.sh --fix` formats, and applies what clippy can.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
need cargo "install Rust with rustup"

if [ "${1:-}" = --fix ]; then
  cargo fmt --all
  cargo fmt --manifest-path fuzz/Cargo.toml
  cargo clippy --workspace --all-targets --locked --fix --allow-dirty --allow-staged
fi

bad=()
check() {
  local name=$1
  shift
  say "$name"
  "$@" || bad+=("$name")
}

check formatting cargo fmt --all --check
# The fuzz targets are no part of the workspace; all that they check is, by way of the tests that replay it.
check "formatting of fuzz" cargo fmt --manifest-path fuzz/Cargo.toml --check
check clippy cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
check rustdoc env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
if have shellcheck; then
  check shellcheck shellcheck --external-sources scripts/*.sh .ci/run
else
  say "shellcheck is not installed (scripts/dev-setup.sh installs it): the scripts are only parsed"
  for script in scripts/*.sh .ci/run; do check "bash -n $script" bash -n "$script"; done
fi

[ ${#bad[@]} -eq 0 ] || fail "not clean: ${bad[*]}" "scripts/lint.sh --fix mends what can be mended by itself"
