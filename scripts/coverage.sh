#!/usr/bin/env bash
# Line coverage of the Rust tests. Fails below the bar. Not part of run-tests.sh: it builds everything once more, with
# instrumentation.
#
#   scripts/coverage.sh               a table by file, and the verdict
#   scripts/coverage.sh --html        the same, and pages that show the lines
#   BERRY_COVERAGE_MIN=85 ...         another bar (80)
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
bar=${BERRY_COVERAGE_MIN:-80}
need cargo "install Rust with rustup"

need_llvm_cov() {
  if cargo llvm-cov --version >/dev/null 2>&1; then return; fi
  say "building cargo-llvm-cov"
  cargo install --locked cargo-llvm-cov
}

# The tools must know the profile format of the compiler: rustup's own, else Debian's of the same LLVM major version.
need_llvm_tools() {
  if [ -n "${LLVM_COV:-}" ] && [ -n "${LLVM_PROFDATA:-}" ]; then return; fi
  local libdir major
  libdir=$(rustc --print target-libdir)
  if [ -x "$libdir/../bin/llvm-cov" ]; then return; fi
  if have rustup && rustup component add llvm-tools >/dev/null 2>&1; then return; fi
  major=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  say "rustup cannot install llvm-tools: using the system's LLVM $major"
  have "llvm-cov-$major" || try_apt_install "llvm-$major" ||
    fail "no LLVM $major to read the coverage with" "install llvm-$major, or set LLVM_COV and LLVM_PROFDATA"
  LLVM_COV=$(command -v "llvm-cov-$major")
  LLVM_PROFDATA=$(command -v "llvm-profdata-$major")
  export LLVM_COV LLVM_PROFDATA
}

need_llvm_cov
need_llvm_tools

runner=(test)
if cargo nextest --version >/dev/null 2>&1; then runner=(nextest); fi
cargo llvm-cov "${runner[@]}" --workspace --locked --no-report
# The simulated provider counts too: the tests' word is only as good as it is.
cargo llvm-cov report --fail-under-lines "$bar" || fail "line coverage is below $bar %" "see the table above for the files"
if [ "${1:-}" = --html ]; then cargo llvm-cov report --html; fi
say "line coverage is at least $bar %"
