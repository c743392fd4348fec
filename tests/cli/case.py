"""The common parts of the tests of the command.

Each test program gets the path of the command as its argument and works in a
directory of its own.  `ours` runs the command under its own name, `drop_in`
under the name qemu-img, `theirs` the qemu-img of the system.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "support"))
import sample  # noqa: E402  pylint: disable=wrong-import-position

SKIP = 77
QEMU_IMG = shutil.which("qemu-img")
QEMU_IO = shutil.which("qemu-io")
TIMEOUT = 60
# Looking for leaks does not go together with being traced.
UNDER_STRACE = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")


class Result:
    """Exit status and output of a command, as bytes and as text."""

    def __init__(self, done):
        self.status = done.returncode
        self.raw = done.stdout
        self.out = done.stdout.decode(errors="replace")
        self.err = done.stderr.decode(errors="replace")

    def json(self):
        return json.loads(self.out)


def run(program, *args, **more):
    env = dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC-3")
    return Result(subprocess.run([program, *args], capture_output=True,
                                 env=env, timeout=TIMEOUT, check=False,
                                 stdin=subprocess.DEVNULL, **more))


def catches(pid, sig):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        caught = [line for line in f if line.startswith("SigCgt")][0]
    return int(caught.split()[1], 16) >> (sig - 1) & 1


def wait_until_caught(pid, sig):
    """Waits until the signal that was sent has been taken."""
    mask = 1 << (sig - 1)
    pending = mask
    while pending & mask:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            fields = dict(line.split(":", 1) for line in f)
        pending = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)


def drain(reader):
    while os.read(reader, 65536):
        pass
    os.close(reader)


class Case(unittest.TestCase):
    maxDiff = None
    program = None

    @classmethod
    def setUpClass(cls):
        cls.home = os.getcwd()
        cls.dir = tempfile.mkdtemp(prefix="qcow2-cli-")
        os.chdir(cls.dir)
        os.mkdir("bin")
        os.symlink(cls.program, "bin/qcow2")
        os.symlink(cls.program, "bin/qemu-img")
        os.symlink(cls.program, "bin/qemu-io")
        cls.prepare()

    @classmethod
    def prepare(cls):
        """Makes the files that all tests of the class read."""

    @classmethod
    def tearDownClass(cls):
        os.chdir(cls.home)
        shutil.rmtree(cls.dir)

    def ours(self, *args, **more):
        return run(f"{self.dir}/bin/qcow2", *args, **more)

    def drop_in(self, *args, **more):
        return run(f"{self.dir}/bin/qemu-img", *args, **more)

    def theirs(self, *args, **more):
        return run(QEMU_IMG, *args, **more)

    def start_blocked(self, *args, **more):
        """Starts our command with --json-progress to a full pipe: the job
        stands still at its first report.  Returns it, once it catches
        SIGUSR1, and the end of the pipe that lets it go on when read."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b" " * 512)
        except BlockingIOError:
            os.set_blocking(writer, True)
        job = subprocess.Popen(
            [f"{self.dir}/bin/qcow2", *args, "--json-progress", str(writer)],
            pass_fds=[writer], **more)
        os.close(writer)
        while not catches(job.pid, signal.SIGUSR1):
            time.sleep(0.001)
        return job, reader

    def assert_same(self, *args):
        """The drop-in prints to standard output, and exits, as qemu-img."""
        expected = self.theirs(*args)
        got = self.drop_in(*args)
        self.assertEqual((expected.status, expected.out),
                         (got.status, got.out),
                         f"{args}\ntheirs: {expected.err}\nours: {got.err}")
        return got

    def assert_refused(self, result, *words, status=1):
        """The command failed, printed nothing, and said why in one line that
        begins with its name."""
        self.assertEqual(result.status, status, result.err)
        self.assertEqual(result.out, "")
        self.assertRegex(result.err, r"^(qcow2|qemu-img): ")
        for word in words:
            self.assertIn(word, result.err)


class Loader(unittest.TestLoader):
    """Runs take all functions, unless they take smaller samples than is
    usual; then a part of each class."""

    def __init__(self):
        super().__init__()
        self.sample = sample.Sample()
        self.sample.share = max(self.sample.share // sample.SHARE, 1)

    def getTestCaseNames(self, testCaseClass):
        names = super().getTestCaseNames(testCaseClass)
        return names if self.sample.share == 1 else self.sample.of(names)


def main(needs_qemu=True):
    if needs_qemu and not (QEMU_IMG and QEMU_IO):
        print("qemu-img is not installed")
        sys.exit(SKIP)
    Case.program = os.path.abspath(sys.argv.pop(1))
    loader = Loader()
    if loader.sample.share > 1:
        print(f"TEST_SEED={loader.sample.seed}, one function in "
              f"{loader.sample.share}", flush=True)
    unittest.main(verbosity=1, testLoader=loader)
