#!/usr/bin/env bash
# Feeds what is read from strangers with bytes that nobody has thought of, and checks what fuzz/properties says must hold.
# It starts from fuzz/corpus and adds nothing to it: what a run learns is kept in the cache outside the clone.
#
#   scripts/fuzz.sh events            one of: events, scan, head, wait; for a minute
#   scripts/fuzz.sh events 600        for so many seconds
#   scripts/fuzz.sh events keep       takes what the runs have learned into fuzz/corpus, without what adds nothing
#
# It needs a nightly compiler and cargo-fuzz, and installs what is missing. The plain tests need neither: they replay the corpus.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo/fuzz"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
target=${1:-}
seconds=${2:-60}
corpus=corpus/$target
learned=$cache/fuzz/$target
crashes=artifacts/$target

# The crate whose tests replay a target's corpus.
case $target in
  events | scan | wait) crate=berry-wire ;;
  head) crate=berry-http1 ;;
  *) fail "unknown target: ${target:-none}" "name one of events, scan, head, wait" ;;
esac

need_fuzzer() {
  need cargo "install Rust with rustup"
  need rustup "install Rust with rustup: the fuzzer needs a nightly compiler beside the pinned one"
  if ! rustup run nightly rustc --version >/dev/null 2>&1; then
    say "installing the nightly compiler"
    rustup toolchain install nightly --profile minimal ||
      fail "there is no nightly compiler" "replay the corpus instead: cargo test -p $crate --test corpus"
  fi
  if ! cargo fuzz --version >/dev/null 2>&1; then
    say "building cargo-fuzz"
    cargo install --locked cargo-fuzz
  fi
}

# Names each crash, and how to see it without a fuzzer.
tell() {
  local crash found=
  for crash in "$crashes"/*; do
    [ -e "$crash" ] || continue
    found=1
    printf '%s\n' "fuzz/$crash: keep it under a name that says what it is, and replay it:" \
      "  cp fuzz/$crash fuzz/$corpus/found-NAME && cargo test -p $crate --test corpus"
  done
  [ -n "$found" ] || say "the run has left no file: the fuzzer itself failed"
}

need_fuzzer
mkdir -p "$learned" "$crashes"

if [ "$seconds" = keep ]; then
  # Files that are there stay as they are; of those that were learned, few and short ones come in that reach code which none
  # of them does. Below 200 files a target, and 300 KB, the tests stay quick: what goes beyond is for the committer to leave out.
  exec cargo +nightly fuzz run "$target" "$corpus" "$learned" -- -set_cover_merge=1 -use_counters=0 -max_len=2048
fi
cargo +nightly fuzz run "$target" "$learned" "$corpus" -- "-max_total_time=$seconds" -max_len=4096 -timeout=20 || {
  tell
  exit 1
}
say "$target: nothing found in $seconds s"
