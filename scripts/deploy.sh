#!/usr/bin/env bash
# Builds Berry and installs it as a systemd service, or brings an installed one up to date.
#
#   scripts/deploy.sh                    build, install, start
#   scripts/deploy.sh --dry-run          say what would be done, change nothing
#   scripts/deploy.sh --prefix /opt/b    put the binary into /opt/b/bin (/usr/local)
#   scripts/deploy.sh --binary FILE      install this binary instead of building one
#   scripts/deploy.sh --no-start         install only
#   scripts/deploy.sh --uninstall        stop and remove; /etc/berry and /var/lib/berry stay
#
# An update first lets the new binary check the installed configuration, and puts the old binary back if the new one
# does not come up.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

prefix=/usr/local
binary=
dry_run=
start=yes
action=install
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=yes ;;
    --prefix) prefix=${2:?--prefix needs a directory}; shift ;;
    --binary) binary=${2:?--binary needs a file}; shift ;;
    --no-start) start= ;;
    --uninstall) action=uninstall ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) fail "unknown option: $1" "scripts/deploy.sh --help" ;;
  esac
  shift
done

case $prefix in
  /*) ;;
  *) fail "--prefix needs an absolute path, not $prefix" ;;
esac

target=$prefix/bin/berry
unit=/etc/systemd/system/berry.service
config=/etc/berry/config.toml

# do_root COMMAND...: every change goes through here.
do_root() {
  if [ -n "$dry_run" ]; then
    printf 'would run: %s\n' "$*"
  else
    as_root "$@"
  fi
}

systemd_runs() { [ -d /run/systemd/system ]; }

uninstall() {
  if systemd_runs; then do_root systemctl disable --now berry.service; fi
  do_root rm -f "$unit" "$target" "$target.previous"
  if systemd_runs; then do_root systemctl daemon-reload; fi
  say "Berry is gone; $config, /var/lib/berry and the user berry are left as they are"
}

build() {
  [ -z "$binary" ] || return 0
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
  binary=$CARGO_TARGET_DIR/release/berry
  if [ -n "$dry_run" ]; then
    printf 'would run: cargo build --release --locked --bin berry\n'
  else
    need cargo "install Rust with rustup, or pass --binary"
    say "building"
    cargo build --release --locked --bin berry
  fi
}

make_user() {
  if id berry >/dev/null 2>&1; then return; fi
  do_root useradd --system --user-group --home-dir /var/lib/berry --no-create-home --shell /usr/sbin/nologin berry
}

make_config() {
  do_root install -d -m 0750 -o root -g berry /etc/berry
  if as_root test -e "$config"; then
    say "the new binary checks $config"
    [ -n "$dry_run" ] || as_root "$binary" check --config "$config" ||
      fail "$config does not hold; nothing was installed" "mend it as said above, then run this again"
  else
    say "writing a starter configuration"
    do_root "$binary" init --output "$config"
    do_root chown berry:berry "$config"
    do_root chmod 0600 "$config"
    # It has no real keys yet.
    start=
  fi
}

install_binary() {
  do_root install -d "$prefix/bin"
  if [ -e "$target" ]; then do_root cp -p "$target" "$target.previous"; fi
  # A running file cannot be written to, but it can be replaced.
  do_root install -m 0755 "$binary" "$target.new"
  do_root mv "$target.new" "$target"
}

install_unit() {
  local rendered
  rendered=$(mktemp -d)
  sed "s#/usr/local/bin/berry#$target#" deploy/berry.service >"$rendered/berry.service"
  if have systemd-analyze && [ -x "$target" ]; then
    systemd-analyze verify "$rendered/berry.service" || fail "systemd refuses deploy/berry.service" "see its words above"
  fi
  do_root install -m 0644 "$rendered/berry.service" "$unit"
  rm -r "$rendered"
}

# Where it listens is the configuration's to say, so systemd is asked: a service that fails at once is not active for long.
comes_up() {
  sleep 3
  systemctl is-active --quiet berry.service
}

start_service() {
  if ! systemd_runs; then
    say "systemd does not run here: installed, not started"
    return
  fi
  do_root systemctl daemon-reload
  if [ -z "$start" ]; then
    say "next: put your keys into $config, then: systemctl enable --now berry"
    return
  fi
  do_root systemctl enable berry.service
  do_root systemctl restart berry.service
  if [ -n "$dry_run" ] || comes_up; then
    say "Berry runs: journalctl -u berry"
    return
  fi
  if [ -e "$target.previous" ]; then
    say "it does not come up: putting the binary back that ran before"
    do_root mv "$target.previous" "$target"
    do_root systemctl restart berry.service
  fi
  fail "the new Berry did not come up" "journalctl -u berry -n 50"
}

if [ "$action" = uninstall ]; then
  uninstall
else
  build
  make_user
  make_config
  install_binary
  install_unit
  start_service
fi
