"""Times commands in turns and prints what comes out."""

import os
import re
import resource
import statistics
import subprocess
import time
from collections import namedtuple

Sample = namedtuple("Sample", "seconds cpu kib")
Result = namedtuple("Result", "case ours kib best best_name best_kib floor")
Times = namedtuple("Times", "median lowest cpu")

# A program that times itself prints this.
OWN_TIME = re.compile(rb"Run completed in ([0-9.]+) seconds")


class Case:
    """One row: our command, and qemu-img's with one or several settings.

    `target` is a file that every run makes anew; `prepare` is called before
    every run, outside of the time.  `n_requests` is set for programs that
    print how long so many requests took.  `limit` in seconds ends a command
    of qemu-img's that takes too long: it then counts as if done.  `floor` is
    a command that does only the work that nobody can do without."""

    def __init__(self, name, ours, theirs, goal, target=None, prepare=None,
                 n_requests=0, limit=None, floor=None):
        self.name = name
        self.ours = ours
        self.theirs = theirs
        self.goal = goal
        self.target = target
        self.prepare = prepare
        self.n_requests = n_requests
        self.limit = limit
        self.floor = floor


class Failed(Exception):
    """A measured command failed: nothing can be said about its speed."""


def remove(path):
    if path:
        path.unlink(missing_ok=True)


def wait(process, seconds):
    """Returns status and usage of a process; stops it after @seconds."""
    if seconds is None:
        return os.wait4(process.pid, 0)[1:]
    end = time.perf_counter() + seconds
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            return status, usage
        if time.perf_counter() > end:
            process.kill()
            return 0, os.wait4(process.pid, 0)[2]
        time.sleep(0.002)


def once(case, command, limit=None):
    """Measures time, processor time and peak memory of one run."""
    remove(case.target)
    if case.prepare:
        case.prepare()
    out = subprocess.PIPE if case.n_requests else subprocess.DEVNULL
    start = time.perf_counter()
    with subprocess.Popen([str(c) for c in command], cwd="/", stdout=out,
                          stderr=subprocess.DEVNULL) as process:
        text = process.stdout.read() if case.n_requests else b""
        status, usage = wait(process, limit)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{' '.join(map(str, command))}: exit status "
                     f"{process.returncode}")
    remove(case.target)
    if case.n_requests:
        seconds = float(OWN_TIME.search(text)[1])
    return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def times(samples):
    seconds = [s.seconds for s in samples]
    return Times(statistics.median(seconds), min(seconds),
                 statistics.median(s.cpu for s in samples))


def run(case, rounds, budget):
    """Runs rounds of ours, theirs, ours, theirs ...; none begins after @budget
    seconds."""
    ours, theirs = [], {name: [] for name in case.theirs}
    floor = []
    start = time.perf_counter()
    for _ in range(rounds):
        ours.append(once(case, case.ours))
        for name, command in case.theirs.items():
            theirs[name].append(once(case, command, case.limit))
        if case.floor:
            floor.append(once(case, case.floor))
        if time.perf_counter() - start > budget:
            break
    by_name = {name: times(samples) for name, samples in theirs.items()}
    best = min(by_name, key=lambda name: by_name[name].median)
    return Result(case, times(ours), max(s.kib for s in ours), by_name[best],
                  best, max(s.kib for s in theirs[best]),
                  times(floor) if floor else None)


def memory(kib):
    """Returns peak memory as text.  The system never reports less for a child
    than this program had when it started the child."""
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"< {floor // 1024 + 1} MiB" if kib <= floor \
        else f"{kib // 1024} MiB"


def duration(seconds):
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs" if seconds < 1e-4 \
            else f"{seconds * 1e6:.0f} µs"
    if seconds < 0.1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def table(header, rows):
    """Prints a Markdown table with aligned columns."""
    rows = [header] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]

    def line(cells):
        padded = [cells[0].ljust(widths[0])]
        padded += [c.rjust(w) for c, w in zip(cells[1:], widths[1:])]
        return "| " + " | ".join(padded) + " |"

    print(line(header))
    print("|" + "|".join("-" * (w + 1) + (":" if i else "-")
                         for i, w in enumerate(widths)) + "|")
    for row in rows[1:]:
        print(line(row))


def per_request(case, seconds):
    """Returns the time for the table: of one request if a case has many."""
    return duration(seconds / max(case.n_requests, 1))


def over_floor(result):
    """Returns our wall time and processor time, each divided by the host's for
    the bytes alone."""
    if not result.floor:
        return ""
    return f"{result.ours.median / result.floor.median:.2f}, " \
        f"{result.ours.cpu / result.floor.cpu:.2f}"


def ratios(results):
    rows = []
    for r in results:
        ratio = r.ours.median / r.best.median
        cut = r.case.limit and r.best.median >= r.case.limit
        rows.append([r.case.name, per_request(r.case, r.ours.median),
                     ("> " if cut else "")
                     + per_request(r.case, r.best.median),
                     r.best_name, ("< " if cut else "") + f"{ratio:.3f}",
                     f"{r.ours.lowest / r.best.lowest:.3f}",
                     f"{r.ours.cpu / r.best.cpu:.3f}",
                     over_floor(r),
                     f"≤ {r.case.goal}" if r.case.goal else "",
                     "" if not r.case.goal
                     else "yes" if ratio <= r.case.goal else "no",
                     memory(r.kib), memory(r.best_kib)])
    table(["case", "ours", "qemu-img", "its setting", "ours ÷ qemu-img",
           "of the fastest runs", "of CPU time", "÷ bytes alone, CPU", "goal",
           "met", "our memory", "its memory"], rows)


def linearity(job, clusters, results):
    """Prints how time and memory grow with the clusters that are allocated."""
    rows = [[f"{job}, our memory", *(memory(r.kib) for r in results)]
            + [""] * (len(clusters) - 1)]
    for name, values in (("ours", [r.ours.median for r in results]),
                         ("qemu-img", [r.best.median for r in results])):
        growth = [f"{b / a:.1f}×" for a, b in zip(values, values[1:])]
        rows.append([f"{job}, {name}", *map(duration, values), *growth])
    steps = [f"{b / a:.0f}× the clusters"
             for a, b in zip(clusters, clusters[1:])]
    table(["job"] + [f"{n:,}" for n in clusters] + steps, rows)
