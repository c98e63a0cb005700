#!/usr/bin/env bash
# Measures Berry beside nginx and HAProxy, in one run, with the same simulated provider and the same load: CPU for each
# request and each piece of a stream, added latency, memory, and the time to get ready. Prints a table with the bounds that
# Berry has set itself, and writes target/benchmark.json.
#
#   scripts/benchmark.sh                    everything, about seven minutes
#   scripts/benchmark.sh --quick            a first look, under two minutes
#   scripts/benchmark.sh --scenarios small,burst --rounds 9 --secs 4
#   scripts/benchmark.sh --strict           ends with 1 where a bound is not met
#
# nginx and HAProxy are installed from Debian where they are missing. Nothing listens beyond 127.0.0.1, and everything that
# was started is ended.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
# Debian keeps both where an ordinary user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin
need cargo "install Rust with rustup; rust-toolchain.toml names the version that Berry is built with"
need python3 "install Python 3.11 or newer (apt-get install python3)"
[ "$(uname -s)" = Linux ] || fail "the benchmark needs Linux" "it reads the CPU clocks of other processes, and /proc"

# Debian starts both as services when it installs them. Whoever had them already keeps them as they are.
for program in nginx haproxy; do
  if have "$program"; then continue; fi
  apt_install "$program"
  if [ -d /run/systemd/system ]; then
    as_root systemctl disable --now --quiet "$program"
    say "$program has been installed for the benchmark; its service is switched off"
  fi
done

say "building Berry"
cargo build --release --locked --package berry
exec python3 scripts/benchmark.py --berry "$CARGO_TARGET_DIR/release/berry" "$@"
