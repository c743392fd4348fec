#!/usr/bin/env python3
"""F11, F12, F16, D11: hosts whose locks fail, whose less important calls fail, and
whose standard output is full.

Usage: test_hosts.py COMMAND
The module that makes calls fail is named by LOCKLESS.
"""

import errno
import os
import shutil
import subprocess
import tempfile
import unittest

import targets
from targets import images, read
from case import Case, Result, UNDER_STRACE, main

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

    def test_f11_a_lock_that_fails_stops_a_writer(self):
        targets.call("cp", "a", "s")
        before = read("a")
        for number in BROKEN:
            for words in self.WRITERS:
                with self.subTest(number=number, words=words):
                    done = self.failing("LOCK_ERRNO", number, *words)
                    self.assertEqual(done.status, 1, done.err)
                    self.assertIn(os.strerror(number), done.err)
                    self.assertTrue(read("a") == before)

    def test_f11_where_there_are_no_locks_a_writer_is_warned(self):
        targets.call("cp", "a", "s")
        for number in THERE_ARE_NONE:
            for words in self.WRITERS[:3]:
                with self.subTest(number=number, words=words):
                    targets.call("cp", "s", "a")
                    done = self.failing("LOCK_ERRNO", number, *words)
                    self.assertEqual(done.status, 0, done.err)
                    self.assertRegex(done.err, "(?i)lock")

    def test_f11_without_locks_reading_goes_on(self):
        for number in THERE_ARE_NONE:
            for words in (["info", "a"], ["map", "a"],
                          ["convert", "-O", "raw", "a", "x"]):
                with self.subTest(number=number, words=words):
                    done = self.failing("LOCK_ERRNO", number, *words)
                    self.assertEqual(done.status, 0, done.err)

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

    def test_f11_locking_that_must_be_is_refused_where_there_is_none(self):
        before = read("a")
        done = self.failing("LOCK_ERRNO", errno.EINVAL, "io", "--image-opts",
                            "-c", "write -P 1 0 4k",
                            "driver=qcow2,file.filename=a,file.locking=on")
        self.assertEqual(done.status, 1, done.err)
        self.assertTrue(read("a") == before)

    def test_f11_locking_auto_is_the_default(self):
        done = self.ours("io", "--image-opts", "-c", "write -P 1 0 4k",
                         "driver=qcow2,file.filename=a,file.locking=auto")
        self.assertEqual(done.status, 0, done.err)

    # F12.

    def test_f12_a_directory_that_cannot_be_synced_does_not_matter(self):
        for number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP,
                       errno.EACCES):
            for words in (["convert", "-O", "raw", "a", "x"],
                          ["convert", "-O", "qcow2", "a", "y"],
                          ["create", "-q", "-f", "qcow2", "z", "1M"]):
                with self.subTest(number=number, words=words):
                    done = self.failing("FSYNC_ERRNO", number, *words)
                    self.assertEqual(done.status, 0, done.err)
                    self.assertTrue(os.path.exists(words[-1]) or
                                    os.path.exists("z"))

    def test_f12_a_mode_that_cannot_be_set_does_not_matter(self):
        for number in (errno.EPERM, errno.ENOTSUP):
            for name in ("new", "old"):
                with self.subTest(number=number, name=name):
                    targets.write("old", b"old")
                    done = self.failing("FCHMOD_ERRNO", number, "convert",
                                        "-O", "raw", "a", name)
                    self.assertEqual(done.status, 0, done.err)
                    self.assertEqual(read(name)[:2], b"\5\5")


class Barriers(Case):
    """D11: a file that was not written to needs no barrier."""

    def barriers(self, *words):
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "trace", "-e",
             "trace=fsync,fdatasync,sync_file_range,syncfs",
             f"{self.dir}/bin/qcow2", *words], env=UNDER_STRACE,
            capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return read("trace").count(b"sync(")

    def setUp(self):
        if not shutil.which("strace"):
            self.skipTest("no strace")
        images.make("base", io=["write -P 5 0 64k"])
        images.make("a", "-b", "base", "-F", "qcow2")

    def test_d11_flushes_without_a_write_make_no_barrier(self):
        flush = ["-c", "flush"] * 5
        self.assertEqual(self.barriers("io", *flush, "a"), 0)
        self.assertEqual(self.barriers("io", "-c", "read 0 64k", *flush,
                                       "a"), 0)

    def test_d11_closing_what_was_not_changed_makes_no_barrier(self):
        self.assertEqual(self.barriers("io", "-c", "quit", "a"), 0)
        self.assertEqual(self.barriers("snapshot", "-l", "a"), 0)

    def test_d11_flushes_after_a_flush_make_no_barrier(self):
        once = self.barriers("io", "-c", "write 0 4k", "-c", "flush", "a")
        flush = ["-c", "flush"] * 6
        images.make("a", "-b", "base", "-F", "qcow2")
        many = self.barriers("io", "-c", "write 0 4k", *flush, "a")
        self.assertEqual(many, once)
        self.assertGreater(once, 0)

    def test_d11_a_flush_of_an_overlay_makes_none_in_its_base(self):
        words = ["io", "-c", "write 0 4k", "-c", "flush", "a"]
        images.make("alone")
        self.assertEqual(self.barriers(*words),
                         self.barriers(*words[:-1], "alone"))


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

    def test_f16_create(self):
        self.as_qemu("create", "-f", "qcow2", "new", "1M", made="new")

    def test_f16_resize(self):
        self.as_qemu("resize", "a", "8M")

    def test_f16_convert_with_progress(self):
        self.as_qemu("convert", "-p", "-O", "raw", "a", "x", made="x")

    def test_f16_check(self):
        self.as_qemu("check", "a")

    def test_f16_info_says_that_it_was_not_printed(self):
        """A command that only prints has not done its work."""
        self.assertEqual(self.to_full("qcow2", "info", "a").returncode, 1)
        self.assertEqual(self.to_full("qcow2", "map", "a").returncode, 1)


if __name__ == "__main__":
    main()
