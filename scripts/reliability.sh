#!/usr/bin/env bash
# Puts the release binary through what docs/reliability.md promises, at full length, on real sockets and with real processes,
# and says what it has measured. The same tests run in a short form with all others.
#
#   scripts/reliability.sh                    all of it, about eleven minutes
#   scripts/reliability.sh chaos overload     one or more of: chaos, overload, slow_clients, strangers, reloads
#
# Nothing listens beyond 127.0.0.1, every run is bounded, and everything that was started is ended. It ends with 1 where a
# promise is broken.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
need cargo "install Rust with rustup; rust-toolchain.toml names the version that Berry is built with"
[ "$(uname -s)" = Linux ] || fail "these tests need Linux" "they stop processes, and open thousands of connections"

# Five thousand connections are one file each here, and up to two in the gateway.
ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 16384 ] \
  || fail "only $(ulimit -n) files may be open" "raise the hard limit of open files to 16384 (ulimit -Hn)"

[ $# -gt 0 ] || set -- chaos overload slow_clients strangers reloads
for suite in "$@"; do
  case $suite in
    chaos | overload | slow_clients | strangers | reloads) ;;
    *) fail "there is no suite \`$suite\`" "name one or more of: chaos, overload, slow_clients, strangers, reloads" ;;
  esac
done
say "building"
cargo test --release --locked --quiet --package berry --test it --no-run
for suite in "$@"; do
  say "$suite"
  # One after the other: each measures.
  BERRY_LONG=1 cargo test --release --locked --quiet --package berry --test it -- --test-threads 1 "$suite::"
done
