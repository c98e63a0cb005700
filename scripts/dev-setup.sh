#!/usr/bin/env bash
# Installs what a developer of Berry needs beside Rust itself: a C compiler, Python, Node, shellcheck, the Rust
# components and cargo-nextest. Safe to run again: what is there is left as it is.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

need cargo "install Rust with rustup; rust-toolchain.toml names the version that Berry is built with"

packages=(gcc libc6-dev git curl)
have shellcheck || packages+=(shellcheck)
have python3 || packages+=(python3)
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3-venv); fi
have node || packages+=(nodejs)
have npm || packages+=(npm)
apt_install "${packages[@]}"

components() {
  # Asking cargo is the test: a distribution's Rust has no rustup, but often both components.
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then return; fi
  need rustup "install rustfmt and clippy with whatever installed this Rust"
  say "installing rustfmt and clippy"
  rustup component add rustfmt clippy
}

nextest() {
  if cargo nextest --version >/dev/null 2>&1; then return; fi
  say "building cargo-nextest (some minutes)"
  cargo install --locked cargo-nextest ||
    say "cargo-nextest could not be built: scripts/run-tests.sh will use cargo test, which takes a little longer"
}

components
nextest

say "ready:"
for program in "cargo --version" "cargo nextest --version" "python3 --version" "node --version" "shellcheck --version"; do
  # Only the line that has the version: some print a page.
  # shellcheck disable=SC2086
  printf '    %-24s %s\n' "${program% --version}" "$($program 2>/dev/null | grep -m 1 '[0-9]\.[0-9]' || echo missing)" >&2
done
say "next: scripts/run-tests.sh, then cargo run --release -- demo"
