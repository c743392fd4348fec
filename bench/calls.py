"""System calls of guest writes, counted with strace.

Every load runs twice, with some and with more requests; the difference
belongs to the requests alone, not to start and end.
"""

import shutil
import subprocess
import tempfile

from measure import table

BARRIERS = ("fdatasync", "fsync", "sync_file_range")


def traced(command):
    """Counts by name the calls of a program with all its threads."""
    with tempfile.NamedTemporaryFile("r") as out:
        subprocess.run(["strace", "-f", "-c", "-o", out.name,
                        *map(str, command)], check=True,
                       stdout=subprocess.DEVNULL)
        lines = [line.split() for line in out]
    # A line has: % time, seconds, usecs/call, calls, [errors], name.
    return {words[-1]: int(words[3]) for words in lines
            if len(words) >= 5 and words[3].isdigit()
            and words[-1] != "total"}


def difference(few, many):
    return {name: many.get(name, 0) - few.get(name, 0)
            for name in {*few, *many}}


def of_requests(w, command, few, many):
    """Counts the calls that (many - few) requests make."""
    counts = []
    for n in (few, many):
        w.make()
        counts.append(traced(command(n)))
    return difference(*counts)


def rows(bench, w, few, many, flush):
    image = w.make()
    n = many - few
    for name, command in (
            ("ours", lambda n: bench.ours(w, image, n, flush=flush)),
            ("qemu-img", lambda n: bench.theirs(w, image, n, flush=flush))):
        calls = of_requests(w, command, few, many)
        barriers = sum(calls.get(b, 0) for b in BARRIERS)
        kinds = sorted((k for k in calls if calls[k] * 5 >= n),
                       key=lambda k: -calls[k])
        yield [w.name + (f", flush every {flush}" if flush else ""), name,
               f"{sum(calls.values()) / n:.2f}",
               f"{barriers / (n // flush):.2f}" if flush else "",
               ", ".join(f"{k} {calls[k] / n:.2f}" for k in kinds)]


def report(bench, only, intervals=None):
    """`intervals`: requests between flushes, 0 for none, and how many
    requests there are."""
    if not shutil.which("strace"):
        print("system calls: skipped, there is no strace")
        return
    found = []
    # Without flushes metadata is written at the end, in fewer calls if it
    # has fewer gaps: only many requests tell.
    intervals = intervals or (
        {0: 8000, 1: 800, 16: 800} if bench.share == 1 else {0: 32, 8: 32})
    for w in bench.kinds():
        for flush, n in intervals.items():
            if only in f"system calls {w.name}":
                many = min(n, w.n_requests)
                found += rows(bench, w, many // 2, many, flush)
    if found:
        print("\nSystem calls for one request, barriers for one flush:\n")
        table(["load", "of", "calls", "barriers", "kinds"], found)
