#!/usr/bin/env python3
"""F06, T6: a process that is ended by a signal leaves nothing behind, and has
errors where qemu-img has errors.

Usage: test_signals.py COMMAND
"""

import os
import resource
import signal
import subprocess
import tempfile
import time

import targets
from targets import images, read
from case import Case, main


def limited(size):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return limit


def no_signal_ignored():
    """A shell that started the tests in the background ignores these signals
    for all processes that come from it."""
    for sig in signal.SIGINT, signal.SIGQUIT:
        signal.signal(sig, signal.SIG_DFL)


class Signals(Case):
    @classmethod
    def prepare(cls):
        cls.disk = targets.source("s", "64M")
        cls.small = targets.source("small")
        targets.write("old.raw", b"precious")
        cls.words = ["convert", "-O", "raw", f"{cls.dir}/s"]

    def setUp(self):
        self.here = tempfile.mkdtemp(dir=self.dir)

    def start(self, *args, **more):
        return subprocess.Popen([f"{self.dir}/bin/qcow2", *args],
                                cwd=self.here, preexec_fn=no_signal_ignored,
                                **more)

    def left(self):
        return sorted(os.listdir(self.here))

    # SIGPIPE.

    def piped(self, *args):
        """Runs with a reader of the output that is gone at once."""
        reader, writer = os.pipe()
        os.close(reader)
        job = self.start(*args, stdout=writer, stderr=subprocess.PIPE,
                         )
        os.close(writer)
        job.err = job.communicate(timeout=60)[1]
        return job.returncode

    def test_f06_a_convert_whose_progress_nobody_reads_is_finished(self):
        self.piped(*self.words, "-p", "u")
        self.assertEqual(self.left(), ["u"])
        self.assertTrue(read(f"{self.here}/u") == self.disk)

    def test_f06_a_create_whose_output_nobody_reads_makes_the_image(self):
        self.piped("create", "-f", "qcow2", "u", "1M")
        self.assertEqual(self.left(), ["u"])
        self.assertEqual(self.ours("check", f"{self.here}/u").status, 0)

    def test_f06_a_resize_whose_output_nobody_reads_is_done(self):
        targets.call("cp", "small", f"{self.here}/u")
        self.piped("resize", "u", "8M")
        size = self.ours("info", "--output=json", f"{self.here}/u")
        self.assertEqual(size.json()["virtual-size"], 8 << 20)

    def test_f06_a_compressed_convert_with_progress_is_finished(self):
        self.piped("convert", "-p", "-c", "-O", "qcow2", f"{self.dir}/small",
                   "u")
        self.assertEqual(self.left(), ["u"])

    def test_f06_a_check_whose_output_nobody_reads_repairs(self):
        path = f"{self.here}/u"
        images.Header("small").set_refcount(5, 3).save(path)
        self.piped("check", "-r", "all", "u")
        self.assertEqual(self.ours("check", path).status, 0)

    # SIGXFSZ.

    def too_large(self, *args, run=None):
        done = (run or self.ours)(*args, cwd=self.here,
                                  preexec_fn=limited(1 << 20))
        self.assertEqual(done.status, 1, done.err)
        self.assertIn("File too large", done.err + done.out)
        return done

    def test_f06_a_convert_beyond_the_size_limit_says_so(self):
        self.too_large(*self.words, "u")
        self.assertEqual(self.left(), [])

    def test_f06_a_convert_to_qcow2_beyond_the_size_limit_says_so(self):
        self.too_large("convert", "-O", "qcow2", f"{self.dir}/s", "u")
        self.assertEqual(self.left(), [])

    def test_f06_what_stood_at_the_target_stands_there_after_the_limit(self):
        targets.call("cp", "old.raw", self.here)
        self.too_large(*self.words, "old.raw")
        self.assertEqual(self.left(), ["old.raw"])
        self.assertEqual(read(f"{self.here}/old.raw"), b"precious")

    def test_f06_a_create_beyond_the_size_limit_says_so(self):
        self.too_large("create", "-q", "-f", "raw", "u", "64M")
        self.assertEqual(self.left(), [])

    def test_f06_preallocation_beyond_the_size_limit_says_so(self):
        self.too_large("create", "-q", "-f", "qcow2", "-o",
                       "preallocation=full", "u", "8M")
        self.assertEqual(self.left(), [])

    def test_t6_a_write_beyond_the_size_limit_is_efbig(self):
        path = images.make(f"{self.here}/u")
        self.too_large("io", "-c", "write 0 4M", path)
        self.assertEqual(self.ours("check", path).status % 3, 0)

    def test_t6_a_raw_resize_beyond_the_size_limit_is_efbig(self):
        path = targets.write(f"{self.here}/u", bytes(4096))
        self.too_large("resize", "-f", "raw", path, "8M")

    def test_t6_a_snapshot_beyond_the_size_limit_is_efbig(self):
        path = images.make(f"{self.here}/u", "-o", "preallocation=full",
                           size="2M")
        before = read(path)
        done = self.ours("snapshot", "-c", "x", path,
                         preexec_fn=limited(1 << 20))
        self.assertEqual(done.status, 1, done.err)
        self.assertTrue(self.ours("check", path).status in (0, 3))
        self.assertEqual(len(before) > 1 << 20, True)

    # SIGKILL, SIGTERM and the others.

    def ended(self, sig, *args):
        """Ends a job that has begun to write."""
        job = self.start(*args, stderr=subprocess.DEVNULL)
        time.sleep(0.15)
        self.assertIsNone(job.poll(), "the job has ended already")
        job.send_signal(sig)
        return job.wait(timeout=60)

    def slow(self, name, fmt="raw"):
        return ["convert", "-r", "1M", "-O", fmt, f"{self.dir}/s", name]

    def test_f06_a_killed_convert_leaves_nothing(self):
        for _ in range(3):
            self.ended(signal.SIGKILL, *self.slow("v"))
        self.assertEqual(self.left(), [])

    def test_f06_a_killed_convert_to_qcow2_leaves_nothing(self):
        for _ in range(3):
            self.ended(signal.SIGKILL, *self.slow("v", "qcow2"))
        self.assertEqual(self.left(), [])

    def test_f06_a_killed_convert_leaves_the_target_that_stood_there(self):
        targets.call("cp", "old.raw", self.here)
        for _ in range(3):
            self.ended(signal.SIGKILL, *self.slow("old.raw"))
        self.assertEqual(read(f"{self.here}/old.raw"), b"precious")
        self.assertEqual(self.left(), ["old.raw"])

    def test_f06_the_run_after_a_kill_takes_away_what_it_left(self):
        """On a file system that cannot avoid leftovers, the next run tidies
        up."""
        for _ in range(3):
            self.ended(signal.SIGKILL, *self.slow("v"))
        done = self.ours(*self.words, "v", cwd=self.here)
        self.assertEqual(done.status, 0, done.err)
        self.assertEqual(self.left(), ["v"])

    def test_f06_a_file_in_use_by_another_convert_is_not_taken_away(self):
        first = self.start("convert", "-r", "2M", "-O", "raw",
                           f"{self.dir}/s", "v")
        time.sleep(0.1)
        done = self.ours("convert", "-O", "raw", f"{self.dir}/small", "w",
                         cwd=self.here)
        self.assertEqual(done.status, 0, done.err)
        self.assertEqual(first.wait(timeout=60), 0)
        self.assertEqual(self.left(), ["v", "w"])
        self.assertTrue(read(f"{self.here}/v") == self.disk)

    def test_f06_signals_that_end_a_convert_leave_nothing(self):
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP,
                    signal.SIGQUIT, signal.SIGALRM, signal.SIGUSR2):
            with self.subTest(sig=sig):
                self.assertNotEqual(self.ended(sig, *self.slow("v")), 0)
                self.assertEqual(self.left(), [])

    def test_f06_a_killed_compressed_convert_leaves_nothing(self):
        self.ended(signal.SIGKILL, "convert", "-c", "-r", "1M", "-O",
                   "qcow2", f"{self.dir}/s", "v")
        self.assertEqual(self.left(), [])

    def test_f06_a_killed_create_leaves_nothing(self):
        job = self.start("create", "-q", "-f", "qcow2", "-o",
                         "preallocation=full", "v", "1G")
        time.sleep(0.05)
        if job.poll() is None:
            job.kill()
            job.wait(timeout=60)
            self.assertIn(self.left(), [[], ["v"]])
        done = self.ours("create", "-q", "-f", "qcow2", "v", "1M",
                         cwd=self.here)
        self.assertEqual(done.status, 0, done.err)
        self.assertEqual(self.left(), ["v"])

    def test_f06_a_killed_io_leaves_a_disk_that_is_read(self):
        path = images.make(f"{self.here}/u", size="64M")
        commands = [w for i in range(2000)
                    for w in ("-c", f"write -P {i % 255} {i % 1000 * 64}k 4k")]
        job = self.start("io", "-c", "write -P 3 0 64k", "-c", "flush",
                         *commands[:1000], path, stdout=subprocess.DEVNULL)
        time.sleep(0.05)
        job.kill()
        job.wait(timeout=60)
        self.assertIn(self.ours("check", path).status, (0, 3))
        self.assertEqual(self.left(), ["u"])


if __name__ == "__main__":
    main()
