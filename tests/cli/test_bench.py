"""`bench` makes the requests that it was asked for and says how they went;
under the name qemu-img it prints that program's lines."""

import os
import re
import unittest

import case

DONE = re.compile(r"\nRun completed in [0-9]+\.[0-9]{3} seconds\.\n$")


class Bench(case.Case):
    def setUp(self):
        self.assertEqual(self.ours("create", "-q", "-f", "qcow2", "a.qcow2",
                                   "8M").status, 0)

    def bench(self, *args):
        done = self.ours("bench", "--output=json", *args, "a.qcow2")
        self.assertEqual(done.status, 0, done.err)
        return done.json()

    def read(self, *patterns):
        """Checks bytes of the disk: pairs of a pattern and a range."""
        for pattern, where in patterns:
            done = self.ours("io", "-r", "-c", f"read -P {pattern} {where}",
                             "a.qcow2")
            self.assertEqual(done.status, 0, done.out)

    def test_requests_are_counted_in_every_way(self):
        for args in ([], ["-i", "threads"], ["--no-ring", "--workers", "0"],
                     ["--queues", "3"], ["--random"], ["-n", "-t", "none"],
                     ["-t", "writethrough"], ["-t", "unsafe"]):
            with self.subTest(args):
                said = self.bench("-w", "-c", "100", "-d", "5", *args)
                self.assertEqual(said["requests"], 100)
                self.assertEqual(sum(said["ways"].values()), 100)
                self.assertEqual(said["request-bytes"], 4096)

    def test_threads_do_not_use_the_ring(self):
        said = self.bench("-w", "-c", "50", "-i", "threads")
        self.assertEqual(said["ways"]["io_uring"], 0)
        self.assertEqual(said["ways"]["blocking"], 0)
        said = self.bench("-w", "-c", "50", "--no-ring", "--workers", "0",
                          "-o", "4M")
        self.assertGreater(said["ways"]["blocking"], 0)
        self.assertEqual(said["ways"]["workers"], 0)

    def test_writes_go_to_their_places(self):
        self.bench("-w", "-c", "3", "-s", "64k", "-S", "128k", "-o", "4k",
                   "--pattern", "7", "-d", "2")
        self.read((0, "0 4k"), (7, "4k 64k"), (0, "68k 64k"), (7, "132k 64k"),
                  (7, "260k 64k"), (0, "324k 1M"))
        self.assertEqual(self.ours("check", "a.qcow2").status, 0)

    def test_the_end_of_the_disk_wraps_around(self):
        self.bench("-w", "-c", "3", "-s", "4M", "-o", "4M", "--pattern", "9",
                   "-d", "1")
        self.read((9, "0 8M"))

    def test_reading_changes_nothing(self):
        with open("a.qcow2", "rb") as f:
            before = f.read()
        os.chmod("a.qcow2", 0o444)
        self.assertEqual(self.bench("-c", "20")["requests"], 20)
        with open("a.qcow2", "rb") as f:
            self.assertEqual(f.read(), before)
        os.chmod("a.qcow2", 0o644)

    def test_flushes_come_after_so_many(self):
        for drain in [], ["--no-drain"]:
            said = self.bench("-w", "-c", "40", "-d", "4",
                              "--flush-interval=8", *drain)
            self.assertEqual(said["requests"], 40)
            self.assertGreaterEqual(said["flushes"], 3)
            self.assertLessEqual(said["flushes"], 5)

    def test_time_ends_it(self):
        said = self.bench("--time", "1", "-d", "2")
        self.assertGreater(said["requests"], 0)
        self.assertGreaterEqual(said["wall-ns"], 10 ** 9)

    def test_latencies_are_in_order(self):
        said = self.bench("-c", "500")["latency-ns"]
        self.assertEqual(list(said.values()), sorted(said.values()))
        self.assertGreater(said["max"], 0)

    def test_people_get_the_same(self):
        out = self.ours("bench", "-c", "10", "a.qcow2").out
        self.assertRegex(out, r"\n10 requests, \d+ requests/s, \S+ \S+/s\n"
                              r"latency: 50% .* max [0-9.]+ us\nways: .*\n"
                              r"processor time: .*\n$")
        self.assertEqual(self.ours("bench", "-qc", "10", "a.qcow2").out, "")

    @unittest.skipUnless(case.QEMU_IMG, "qemu-img is not installed")
    def test_the_lines_are_qemu_imgs(self):
        for args in (["-c", "10"], ["-c", "9", "-d", "2", "-s", "512", "-S",
                                    "64k", "-o", "1k"],
                     ["-w", "-c", "8", "-d", "4", "--flush-interval=4"],
                     ["-c", "10", "-q"], ["-w", "-c", "5", "--pattern=3",
                                          "-t", "none"]):
            with self.subTest(args):
                ours, theirs = (
                    DONE.split(f("bench", "-f", "qcow2", *args,
                                 "a.qcow2").out)
                    for f in (self.drop_in, self.theirs))
                self.assertEqual(ours, theirs)
                self.assertEqual(len(ours), 2)

    def test_wrong_calls_are_refused(self):
        for args in (["-d", "0"], ["-d", "4096"], ["-s", "0"], ["-c", "x"],
                     ["--pattern=256", "-w"], ["-i", "fast"], ["-s", "9M"],
                     ["-o", "8M"], ["--flush-interval=64"], ["-w", "-U"],
                     ["-w", "--flush-interval=3", "-d", "4"], ["-t", "x"],
                     ["--read-percent", "50"], ["--queues", "65"],
                     ["-w", "--read-percent", "101"], ["--workers", "257"],
                     ["--no-ring", "--sqpoll"]):
            with self.subTest(args):
                self.assert_refused(self.ours("bench", *args, "a.qcow2"))
        self.assert_refused(self.ours("bench"), "image file name")
        self.assert_refused(self.ours("bench", "absent"), "absent")

    def test_a_mixture_reads_and_writes(self):
        self.assertEqual(self.bench("-w", "-c", "100", "--read-percent",
                                    "50")["requests"], 100)
        self.bench("-w", "-c", "10", "--read-percent", "100", "-o", "4M")
        self.read((0, "4M 1M"))


if __name__ == "__main__":
    case.main(needs_qemu=False)
