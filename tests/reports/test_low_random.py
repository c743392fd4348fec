#!/usr/bin/env python3
"""F01: random jobs on images whose refcounts are too low, against an oracle:
after each of them every byte that could be read before is right, on the disk
and in every snapshot.

Usage: test_low_random.py COMMAND [SEED [SEQUENCES]]
"""

import random
import sys

import low
from low import SECTOR
from case import Case, main

LENGTH = 10
RAW = 1 << 20


class Oracle:
    """The contents that each disk of one image must have.  A look settles the
    sectors of the active disk that a job may have written, or not."""

    def __init__(self, image):
        self.disks = image.disks()
        self.active = bytearray(self.disks.pop("active"))
        self.states = [bytes(self.active)]
        self.open = set()

    def put(self, off, length, value):
        end = min(off + length, len(self.active))
        self.active[off:end] = bytes([value]) * (end - off)
        self.states.append(bytes(self.active))
        self.open -= set(range(off // SECTOR, -(-end // SECTOR)))

    def may_be_zero(self, off, length):
        """Notes a discard: its bytes are the old ones, or zeros."""
        zeroed = bytearray(self.active)
        end = min(off + length, len(zeroed))
        zeroed[off:end] = bytes(end - off)
        self.states.append(bytes(zeroed))
        self.open |= set(range(off // SECTOR, -(-end // SECTOR)))

    def settle(self, failed):
        """Returns the former states, and the sectors that may have any of
        them."""
        states, self.states = self.states, None
        free = (range(-(-len(self.active) // SECTOR)) if failed
                else sorted(self.open))
        self.open = set()
        return states, free

    def judge(self, got, failed):
        """Returns the defect of the disks that were read, and takes over the
        sectors that were left open."""
        states, free = self.settle(failed)
        active = got.get("active", b"")
        if len(active) != len(self.active):
            return f"the disk has {len(active)} bytes"
        for sector in free:
            place = slice(sector * SECTOR, (sector + 1) * SECTOR)
            if any(s[place] == active[place] for s in states):
                self.active[place] = active[place]
        self.states = [bytes(self.active)]
        for name, disk in [("active", bytes(self.active)),
                           *self.disks.items()]:
            if got.get(name) != disk:
                return f"{name} reads differently"
        return None


class Jobs:
    """Random command lines with their effects on the oracle."""

    def __init__(self, rng, image):
        self.rng = rng
        self.path = image.path
        self.cluster = image.cluster
        self.number = 0

    def range_of(self, oracle, whole):
        unit = self.cluster if whole else SECTOR
        units = len(oracle.active) // unit
        length = self.rng.randint(1, max(1, min(units, (256 << 10) // unit)))
        off = self.rng.randint(0, max(0, units - length))
        return off * unit, length * unit

    def io_command(self, oracle):
        kind = self.rng.choice(["write", "write", "write", "zero", "zero",
                                "pack", "discard", "discard", "flush"])
        off, length = self.range_of(oracle, kind in ("pack", "discard"))
        value = self.rng.randint(1, 255)
        if kind == "flush" or off + length > len(oracle.active):
            return "flush"
        if kind == "discard":
            oracle.may_be_zero(off, length)
            return f"discard {off} {length}"
        oracle.put(off, length, 0 if kind == "zero" else value)
        how = {"write": f"-P {value}", "zero": self.rng.choice(["-z", "-zu"]),
               "pack": f"-c -P {value}"}[kind]
        return f"write {how} {off} {length}"

    def io(self, oracle):
        commands = [self.io_command(oracle)
                    for _ in range(self.rng.randint(1, 8))]
        return ["io", "-d", self.rng.choice(["unmap", "ignore"]),
                *(w for c in commands for w in ("-c", c)), self.path]

    def snapshot(self, oracle):
        names = sorted(oracle.disks)
        what = self.rng.choice("cda" if names else "c")
        if what == "c":
            self.number += 1
            name = f"new{self.number}"
        else:
            name = self.rng.choice(names)
        return ["snapshot", f"-{what}", name, self.path]

    def job(self, oracle):
        """Returns the command line, and the effect that it has when it
        works."""
        which = self.rng.randint(0, 15)
        if which < 8:
            return self.io(oracle), None
        if which < 12:
            words = self.snapshot(oracle)
            return words, lambda: self.took(oracle, words[1], words[2])
        if which == 12:
            size = self.rng.randint(1, 12) << 19
            return (["resize", "--shrink", self.path, str(size)],
                    lambda: self.resized(oracle, size))
        return self.rng.choice([
            ["compact", self.path],
            ["amend", "-o", "compat=1.1", self.path],
            ["amend", "-o", f"refcount_bits={self.rng.choice([8, 16, 64])}",
             self.path],
            ["convert", "-n", "-f", "raw", "-O", "qcow2", "in.raw",
             self.path],
            ["snapshot", "-d", "nosuch", self.path],
            ["resize", self.path, "512"],
            ["check", "-r", "leaks", self.path],
        ]), None

    def took(self, oracle, what, name):
        if what == "-c":
            oracle.disks[name] = bytes(oracle.active)
        elif what == "-d":
            del oracle.disks[name]
        else:
            oracle.active = bytearray(oracle.disks[name])

    def resized(self, oracle, size):
        oracle.active = bytearray(bytes(oracle.active[:size])
                                  + bytes(max(0, size
                                              - len(oracle.active))))


class LowRandom(Case):
    seed = None
    sequences = 40

    @classmethod
    def prepare(cls):
        cls.kinds = {kind: low.build(kind) for kind in low.KINDS}
        with open("in.raw", "wb") as f:
            f.write(b"r" * RAW)

    def before(self, words, oracle):
        """A conversion writes its part of the disk, all or some of it."""
        if words[0] == "convert" and len(oracle.active) >= RAW:
            oracle.put(0, RAW, ord("r"))

    def run_sequence(self, seed):
        rng = random.Random(seed)
        kind = rng.choice(list(self.kinds))
        place = rng.choice(list(low.PLACES))
        image = low.Low(low.weaken(self.kinds[kind], place))
        oracle, jobs = Oracle(image), Jobs(rng, image)
        history = []
        for _ in range(LENGTH):
            words, then = jobs.job(oracle)
            self.before(words, oracle)
            done = self.ours(*words)
            history.append(f"{done.status} {words} {done.err.strip()}")
            if then and not done.status:
                then()
                oracle.states = [bytes(oracle.active)]
            story = "\n".join([f"seed {seed}, {kind}, {place}", *history])
            self.assertIn(done.status, range(4), story)
            got = low.Low(image.path).disks()
            self.settle_snapshots(words, done, oracle, got)
            wrong = oracle.judge(got, done.status)
            self.assertIsNone(wrong, story)

    def settle_snapshots(self, words, done, oracle, got):
        """A snapshot that could not be deleted, or taken, may be there or
        not."""
        if words[0] != "snapshot" or not done.status:
            return
        if words[1] == "-d" and words[2] not in got:
            oracle.disks.pop(words[2], None)

    def test_f01_after_random_jobs_every_byte_is_right(self):
        seed = self.seed or random.SystemRandom().randrange(1 << 32)
        print(f"seed {seed}", file=sys.stderr)
        for number in range(self.sequences):
            with self.subTest(seed=f"{seed} {number}"):
                self.run_sequence(f"{seed} {number}")


if __name__ == "__main__":
    if len(sys.argv) > 3:
        LowRandom.sequences = int(sys.argv.pop(3))
    if len(sys.argv) > 2:
        LowRandom.seed = int(sys.argv.pop(2))
    main()
