#!/usr/bin/env bash
# Runs the assembled gateway in N simulated worlds, one for each seed from FIRST on (1). A world that breaks a promise is named
# with its seed; the same seed replays it. The tests run 200 of them.
#
#   scripts/simulate.sh 5000          seeds 1 to 5000
#   scripts/simulate.sh 1 4711        seed 4711 alone; where it fails, with all that happened in it
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
need cargo "install Rust with rustup; rust-toolchain.toml names the version that Berry is built with"
[[ ${1:-} =~ ^[1-9][0-9]*$ && ${2:-1} =~ ^[0-9]+$ ]] || fail "usage: scripts/simulate.sh N [FIRST]" "say how many worlds"

export BERRY_SIM_SEEDS=$1 BERRY_SIM_FIRST=${2:-1}
start=$SECONDS
cargo test --quiet --package berry-proxy --locked --test it -- --exact simulation::every_world_keeps_every_promise
say "$1 worlds from seed $BERRY_SIM_FIRST on kept every promise, in $((SECONDS - start)) s with building"
