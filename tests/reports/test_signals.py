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
                                cwd=self.here, **more)

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

    def test_f06_a_create_whose_output_nobody_reads_makes_the_image(self):
        self.piped("create", "-f", "qcow2", "u", "1M")
        self.assertEqual(self.left(), ["u"])
        self.assertEqual(self.ours("check", f"{self.here}/u").status, 0)

    def test_f06_a_resize_whose_output_nobody_reads_is_done(self):
        targets.call("cp", "small", f"{self.here}/u")
        self.piped("resize", "u", "8M")
        size = self.ours("info", "--output=json", f"{self.here}/u")
        self.assertEqual(size.json()["virtual-size"], 8 << 20)

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
        self.assertIn("File too large", done.err)
        return done

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
