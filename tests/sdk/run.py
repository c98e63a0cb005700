#!/usr/bin/env python3
"""Starts a simulated provider and a Berry in front of it, then lets the vendors' own clients talk through them.

    run.py --berry target/debug/berry            both suites
    run.py --berry … --only python -k streaming  further arguments go to pytest
    run.py --berry … --only node

Both suites share one provider and one Berry, which are reached through BERRY_URL, BERRY_TOKEN, BERRY_NARROW_TOKEN and
MOCK_URL. Each process is ended by its id, and Berry must then leave in good order: that is checked too.
Standard library only: it runs before anything is known to be installed.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TOKEN = "berry-sdk-tests-everyone"
NARROW_TOKEN = "berry-sdk-tests-narrow-user"
START_SECONDS = 15
STOP_SECONDS = 10
SUITE_SECONDS = 240


class Trouble(Exception):
    """Something stands in the way of the tests; the text says what."""


class Process:
    """A server under test: its log goes to a file, and it must become ready and end in time."""

    def __init__(self, name: str, command: list[str], ready_url: str, scratch: pathlib.Path):
        self.name = name
        self.ready_url = ready_url
        self.log = scratch / f"{name}.log"
        env = {key: value for key, value in os.environ.items() if key not in ("CONFIG_PATH", "BIND_ADDRESS", "RUST_LOG")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=scratch, env=env)

    def wait_ready(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Trouble(f"{self.name} ended with status {self.process.returncode} before it was ready")
            try:
                with opener.open(self.ready_url, timeout=1):
                    return
            except urllib.error.HTTPError:
                return  # An answer is an answer: the port is served.
            except OSError:
                time.sleep(0.02)
        raise Trouble(f"{self.name} did not answer {self.ready_url} within {START_SECONDS} s")

    def stop(self) -> int:
        """Asks it to end, and answers its exit status; one that does not listen is killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Trouble(f"{self.name} was still there {STOP_SECONDS} s after SIGTERM") from None

    def log_tail(self, lines: int = 40) -> str:
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join([f"--- the last lines of {self.name} ---", *text[-lines:]])


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody holds now. All are held until all are known, so that none comes twice."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in held]


def write_config(path: pathlib.Path, values: dict[str, str]) -> None:
    text = (HERE / "berry.toml").read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    path.write_text(text)
    path.chmod(0o600)


def suites(only: str | None, pytest_arguments: list[str]) -> list[tuple[str, list[str]]]:
    python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=30", "--durations=3", str(HERE / "python")]
    node = ["node", "--test", "--test-concurrency=1", "--test-reporter=spec", *sorted(str(file) for file in (HERE / "node").glob("*.test.mjs"))]
    both = [("python", python + pytest_arguments), ("node", node)]
    return [one for one in both if only in (None, one[0])]


def run_suites(chosen: list[tuple[str, list[str]]], env: dict[str, str]) -> list[str]:
    """The suites that failed. They run after one another: what one counts must not be the other's doing."""
    failed = []
    for name, command in chosen:
        print(f"==> the official {name} clients", flush=True)
        start = time.monotonic()
        try:
            status = subprocess.run(command, env=env, cwd=HERE, timeout=SUITE_SECONDS, check=False).returncode
        except subprocess.TimeoutExpired:
            status = f"none within {SUITE_SECONDS} s"
        print(f"==> {name}: exit status {status} after {time.monotonic() - start:.1f} s", flush=True)
        if status != 0:
            failed.append(name)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--berry", required=True, type=pathlib.Path, help="the binary under test")
    parser.add_argument("--only", choices=("python", "node"))
    arguments, pytest_arguments = parser.parse_known_args()
    berry = arguments.berry.resolve()
    if not berry.is_file():
        print(f"error: there is no {berry}\n  what to do: cargo build", file=sys.stderr)
        return 2

    with tempfile.TemporaryDirectory(prefix="berry-sdk-") as directory:
        scratch = pathlib.Path(directory)
        mock_port, listen_port, admin_port = free_ports(3)
        mock_url, berry_url = f"http://127.0.0.1:{mock_port}", f"http://127.0.0.1:{listen_port}"
        config = scratch / "berry.toml"
        write_config(
            config,
            {
                "LISTEN": f"127.0.0.1:{listen_port}",
                "ADMIN": f"127.0.0.1:{admin_port}",
                "DATA": str(scratch / "data"),
                "MOCK": mock_url,
                "NARROW_TOKEN": NARROW_TOKEN,
                "TOKEN": TOKEN,
            },
        )
        env = os.environ | {
            "BERRY_URL": berry_url,
            "BERRY_TOKEN": TOKEN,
            "BERRY_NARROW_TOKEN": NARROW_TOKEN,
            "MOCK_URL": mock_url,
            # A proxy of the machine is none of the tests' business.
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        servers: list[Process] = []
        problems: list[str] = []
        try:
            servers.append(Process("mock", [str(berry), "mock", "--listen", f"127.0.0.1:{mock_port}"], f"{mock_url}/__journal", scratch))
            servers[0].wait_ready()
            servers.append(Process("berry", [str(berry), "serve", "--config", str(config)], f"{berry_url}/health/live", scratch))
            servers[1].wait_ready()
            problems += [f"the {name} suite failed" for name in run_suites(suites(arguments.only, pytest_arguments), env)]
        except Trouble as trouble:
            problems.append(str(trouble))
        finally:
            for server in reversed(servers):
                try:
                    status = server.stop()
                    if status != 0:
                        problems.append(f"{server.name} ended with status {status} after SIGTERM, not with 0")
                except Trouble as trouble:
                    problems.append(str(trouble))
        if problems:
            for server in servers:
                print(server.log_tail(), file=sys.stderr)
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr)
        return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
