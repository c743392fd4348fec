#!/usr/bin/env python3
"""Images that we create, seen through qemu-img.

The same command line is given to qemu-img and to us, in two directories.  Then
both images are checked, described, mapped and compared by qemu-img, and must
agree.  A second table holds option combinations that are odd: we must refuse
what qemu-img refuses and accept what it accepts.

Usage: create.py COMMAND   (the qcow2 command)
Environment: TEST_FULL=1 tries every refcount width and size with every shape
instead of taking turns.  Of those a sample is taken, see sample.py; what is odd
is tried each time.
"""
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import create_cases

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from sample import Sample  # pylint: disable=wrong-import-position

SKIP = 77
# For programs that hang, also on a busy machine.
TIMEOUT = 120

# Walking a larger disk, qemu-img takes small steps.
WALKED_MAX = 16 << 30


# This list leaves out the backing file, which does not exist.
ALONE = ('json:{"driver": "qcow2", "backing": null, '
         '"file": {"driver": "file", "filename": "image"}}')


def run(args, cwd):
    return subprocess.run(args, cwd=cwd, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=TIMEOUT,
                          check=False)


def qemu_json(command, cwd, *args):
    done = run(["qemu-img", command, "--output=json", *args], cwd)
    if done.returncode:
        raise AssertionError("qemu-img %s: %s" % (command,
                                                  done.stderr.decode()))
    return json.loads(done.stdout)


def info_of(cwd):
    """The info of qemu-img about an image, without the fields that layout
    decides."""
    info = qemu_json("info", cwd, "image")
    for field in ("actual-size", "children"):
        info.pop(field, None)
    return info


def map_of(cwd, preallocated):
    """The map without host offsets, merged again.

    qemu-img learns from the holes of the host file system whether a
    preallocated cluster reads as zeros, and they depend on the writes next to
    them.
    """
    fields = ["depth", "present", "data"] + ([] if preallocated else ["zero"])
    merged = []
    for extent in qemu_json("map", cwd, ALONE):
        kind = [extent[name] for name in fields]
        if merged and merged[-1][1] == kind:
            merged[-1][0] += extent["length"]
        else:
            merged.append([extent["length"], kind])
    return merged


class Pair:
    """One command line, given to both sides in fresh directories."""

    def __init__(self, command, case, root):
        self.case = case
        self.dirs = []
        self.done = []
        for side, program in (("theirs", "qemu-img"), ("ours", command)):
            cwd = os.path.join(root, side)
            os.mkdir(cwd)
            self.dirs.append(cwd)
            self.done.append(run([program, "create", "-f", "qcow2",
                                  *case.args], cwd))

    def accepted(self):
        return [done.returncode == 0 for done in self.done]

    def compare_contents(self):
        theirs, ours = (os.path.join(cwd, "image") for cwd in self.dirs)
        done = run(["qemu-img", "compare", theirs, ours], self.dirs[0])
        assert done.returncode == 0, done.stdout.decode()

    def compare_data_files(self):
        """Sizes of data files: never larger than the disk in ours."""
        if not self.case.data_file:
            return
        size = os.path.getsize(os.path.join(self.dirs[1], "data"))
        virtual = info_of(self.dirs[1])["virtual-size"]
        assert size == virtual, "data file: %d, disk: %d" % (size, virtual)

    def verify(self):
        ours = self.dirs[1]
        check = qemu_json("check", ours, ALONE)
        for field in ("corruptions", "leaks", "check-errors"):
            assert not check.get(field), check
        theirs = info_of(self.dirs[0])
        assert theirs == info_of(ours), "info: %s\n%s" % (theirs,
                                                          info_of(ours))
        self.compare_data_files()
        if theirs["virtual-size"] > WALKED_MAX:
            return
        maps = [map_of(cwd, self.case.preallocated) for cwd in self.dirs]
        assert maps[0] == maps[1], "map: %s\n%s" % tuple(maps)
        if not self.case.has_backing:
            self.compare_contents()


def differs_as_intended(command, case, root):
    done = run([command, "create", "-f", "qcow2", *case.args], root)
    return (done.returncode == 0) == case.intended


def verdict(pair):
    """Returns None, or the defect."""
    case = pair.case
    theirs, ours = pair.accepted()
    if theirs != ours or case.must_succeed and not ours:
        return "qemu-img: %s %s\n    we: %s %s" % (
            theirs, pair.done[0].stderr.decode(), ours,
            pair.done[1].stderr.decode())
    if not ours:
        left = os.listdir(pair.dirs[1])
        return "left behind: %s" % left if left else None
    try:
        pair.verify()
    except AssertionError as error:
        return str(error)
    return None


def try_case(command, case):
    with tempfile.TemporaryDirectory(prefix="qcow2-create-") as root:
        if case.intended is None:
            try:
                return verdict(Pair(command, case, root))
            except subprocess.TimeoutExpired as error:
                return str(error)
        if not differs_as_intended(command, case, root):
            return "no longer differs from qemu-img as intended"
    return None


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if not shutil.which("qemu-img"):
        print("qemu-img is not installed")
        sys.exit(SKIP)
    command = os.path.abspath(sys.argv[1])
    full = bool(os.environ.get("TEST_FULL"))
    sample = Sample()
    print(sample, flush=True)
    cases = list(itertools.chain(sample.of(list(create_cases.matrix(full))),
                                 create_cases.odd()))
    failed = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for case, wrong in zip(cases, pool.map(
                lambda case: try_case(command, case), cases)):
            if wrong:
                failed += 1
                print("%s\n    %s" % (" ".join(case.args), wrong))
    print("%d command lines, %d failed" % (len(cases), failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
