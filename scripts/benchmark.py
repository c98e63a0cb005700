#!/usr/bin/env python3
"""Measures Berry beside nginx and HAProxy: scripts/benchmark.sh builds and installs what this needs, and runs it.

How it is done, so that the figures mean something on a machine that others use too:
- The headline is CPU of the gateway's process for each request, by the process's own CPU clock, because what a clock on
  the wall says depends on the neighbours.
- All gateways are started once, on one core, and stopped by SIGSTOP while it is not their turn; the simulated provider
  and the load have another core. They take turns in rounds, in an order that changes, and a ratio is that of one round:
  the table shows the median of the rounds' ratios, and their range.
- A round in which other programs took a tenth of the machine counts only if there is no quiet one: what disturbs falls
  on one turn and not on the next, and moves a ratio either way. All rounds are in the file.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import pathlib
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parent.parent
KEY = "sk-bench-0123456789abcdef0123456789"
MODEL, PACED, SILENT = "gpt-4o-mini", "mock-rate-100", "mock-chunks-4-stall"
CHUNKS = 200
IDLE = 10_000
# A stream takes two descriptors of the gateway; this many are for all else.
SPARE_DESCRIPTORS = 200
STARTS = 5
# Beyond this share of the machine, other programs disturb a turn.
DISTURBED = 0.1
CHAT = "/v1/chat/completions"

NGINX = """
daemon off;
# One process is the whole of it: its CPU is one clock, and nothing is left behind when it is killed.
master_process off;
pid {run}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {run}/body;
  proxy_temp_path {run}/proxy;
  fastcgi_temp_path {run}/fastcgi;
  uwsgi_temp_path {run}/uwsgi;
  scgi_temp_path {run}/scgi;
  client_max_body_size 64m;
  client_body_buffer_size 64k;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  upstream provider {{
    server 127.0.0.1:{provider};
    keepalive 512;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer sk-provider";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  default_backend provider
backend provider
  http-request set-header authorization "Bearer sk-provider"
  server provider 127.0.0.1:{provider} pool-max-conn 1024
"""

BERRY = """
[server]
listen = "127.0.0.1:{port}"

[admin]
listen = "127.0.0.1:{admin}"

[storage]
path = "{run}/data"

[telemetry]
log_level = "warn"

[settings]
health_check_interval_seconds = 300
recovery_check_interval_seconds = 300

[users.bench]
name = "Bench"
token = "{key}"

[providers.mock]
name = "Simulated provider"
base_url = "http://127.0.0.1:{provider}/v1"
api_key = "sk-provider-0123456789abcdef"
backend_type = "openai"
models = [{quoted_models}]
"""

BERRY_MODEL = """
[models.{id}]
name = "{model}"

[[models.{id}.backends]]
provider = "mock"
model = "{model}"
"""


# === what is measured, and the bounds ===


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A load, and what the CPU is divided by."""

    load: tuple
    per: str
    title: str
    bound: float | None
    unit: str = "µs of CPU"
    contenders: tuple = ("nginx", "haproxy", "berry")
    # What the load is warmed up with, where it is not itself.
    warm_up: tuple | None = None


STREAMS = ("--concurrency", "64", "--stream")
LOADS = {
    "small": Scenario(("--concurrency", "64"), "ok", "small request, 64 clients", 1.2),
    "latency": Scenario(
        ("--concurrency", "1"), "ok", "added p50, 1 client", None, "µs", ("direct", "nginx", "haproxy", "berry")
    ),
    "paced": Scenario(
        (*STREAMS, "--model", PACED, "--ramp", "2s"), "events", "piece of a stream, every 10 ms", 1.2, warm_up=STREAMS
    ),
    "burst": Scenario(STREAMS, "events", "piece of a stream, in a burst", 2.0),
    "prompt": Scenario(("--concurrency", "1", "--size", "1000000"), "ok", "prompt of 1 MB, 1 client", 1.2),
}
ALONE = ("start", "rest", "idle")
SCENARIOS = (*LOADS, *ALONE)


@dataclasses.dataclass
class Row:
    """A line of the table."""

    scenario: str
    title: str
    unit: str
    bound: str
    figures: dict = dataclasses.field(default_factory=dict)
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    shown: str = "-"
    met: bool | None = None


# === processes ===


def cpu_of(pid):
    """Seconds of CPU of a process's threads, living and ended, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_of(pid):
    """Resident memory in MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Stage:
    """Starts processes on their cores, and ends each by its id, whatever happens."""

    def __init__(self, directory):
        self.directory = directory
        self.running = []
        cores = sorted(os.sched_getaffinity(0))
        self.gateway_core, self.load_core = cores[0], cores[1] if len(cores) > 1 else cores[0]
        self.libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            self.end(process)

    def start(self, argv, core, log=None, **pipes):
        def place():
            os.sched_setaffinity(0, {core})
            # PR_SET_PDEATHSIG: should this script be killed outright, what it has started goes with it.
            self.libc.prctl(1, signal.SIGKILL)

        with contextlib.ExitStack() as stack:
            if log:
                output = stack.enter_context(open(self.directory / log, "ab"))
                pipes = {"stdout": output, "stderr": output}
            # In a session of its own, so that Ctrl-C reaches this script alone, which then ends it.
            process = subprocess.Popen(
                [str(word) for word in argv],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=place,
                **pipes,
            )
        self.running.append(process)
        return process

    def end(self, process):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGCONT)
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self.running:
            self.running.remove(process)

    def log_of(self, name):
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace")[-1500:] if path.exists() else ""


class Contender:
    """A gateway: how to start it, and its process."""

    def __init__(self, name, port, process=None):
        self.name, self.port, self.process = name, port, process
        # Without a gateway, the provider is asked itself.
        self.is_direct = name == "direct"

    def freeze(self):
        if not self.is_direct:
            self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        if not self.is_direct:
            self.process.send_signal(signal.SIGCONT)


def get(port, path, timeout=1.0):
    """The status of an answer, or None if there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = connection.recv(64)
    except OSError:
        return None
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else None


class Bench:
    """The whole set-up: provider, gateways and load."""

    def __init__(self, stage, options):
        self.stage, self.options = stage, options
        self.berry = pathlib.Path(options.berry).resolve()
        self.provider_port, self.samples, self.notes = free_ports(1)[0], [], []
        self.provider = None
        self.contenders = {}

    def start_all(self, names):
        listen = f"127.0.0.1:{self.provider_port}"
        argv = [self.berry, "mock", "--listen", listen, "--burst", "--chunks", CHUNKS, "--journal", 0]
        self.provider = self.stage.start(argv, self.stage.load_core, "provider.log")
        self.await_answer(self.provider, self.provider_port, "/__stats", "provider")
        self.contenders["direct"] = Contender("direct", self.provider_port, self.provider)
        for name in names:
            contender = self.start(name)
            self.one_good_answer(contender)
            contender.freeze()
            self.contenders[name] = contender

    def start(self, name):
        port, admin = free_ports(2)
        run = self.stage.directory / f"{name}-{port}"
        run.mkdir()
        config, argv = {
            "nginx": (NGINX, ["nginx", "-p", run, "-e", "stderr", "-c", run / "config"]),
            "haproxy": (HAPROXY, ["haproxy", "-db", "-f", run / "config"]),
            "berry": (self.berry_config(), [self.berry, "serve", "--config", run / "config"]),
        }[name]
        models = ", ".join(f'"{model}"' for model in (MODEL, PACED, SILENT))
        text = config.format(
            run=run, port=port, admin=admin, provider=self.provider_port, key=KEY, quoted_models=models
        )
        (run / "config").write_text(text)
        (run / "config").chmod(0o600)
        began = time.monotonic()
        process = self.stage.start(argv, self.stage.gateway_core, f"{name}.log")
        contender = Contender(name, port, process)
        contender.began = began
        return contender

    @staticmethod
    def berry_config():
        models = (MODEL, PACED, SILENT)
        return BERRY + "".join(BERRY_MODEL.format(id=f"m{n}", model=model) for n, model in enumerate(models))

    def await_answer(self, process, port, path, name):
        """When the first 200 has come, by the monotonic clock."""
        end = time.monotonic() + 10
        while time.monotonic() < end and process.poll() is None:
            if get(port, path) == 200:
                return time.monotonic()
            time.sleep(0.001)
        sys.exit(f"error: {name} does not answer\n{self.stage.log_of(name)}")

    def one_good_answer(self, contender):
        for _ in range(100):
            if self.load(contender, ("--concurrency", "1", "--requests", "1"), 5)["ok"]:
                return
            if contender.process.poll() is not None:
                break
            time.sleep(0.05)
        sys.exit(f"error: {contender.name} gives no good answer\n{self.stage.log_of(contender.name)}")

    # --- load ---

    def load_argv(self, contender, arguments, secs):
        argv = [self.berry, "bench", f"http://127.0.0.1:{contender.port}{CHAT}", "--key", KEY, "--format", "json"]
        return [*argv, "--time", f"{secs * 1000:.0f}ms", *arguments]

    def load(self, contender, arguments, secs):
        """Runs the load and gives its report, with the CPU that the load itself took."""
        argv = self.load_argv(contender, arguments, secs)
        process = self.stage.start(argv, self.stage.load_core, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            report = process.communicate(timeout=secs + 60)[0]
        except subprocess.TimeoutExpired:
            sys.exit(f"error: the load on {contender.name} does not end")
        self.stage.end(process)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if not report:
            sys.exit(f"error: the load on {contender.name} has ended with {process.returncode}")
        own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return json.loads(report) | {"load_cpu": own}

    def measure(self, contender, name, number):
        scenario, secs = LOADS[name], self.options.secs
        contender.thaw()
        self.load(contender, scenario.warm_up or scenario.load, max(0.3, secs / 5))
        pid, provider = contender.process.pid, self.provider.pid
        machine, began = busy_of_machine(), time.monotonic()
        cpu, provider_cpu = cpu_of(pid), cpu_of(provider)
        report = self.load(contender, scenario.load, secs)
        cpu, provider_cpu = cpu_of(pid) - cpu, cpu_of(provider) - provider_cpu
        wall = time.monotonic() - began
        busy = busy_of_machine() - machine
        own = report["load_cpu"] + provider_cpu + (0 if contender.is_direct else cpu)
        # Its connections are gone by now; it must have the time to notice, else the next turn pays for that.
        time.sleep(0.1)
        contender.freeze()
        sample = {"scenario": name, "contender": contender.name, "round": number, "cpu_s": cpu, "wall_s": wall}
        sample |= {"cpu_us_per_unit": cpu * 1e6 / max(1, report[scenario.per]), "provider_cpu_s": provider_cpu}
        sample |= {"core_busy": cpu / wall, "others_busy": max(0.0, busy - own) / wall / os.cpu_count()}
        sample |= {"report": report}
        self.samples.append(sample)
        return sample

    def rounds(self, names):
        total = sum(len(LOADS[name].contenders) for name in names) * self.options.rounds
        done, began = 0, time.monotonic()
        for number in range(self.options.rounds):
            for name in names:
                order = list(LOADS[name].contenders)
                turn = number % len(order)
                order = order[turn:] + order[:turn]
                for contender in order if number % 2 == 0 else reversed(order):
                    sample = self.measure(self.contenders[contender], name, number)
                    done += 1
                    left = (time.monotonic() - began) / done * (total - done)
                    rate, cost = sample["report"]["rps"], sample["cpu_us_per_unit"]
                    say(
                        f"{done}/{total}, {left:.0f} s left: {name} {contender}: "
                        f"{rate:.0f} a second, {cost:.2f} µs of CPU"
                    )

    # --- Berry alone ---

    def start_times(self):
        times = []
        for _ in range(STARTS):
            berry = self.start("berry")
            times.append((self.await_answer(berry.process, berry.port, "/health/live", "berry") - berry.began) * 1000)
            self.stage.end(berry.process)
        return times

    def memory(self, wants_idle):
        """MiB at rest, MiB with open streams, and how many streams those were."""
        berry = self.start("berry")
        self.await_answer(berry.process, berry.port, "/health/live", "berry")
        self.one_good_answer(berry)
        time.sleep(1)
        at_rest, pid = memory_of(berry.process.pid), berry.process.pid
        idle, held = None, 0
        if wants_idle:
            idle, held = self.memory_of_streams(berry, pid)
        self.stage.end(berry.process)
        return at_rest, idle, held

    def memory_of_streams(self, berry, pid):
        streams = min(IDLE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_DESCRIPTORS) // 2)
        arguments = ("--idle", streams, "--model", SILENT, "--ramp", "5s", "--patience", "60s")
        say(f"opening {streams} streams")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        load = self.stage.start(self.load_argv(berry, arguments, 3), self.stage.load_core, **pipes)
        # The line that tells that all are open; the load's own patience bounds the wait.
        load.stderr.readline()
        time.sleep(1)
        idle = memory_of(pid)
        report = json.loads(load.communicate(timeout=60)[0] or "{}")
        self.stage.end(load)
        held = report.get("held", 0)
        self.samples.append({"scenario": "idle", "contender": "berry", "mib": idle, "report": report})
        if report.get("errors"):
            self.notes.append(f"idle: {report['errors']} of {streams} streams could not be held")
        if streams < IDLE:
            self.notes.append(
                f"idle: the limit of open files of this machine allows {streams:,} streams, not {IDLE:,}; "
                f"memory is reckoned up to {IDLE:,} from those"
            )
        return idle, held


def busy_of_machine():
    """Seconds that all cores have worked."""
    fields = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:7])) / os.sysconf("SC_CLK_TCK")


# === the table ===


def rows_of(bench, names, alone):
    return [row_of(bench, name) for name in names] + [alone_row(name, alone) for name in ALONE if name in alone]


def row_of(bench, name):
    scenario = LOADS[name]
    samples = [sample for sample in bench.samples if sample["scenario"] == name]
    failed = failures_of(samples)
    bench.notes += [f"{name}: {contender} failed {text}" for contender, text in failed.items()]
    bound = f"at most {scenario.bound} × nginx" if scenario.bound else "at most HAProxy's"
    row = Row(name, scenario.title, scenario.unit, bound)
    rounds = [
        {sample["contender"]: sample for sample in samples if sample["round"] == number}
        for number in sorted({sample["round"] for sample in samples})
    ]
    rounds = quiet_ones(bench, name, rounds)
    if name == "latency":
        values = [added_latency(one) for one in rounds]
    else:
        values = [{key: sample["cpu_us_per_unit"] for key, sample in one.items()} for one in rounds]
    for contender in ("nginx", "haproxy", "berry"):
        row.figures[contender] = statistics.median(value[contender] for value in values)
    # What fails costs something else than what succeeds.
    if any(sum(sample["report"]["errors"].values()) > sample["report"]["ok"] / 100 for sample in samples):
        return row
    if scenario.bound:
        ratios = [value["berry"] / value["nginx"] for value in values]
        settle(row, ratios, scenario.bound, "{:.2f} ×")
    else:
        settle(row, [value["berry"] for value in values], row.figures["haproxy"], "{:.0f} µs")
        row.bound = f"at most HAProxy's {row.figures['haproxy']:.0f} µs"
    return row


def quiet_ones(bench, name, rounds):
    """The rounds that nothing disturbed; all, if there is none."""
    quiet = [one for one in rounds if max(sample["others_busy"] for sample in one.values()) <= DISTURBED]
    if not quiet:
        bench.notes.append(f"{name}: other programs disturbed every round; the figures are worth little")
        return rounds
    if len(quiet) < len(rounds):
        left_out = len(rounds) - len(quiet)
        bench.notes.append(f"{name}: {left_out} of {len(rounds)} rounds are left out, as other programs disturbed them")
    return quiet


def added_latency(one_round):
    """What each gateway adds to the median, in this round."""
    medians = {key: (sample["report"]["latency_us"] or {}).get("p50", 0.0) for key, sample in one_round.items()}
    return {key: median - medians["direct"] for key, median in medians.items()}


def failures_of(samples):
    found = {}
    for sample in samples:
        report = sample["report"]
        if report["errors"]:
            kinds = ", ".join(f"{kind}: {count}" for kind, count in report["errors"].items())
            found[sample["contender"]] = f"some requests ({kinds}; {report['ok']} good)"
        unended = report["ok"] - report["ended_streams"] if report["events"] else 0
        if unended:
            found[sample["contender"]] = f"to end {unended} of {report['ok']} streams"
    return found


def alone_row(name, alone):
    if name == "start":
        row = Row(name, "start to first 200 on /health/live", "ms", "at most 100 ms")
        settle(row, alone["start"], 100, "{:.0f} ms")
    elif name == "rest":
        row = Row(name, "memory at rest", "MiB", "below 20 MiB")
        settle(row, [alone["rest"]], 20, "{:.1f} MiB")
    else:
        idle, held = alone["idle"]
        row = Row(name, f"memory with {IDLE:,} silent streams", "MiB", "below 400 MiB")
        if held:
            # Each further stream costs as much as those that could be opened.
            reckoned = alone["rest"] + (idle - alone["rest"]) * IDLE / held
            settle(row, [reckoned], 400, "{:.0f} MiB")
    row.figures["berry"] = row.measured
    return row


def settle(row, values, bound, form):
    row.measured, row.low, row.high = statistics.median(values), min(values), max(values)
    row.shown = form.format(row.measured)
    row.met = row.measured <= bound


def table(rows):
    head = ("", "nginx", "HAProxy", "Berry", "unit", "measured", "rounds", "bound", "verdict")
    lines = [head]
    for row in rows:
        figures = [shown(row.figures.get(name)) for name in ("nginx", "haproxy", "berry")]
        spread = f"{shown(row.low)}–{shown(row.high)}" if row.low != row.high else "-"
        verdict = {True: "met", False: "NOT MET", None: "not measured"}[row.met]
        lines.append((row.title, *figures, row.unit, row.shown, spread, row.bound, verdict))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    right = range(1, 4)
    texts = []
    for line in lines:
        pairs = enumerate(zip(line, widths))
        cells = [cell.rjust(width) if column in right else cell.ljust(width) for column, (cell, width) in pairs]
        texts.append("  ".join(cells).rstrip())
    texts.insert(1, "─" * max(map(len, texts)))
    return "\n".join(texts)


def shown(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def remarks(bench):
    """What a reader of the table must know."""
    notes = list(bench.notes)
    if bench.stage.gateway_core == bench.stage.load_core:
        notes.append("one core only: gateway, provider and load share it, and latencies hold all three")
    loads = [sample for sample in bench.samples if "others_busy" in sample]
    loads = [sample for sample in loads if sample["others_busy"] <= DISTURBED] or loads
    rates = {}
    for sample in loads:
        if sample["scenario"] == "small":
            rates.setdefault(sample["contender"], []).append(sample["report"]["rps"])
    if rates:
        text = ", ".join(f"{contender} {statistics.median(rate):,.0f}" for contender, rate in sorted(rates.items()))
        notes.append(f"small requests a second, the gateway on one core: {text}")
    return notes


# === the run ===


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def raise_open_files():
    """As many as a run needs, beyond the hard limit too where this user may."""
    want = 2 * IDLE + 5000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        # A limit of none at all is lowered: how many streams may be opened is reckoned from it.
        most = want if hard == resource.RLIM_INFINITY else max(want, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (want, most))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def versions(berry):
    def first_line(*argv):
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        return (ended.stdout + ended.stderr).strip().split("\n")[0]

    return {
        "berry": first_line(berry, "--version"),
        "nginx": first_line("nginx", "-v").removeprefix("nginx version: "),
        "haproxy": first_line("haproxy", "-v").split(" - ")[0],
    }


def host(stage):
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = info.split("model name", 1)[1].split(":", 1)[1].split("\n", 1)[0].strip() if "model name" in info else "?"
    cores = {"gateway_core": stage.gateway_core, "load_core": stage.load_core}
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), **cores}


def options_of(argv):
    parser = argparse.ArgumentParser(description="Berry beside nginx and HAProxy: CPU, latency and memory.")
    parser.add_argument("--berry", required=True, help="the release build of berry")
    parser.add_argument("--rounds", type=int, help="how often each gateway has its turn (5)")
    parser.add_argument("--secs", type=float, help="how long each turn lasts (3)")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help=f"of {','.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s: a first look")
    parser.add_argument("--strict", action="store_true", help="end with 1 where a bound is not met or not measured")
    out = REPO / "target" / "benchmark.json"
    parser.add_argument("--out", type=pathlib.Path, default=out, help="where the figures go (target/benchmark.json)")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.secs = options.secs or (1.0 if options.quick else 3.0)
    options.scenarios = options.scenarios.split(",")
    unknown = [name for name in options.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"unknown scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    if not (1 <= options.rounds <= 100 and 0.1 <= options.secs <= 60):
        parser.error("between 1 and 100 rounds of 0.1 to 60 seconds")
    missing = [name for name in ("nginx", "haproxy") if shutil.which(name) is None]
    if missing or not os.access(options.berry, os.X_OK):
        parser.error(f"missing: {', '.join(missing) or options.berry}; scripts/benchmark.sh installs and builds it")
    return options


@contextlib.contextmanager
def only_one():
    """Two measurements at a time would measure each other."""
    with open(os.path.join(tempfile.gettempdir(), "berry-bench.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another benchmark on this machine to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(options):
    loads = [name for name in LOADS if name in options.scenarios]
    alone = {}
    with tempfile.TemporaryDirectory(prefix="berry-benchmark-") as directory, Stage(pathlib.Path(directory)) as stage:
        bench = Bench(stage, options)
        bench.start_all(("nginx", "haproxy", "berry") if loads else ())
        bench.rounds(loads)
        if "start" in options.scenarios:
            alone["start"] = bench.start_times()
        if "rest" in options.scenarios or "idle" in options.scenarios:
            at_rest, idle, held = bench.memory("idle" in options.scenarios)
            alone["rest"] = at_rest
            if "idle" in options.scenarios:
                alone["idle"] = (idle, held)
        rows = rows_of(bench, loads, alone)
        document = {
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "host": host(stage),
            "versions": versions(bench.berry),
            "rounds": options.rounds,
            "secs": options.secs,
            "measures": [dataclasses.asdict(row) for row in rows],
            "notes": remarks(bench),
            "alone": alone,
            "samples": bench.samples,
        }
    return rows, document


def main():
    options = options_of(sys.argv[1:])
    # Ended from outside, it ends its processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_open_files()
    try:
        with only_one():
            rows, document = run(options)
    except KeyboardInterrupt:
        say("stopped; everything that was started has been ended")
        return 130
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print(table(rows))
    for note in document["notes"]:
        print(f"- {note}")
    machine = document["host"]
    turns = f"{options.rounds} rounds of {options.secs:g} s"
    print(f"- {machine['cpu']}, {machine['cores']} cores; {turns}; {', '.join(document['versions'].values())}")
    say(f"all figures are in {options.out}")
    return 1 if options.strict and any(row.met is not True for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
