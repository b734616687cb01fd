"""What moving output costs: MB/s and CPU of the pump beside `cat` and supervisord, in one run; run it by hand.

`python tests/bench/bench_logs.py [MEGABYTES] [DIRECTORY]`: rounds alternate, medians are printed, nothing is asserted. supervisord
is installed into a temporary venv of its own, and left out where that fails.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = 4096
ROUNDS = 5

WRITE = f"""
import os, sys
block = (("x" * 99 + chr(10)) * 41)[-{BLOCK}:].encode()
for _ in range(int(sys.argv[1]) // len(block)):
    os.write(1, block)
"""

PUMP = """
import anyio, resource, sys
from pathlib import Path
from supervisor.host.logs.pump import Log
async def main():
    log = Log(Path(sys.argv[1]), Path(sys.argv[2]))
    before = resource.getrusage(resource.RUSAGE_SELF)
    print("ready", flush=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.run)
        while log.written < int(sys.argv[3]):
            await anyio.sleep(float(sys.argv[4]))
        tasks.cancel_scope.cancel()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(cpu, after.ru_nvcsw - before.ru_nvcsw, flush=True)
anyio.run(main)
"""

CHATTER = """
import time
for number in range(2000):
    print("line", number, flush=True)
    time.sleep(0.001)
"""

WRITE_WHEN_TOLD = f"""
import pathlib, sys, time
where = pathlib.Path(sys.argv[2])
(where / "up").touch()
while not (where / "go").exists():
    time.sleep(0.001)
begun = time.perf_counter()
{WRITE}
(where / "took.tmp").write_text(str(time.perf_counter() - begun))
(where / "took.tmp").rename(where / "took")
"""

SUPERVISORD = """
[supervisord]
nodaemon=true
logfile={where}/supervisord.log
pidfile={where}/supervisord.pid
[program:writer]
command={python} {where}/writer.py {total} {where}
autorestart=false
startsecs=0
stdout_logfile={where}/main.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=5
"""


def by_pump(where: Path, total: int, writer: str = WRITE, look_s: float = 0.02) -> tuple[float, float, int]:
    """Seconds, CPU seconds and times the pump slept, until all is in the log."""
    fifo = where / ".main.fifo"
    pump = subprocess.Popen(
        [sys.executable, "-c", PUMP, fifo, where / "main.log", str(total), str(look_s)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert pump.stdout is not None
    pump.stdout.readline()
    with fifo.open("r+b", buffering=0) as end:
        begun = time.perf_counter()
        gateway = subprocess.Popen([sys.executable, "-c", writer, str(total)], stdout=end)
        cpu, wake_ups = pump.stdout.readline().split()
        took = time.perf_counter() - begun
        gateway.wait()
    pump.wait()
    return took, float(cpu), int(wake_ups)


def by_cat(where: Path, total: int) -> tuple[float, float]:
    """Seconds and CPU seconds of `cat FIFO > FILE`."""
    fifo = where / "fifo"
    os.mkfifo(fifo)
    with (where / "out").open("wb") as out:
        cat = subprocess.Popen(["cat", fifo], stdout=out)
        with fifo.open("wb", buffering=0) as end:
            begun = time.perf_counter()
            gateway = subprocess.Popen([sys.executable, "-c", WRITE, str(total)], stdout=end)
        _, _, used = os.wait4(cat.pid, 0)
        took = time.perf_counter() - begun
        gateway.wait()
    return took, used.ru_utime + used.ru_stime


def by_supervisord(where: Path, total: int, command: Path) -> tuple[float, float]:
    """Seconds and CPU seconds of supervisord; the last pipe of 64 KiB is not waited for."""
    (where / "writer.py").write_text(WRITE_WHEN_TOLD)
    config = where / "supervisord.conf"
    config.write_text(SUPERVISORD.format(where=where, python=sys.executable, total=total))
    with subprocess.Popen([command, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as daemon:
        try:
            wait_for(where / "up")
            before = cpu_of(daemon.pid)
            (where / "go").touch()
            wait_for(where / "took")
            return float((where / "took").read_text()), cpu_of(daemon.pid) - before
        finally:
            daemon.terminate()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.005)


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def install_supervisord(where: Path) -> Path | None:
    """The command of a supervisord in a venv of its own, None where pip cannot get it."""
    venv.create(where / "venv", with_pip=True)
    programs = where / "venv" / "bin"
    done = subprocess.run([programs / "pip", "install", "--quiet", "supervisor"], check=False, capture_output=True)
    return programs / "supervisord" if done.returncode == 0 else None


def main(megabytes: int, directory: str | None) -> None:
    """Print a line for each way."""
    total = megabytes * 1_000_000 // BLOCK * BLOCK
    figures: dict[str, list[tuple[float, float]]] = {"cat": [], "pump": [], "supervisord": []}
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        top = Path(temporary)
        supervisord = install_supervisord(top)
        for turn in range(ROUNDS):
            for name, found in figures.items():
                where = top / f"{name}-{turn}"
                where.mkdir()
                if name == "cat":
                    found.append(by_cat(where, total))
                elif name == "pump":
                    found.append(by_pump(where, total)[:2])
                elif supervisord:
                    found.append(by_supervisord(where, total, supervisord))
        (top / "chatter").mkdir()
        chatter = by_pump(top / "chatter", sum(len(f"line {number}\n") for number in range(2000)), CHATTER, look_s=0.5)
    for name, found in figures.items():
        if found:
            speed = statistics.median(total / 1e6 / took for took, _ in found)
            cpu = statistics.median(used / total * 1e8 for _, used in found)
            beside = statistics.median(cat / took for (cat, _), (took, _) in zip(figures["cat"], found, strict=True))
            print(f"{name:12} {speed:6.0f} MB/s  {beside:5.2f} x cat  {cpu:6.3f} CPU s per 100 MB")  # noqa: T201 - figures
    print(f"a line a ms, {chatter[0]:.1f} s: {chatter[2] / chatter[0]:.0f} wake-ups/s, {chatter[1] * 1000:.0f} ms CPU")  # noqa: T201 - figures


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2] if len(sys.argv) > 2 else None)
