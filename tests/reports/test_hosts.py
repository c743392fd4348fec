#!/usr/bin/env python3
"""F11, F12, F16: hosts whose locks fail, whose less important calls fail, and
whose standard output is full.

Usage: test_hosts.py COMMAND
The module that makes calls fail is named by LOCKLESS.
"""

import errno
import os
import subprocess
import tempfile
import unittest

import targets
from targets import images, read
from case import Case, Result, main

LOCKLESS = os.environ.get("LOCKLESS")
THERE_ARE_NONE = [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP]
BROKEN = [errno.ENOLCK, errno.EIO]


@unittest.skipUnless(LOCKLESS, "no module to make calls fail")
class Calls(Case):
    def setUp(self):
        self.here = tempfile.mkdtemp(dir=self.dir)
        os.chdir(self.here)
        images.make("a", io=["write -P 5 0 64k"])

    def tearDown(self):
        os.chdir(self.dir)

    def failing(self, variable, number, *args):
        env = dict(os.environ, LC_ALL="C.UTF-8", LD_PRELOAD=LOCKLESS)
        env[variable] = str(number)
        return Result(subprocess.run(
            [f"{self.dir}/bin/qcow2", *args], env=env, capture_output=True,
            check=False))

    # F11.

    WRITERS = (["io", "-c", "write 0 4k", "a"], ["snapshot", "-c", "x", "a"],
               ["resize", "a", "8M"], ["check", "-r", "all", "a"],
               ["amend", "-o", "lazy_refcounts=on", "a"], ["compact", "a"],
               ["convert", "-n", "-O", "qcow2", "s", "a"])

    def test_f11_without_locks_reading_goes_on(self):
        for number in THERE_ARE_NONE:
            for words in (["info", "a"], ["map", "a"],
                          ["convert", "-O", "raw", "a", "x"]):
                with self.subTest(number=number, words=words):
                    done = self.failing("LOCK_ERRNO", number, *words)
                    self.assertEqual(done.status, 0, done.err)

    def test_f11_writers_are_warned_where_there_are_no_locks(self):
        images.make("s", io=["write -P 6 0 64k"])
        for words in self.WRITERS:
            with self.subTest(words=words):
                done = self.failing("LOCK_ERRNO", errno.EINVAL, *words)
                self.assertEqual(done.status, 0, done.err)
                self.assertIn("warning: the host has no locks", done.err)

    def test_f11_writers_are_refused_where_locks_fail(self):
        images.make("s", io=["write -P 6 0 64k"])
        for number in (errno.ENOLCK, errno.EIO):
            for words in self.WRITERS:
                with self.subTest(number=number, words=words):
                    done = self.failing("LOCK_ERRNO", number, *words)
                    self.assertNotEqual(done.status, 0)
                    self.assertIn("cannot lock", done.err)

    def test_f11_a_new_image_is_made_where_there_are_no_locks(self):
        for number in THERE_ARE_NONE:
            with self.subTest(number=number):
                done = self.failing("LOCK_ERRNO", number, "create", "-q",
                                    "-f", "qcow2", f"new{number}", "1M")
                self.assertEqual(done.status, 0, done.err)

    def test_f11_locking_is_switched_off_as_for_qemu(self):
        done = self.failing("LOCK_ERRNO", errno.ENOLCK, "io", "--image-opts",
                            "-c", "write -P 1 0 4k",
                            "driver=qcow2,file.filename=a,file.locking=off")
        self.assertEqual(done.status, 0, done.err)
        self.assertEqual(self.ours("io", "-c", "read -P 1 0 4k",
                                   "a").status, 0)

    def test_f11_locking_auto_is_the_default(self):
        done = self.ours("io", "--image-opts", "-c", "write -P 1 0 4k",
                         "driver=qcow2,file.filename=a,file.locking=auto")
        self.assertEqual(done.status, 0, done.err)


class FullOutput(Case):
    """F16: the work is done and only the message is lost."""

    @classmethod
    def prepare(cls):
        images.make("a", io=["write -P 5 0 64k"])

    def to_full(self, name, *args):
        with open("/dev/full", "wb") as full:
            return subprocess.run([f"{self.dir}/bin/{name}", *args],
                                  stdout=full, stderr=subprocess.PIPE,
                                  check=False)

    def as_qemu(self, *args, made=None):
        with open("/dev/full", "wb") as full:
            theirs = subprocess.run([targets.images.QEMU_IMG, *args],
                                    stdout=full, stderr=subprocess.PIPE,
                                    check=False)
        ours = self.to_full("qemu-img", *args)
        self.assertEqual(ours.returncode, theirs.returncode, ours.stderr)
        if made:
            self.assertTrue(os.path.exists(made))

    def test_f16_info_says_that_it_was_not_printed(self):
        """What only prints has not done its work."""
        self.assertEqual(self.to_full("qcow2", "info", "a").returncode, 1)
        self.assertEqual(self.to_full("qcow2", "map", "a").returncode, 1)


if __name__ == "__main__":
    main()
