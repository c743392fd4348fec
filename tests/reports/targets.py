"""The common parts of the tests of targets: privileged helpers and file
contents."""

import contextlib
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "cli"))

import images  # noqa: E402

# The user who reads and writes files that are not root's.
STRANGER = 1000

needs_root = unittest.skipUnless(os.geteuid() == 0, "needs root")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def call(*words):
    subprocess.run(words, check=True, capture_output=True)


@contextlib.contextmanager
def mounted(*words):
    """Mounts on the last word, a directory or file; skips the test if it
    cannot."""
    try:
        call("mount", *words)
    except (OSError, subprocess.CalledProcessError) as failure:
        raise unittest.SkipTest("this host mounts nothing") from failure
    try:
        yield words[-1]
    finally:
        call("umount", words[-1])


@contextlib.contextmanager
def tmpfs(path, size):
    os.makedirs(path, exist_ok=True)
    with mounted("-t", "tmpfs", "-o", f"size={size}", "none", path):
        yield path


def as_stranger(*words, groups=()):
    """The command line that runs words as somebody without privileges."""
    how = ["--groups", ",".join(map(str, groups))] if groups else \
        ["--clear-groups"]
    return ["setpriv", "--reuid", str(STRANGER), "--regid", str(STRANGER),
            *how, *words]


def source(path, size="4M"):
    """Makes a small qcow2 disk with contents; returns them."""
    images.make(path, size=size, io=["write -P 5 0 1M", "write -P 6 3M 64k"])
    images.qemu_img("convert", "-O", "raw", path, path + ".raw")
    return read(path + ".raw")
