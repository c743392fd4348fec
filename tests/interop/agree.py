"""Runs qemu-img and our command on the same image and holds their answers
against each other.  docs/qemu-differences.md lists what may differ."""

import filecmp
import json
import os
import subprocess


class Disagreement(Exception):
    """The two commands do not say the same."""


# Keys of our JSON that qemu-img does not have.
OUR_INFO = {"self-contained", "external"}


def call(*command, cwd):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True,
                          check=False)


def without_ours(info):
    """Our info without the keys that only we have, at every level of the
    chain."""
    if isinstance(info, list):
        return [without_ours(entry) for entry in info]
    return {k: v for k, v in info.items() if k not in OUR_INFO}


def first_difference(ours, theirs, path=""):
    """The place where two JSON values part, for the message."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in ours or key not in theirs:
                where = "ours" if key in ours else "theirs"
                return f"{path}.{key} only in {where}"
            if ours[key] != theirs[key]:
                return first_difference(ours[key], theirs[key],
                                        f"{path}.{key}")
    if isinstance(ours, list) and isinstance(theirs, list):
        for i, (a, b) in enumerate(zip(ours, theirs)):
            if a != b:
                return first_difference(a, b, f"{path}[{i}]")
        return f"{path}: {len(ours)} entries, theirs {len(theirs)}"
    return f"{path}: ours {ours!r}, theirs {theirs!r}"


class Judge:
    """Judges the images of one directory."""

    def __init__(self, command, work):
        self.ours = command
        self.work = work
        self.agreed = 0

    def both(self, *arguments):
        """Returns the results of the same command line, ours and theirs; the
        exit status must be the same."""
        ours = call(self.ours, *arguments, cwd=self.work)
        theirs = call("qemu-img", *arguments, cwd=self.work)
        if ours.returncode != theirs.returncode:
            raise Disagreement(
                f"{' '.join(arguments)}: exit status {ours.returncode}, "
                f"theirs {theirs.returncode}: {ours.stderr}{theirs.stderr}")
        return ours, theirs

    def same_json(self, *arguments, view=lambda value: value):
        ours, theirs = self.both(*arguments, "--output=json")
        if not theirs.stdout:
            self.agreed += 1
            return
        a = view(json.loads(ours.stdout))
        b = json.loads(theirs.stdout)
        if a != b:
            raise Disagreement(f"{' '.join(arguments)}: "
                               f"{first_difference(a, b)}")
        self.agreed += 1

    def same_lines(self, *arguments, ignored=()):
        ours, theirs = self.both(*arguments)
        a = [line for line in ours.stdout.splitlines()
             if not line.lstrip().startswith(tuple(ignored) or "\0")]
        b = theirs.stdout.splitlines()
        for mine, other in zip(a, b):
            if mine != other:
                raise Disagreement(f"{' '.join(arguments)}: "
                                   f"ours {mine!r}, theirs {other!r}")
        if len(a) != len(b):
            raise Disagreement(f"{' '.join(arguments)}: {len(a)} lines, "
                               f"theirs {len(b)}")
        self.agreed += 1

    def convert(self, *source):
        """The same source in ours.raw and theirs.raw."""
        for command, target in ((self.ours, "ours.raw"),
                                ("qemu-img", "theirs.raw")):
            result = call(command, "convert", "-O", "raw", *source, target,
                          cwd=self.work)
            if result.returncode:
                raise Disagreement(f"{command} convert {' '.join(source)}: "
                                   f"{result.stderr}")

    def same_bytes(self, *source):
        """convert to raw gives the same file, holes or not."""
        self.convert(*source)
        self.same_files(source)

    def same_snapshot(self, name, tag, size):
        """Does the same as same_bytes for a snapshot.  We give it the size
        that its disk had; qemu-img cuts or extends it to the size of today."""
        source = ("-f", "qcow2", "-l", f"snapshot.name={tag}", name)
        self.convert(*source)
        ours = os.stat(self.work / "ours.raw").st_size
        if ours != size:
            raise Disagreement(f"snapshot {tag} has {ours} bytes, not {size}")
        os.truncate(self.work / "theirs.raw", size)
        self.same_files(source)

    def same_files(self, source):
        if not filecmp.cmp(self.work / "ours.raw", self.work / "theirs.raw",
                           shallow=False):
            raise Disagreement(f"convert {' '.join(source)}: other bytes")
        self.agreed += 1

    def image(self, name, snapshots):
        """Everything about one image as the top of its chain."""
        before = os.stat(self.work / name)
        self.same_bytes("-f", "qcow2", name)
        self.same_lines("compare", "-f", "qcow2", "-F", "raw", name,
                        "theirs.raw")
        for tag, size in snapshots:
            self.same_snapshot(name, tag, size)
        self.same_json("map", "-f", "qcow2", name)
        self.same_lines("map", "-f", "qcow2", name)
        self.same_json("info", "-f", "qcow2", name, view=without_ours)
        self.same_json("info", "--backing-chain", name, view=without_ours)
        self.same_lines("info", "--backing-chain", name,
                        ignored=("self-contained:",))
        self.same_json("check", "-f", "qcow2", name)
        self.same_lines("check", "-f", "qcow2", name)
        after = os.stat(self.work / name)
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns,
                                                    after.st_size):
            raise Disagreement(f"{name} was changed by reading it")

    def compare(self, one, other):
        """Two disks that differ: the same verdict in the same words."""
        self.same_lines("compare", "-f", "qcow2", "-F", "qcow2", one, other)
