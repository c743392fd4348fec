"""Times commands in turns and prints what comes out."""

import os
import resource
import statistics
import subprocess
import time
from collections import namedtuple

Sample = namedtuple("Sample", "seconds kib")
Result = namedtuple("Result", "case seconds kib best best_name")

# What a case may take in all before its rounds end early, in seconds.
CASE_BUDGET = 90


class Case:
    """One row: our command, and qemu-img's with one or several settings.
    `target` is a file that every run makes anew."""

    def __init__(self, name, ours, theirs, goal, target=None):
        self.name = name
        self.ours = ours
        self.theirs = theirs
        self.goal = goal
        self.target = target


class Failed(Exception):
    """A measured command failed: nothing can be said about its speed."""


def once(command, target):
    """Wall time and peak memory of one run.  The target is removed before
    and after, outside of the time."""
    if target:
        target.unlink(missing_ok=True)
    start = time.perf_counter()
    with subprocess.Popen([str(c) for c in command], cwd="/",
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{' '.join(map(str, command))}: exit status "
                     f"{process.returncode}")
    if target:
        target.unlink(missing_ok=True)
    return Sample(seconds, usage.ru_maxrss)


def run(case, rounds):
    """Medians over rounds of ours, theirs, ours, theirs ..."""
    ours, theirs = [], {name: [] for name in case.theirs}
    start = time.perf_counter()
    for _ in range(rounds):
        ours.append(once(case.ours, case.target))
        for name, command in case.theirs.items():
            theirs[name].append(once(command, case.target))
        if time.perf_counter() - start > CASE_BUDGET:
            break
    medians = {name: statistics.median(s.seconds for s in samples)
               for name, samples in theirs.items()}
    best = min(medians, key=medians.get)
    return Result(case, statistics.median(s.seconds for s in ours),
                  max(s.kib for s in ours), medians[best], best)


def memory(kib):
    """Peak memory as text.  What the system reports for a child is never less
    than what this program had when it started the child."""
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"< {floor // 1024 + 1} MiB" if kib <= floor \
        else f"{kib // 1024} MiB"


def duration(seconds):
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


def ratios(results):
    rows = []
    for r in results:
        ratio = r.seconds / r.best
        rows.append([r.case.name, duration(r.seconds), duration(r.best),
                     r.best_name, f"{ratio:.3f}", f"≤ {r.case.goal}",
                     "yes" if ratio <= r.case.goal else "no",
                     memory(r.kib)])
    table(["case", "ours", "qemu-img", "its setting", "ours ÷ qemu-img",
           "goal", "met", "our memory"], rows)


def linearity(job, clusters, results):
    """How the time grows with the clusters that are allocated."""
    rows = []
    for name, values in (("ours", [r.seconds for r in results]),
                         ("qemu-img", [r.best for r in results])):
        growth = [f"{b / a:.1f}×" for a, b in zip(values, values[1:])]
        rows.append([f"{job}, {name}", *map(duration, values), *growth])
    steps = [f"{b / a:.0f}× the clusters"
             for a, b in zip(clusters, clusters[1:])]
    table(["job"] + [f"{n:,}" for n in clusters] + steps, rows)
