"""`convert` writes the same as qemu-img, and takes its options."""

import filecmp
import os
import pty
import shutil
import signal
import subprocess
import time
import unittest

import case
import images


class Convert(case.Case):
    @classmethod
    def prepare(cls):
        cls.good = [n for n in images.make_plain() if n != "large.qcow2"]
        cls.good += (images.make_snapshots() + images.make_data_files() +
                     images.make_chains())
        images.make_raw()

    def assert_converts(self, *args):
        """Both tools write the same bytes and as many blocks or fewer."""
        theirs = self.theirs("convert", "-O", "raw", *args, "theirs.raw")
        ours = self.drop_in("convert", "-O", "raw", *args, "ours.raw")
        self.assertEqual((ours.status, ours.out), (0, ""), ours.err)
        self.assertEqual(theirs.status, 0, theirs.err)
        self.assertTrue(filecmp.cmp("theirs.raw", "ours.raw", shallow=False))

    def test_every_image_converts_to_the_same_bytes(self):
        for name in self.good:
            with self.subTest(name):
                self.assert_converts(name)

    def test_a_snapshot_is_found_by_id_by_name_and_by_both(self):
        for param in ["1", "one", "snapshot.id=1", "snapshot.name=one",
                      "snapshot.id=1,snapshot.name=one",
                      "a name that is longer than its column"]:
            with self.subTest(param):
                self.assert_converts("-l", param, "snap.qcow2")

    def test_an_unknown_snapshot_is_refused(self):
        for param in ["3", "two", "snapshot.id=one", "snapshot.name=1",
                      "snapshot.id=2,snapshot.name=one", "snapshot.key=1",
                      "snapshot.id", ""]:
            with self.subTest(param):
                self.assert_refused(self.ours(
                    "convert", "-l", param, "snap.qcow2", "x.raw"))
                self.assertFalse(os.path.exists("x.raw"))
        self.assert_refused(self.ours("convert", "-l", "1", "base.raw",
                                      "x.raw"))

    def test_harmless_options_are_accepted(self):
        for options in [["-W"], ["-m", "3"], ["-m", "16"], ["-S", "64k"],
                        ["-t", "none"], ["-t", "unsafe"], ["-T", "none"],
                        ["-T", "writeback"], ["-f", "qcow2"], ["-U"],
                        ["-t", "writethrough"], ["-q", "-p"]]:
            with self.subTest(options):
                self.assert_converts(*options, "mixed.qcow2")

    def test_sparse_size_zero_writes_everything(self):
        self.ours("convert", "-S", "0", "mixed.qcow2", "all.raw")
        self.assertGreaterEqual(os.stat("all.raw").st_blocks * 512, 4 << 20)
        self.ours("convert", "mixed.qcow2", "some.raw")
        self.assertLess(os.stat("some.raw").st_blocks * 512, 2 << 20)
        self.assertTrue(filecmp.cmp("all.raw", "some.raw", shallow=False))

    def test_what_is_not_there_yet_is_refused_by_name(self):
        for options in [["-O", "vmdk"], ["--bitmaps"], ["--salvage"],
                        ["--image-opts"], ["--target-image-opts"],
                        ["--object", "secret,id=x"]]:
            with self.subTest(options):
                self.assert_refused(
                    self.ours("convert", *options, "mixed.qcow2", "no.raw"),
                    options[0], "version")
        self.assertFalse(os.path.exists("no.raw"))

    def test_several_sources_become_one_disk(self):
        with open("odd.raw", "wb") as f:
            f.write(b"odd" * 333)
        sources = ["odd.raw", "mixed.qcow2", "base.raw", "on-raw.qcow2"]
        self.assert_converts(*sources)
        for options in [[], ["-c"], ["-S", "0"]]:
            with self.subTest(options):
                done = self.ours("convert", "-O", "qcow2", *options, *sources,
                                 "x.qcow2")
                self.assertEqual(done.status, 0, done.err)
                self.compare_with_theirs("x.qcow2", "theirs.raw")
        made = self.ours("convert", "--output", "json", *sources,
                         "x.raw").json()
        self.assertEqual(made["sources"], sources)

    def test_several_sources_have_no_common_backing_file_or_snapshot(self):
        for options, word in [(["-l", "1"], "-l"),
                              (["-B", "base.raw", "-F", "raw"], "-B")]:
            self.assert_refused(
                self.ours("convert", "-O", "qcow2", *options, "snap.qcow2",
                          "mixed.qcow2", "y.qcow2"), word)

    def existing(self, fmt):
        """Two equal images with old contents, ours and theirs."""
        images.make("old.qcow2", size="6M", io=["write -P 9 0 6M"])
        for name in ["ours.img", "theirs.img"]:
            self.theirs("convert", "-O", fmt, "old.qcow2", name)

    def test_an_existing_target_gets_what_qemu_img_gives_it(self):
        for fmt in ["raw", "qcow2"]:
            for options in [[], ["-S", "0"], ["--target-is-zero"],
                            ["-m", "1"]]:
                with self.subTest(fmt=fmt, options=options):
                    self.existing(fmt)
                    inode = os.stat("ours.img").st_ino
                    args = ["convert", "-n", "-O", fmt, *options,
                            "mixed.qcow2"]
                    done = self.ours(*args, "ours.img")
                    self.assertEqual(done.status, 0, done.err)
                    self.assertEqual(
                        self.theirs(*args, "theirs.img").status, 0)
                    self.assertEqual(os.stat("ours.img").st_ino, inode)
                    self.assertEqual(self.theirs(
                        "compare", "-f", fmt, "-F", fmt, "theirs.img",
                        "ours.img").status, 0)
                    if fmt == "qcow2":
                        self.compare_with_theirs("ours.img", "theirs.img")

    def test_an_existing_target_keeps_its_backing_file(self):
        for name in ["ours.img", "theirs.img"]:
            images.make(name, "-b", "base.raw", "-F", "raw",
                        io=["write -P 9 1M 2M"])
            tool = self.ours if name == "ours.img" else self.theirs
            done = tool("convert", "-n", "-O", "qcow2", "-B", "base.raw", "-F",
                        "raw", "on-raw.qcow2", name)
            self.assertEqual(done.status, 0, done.err)
        self.compare_with_theirs("ours.img", "theirs.img")
        self.assert_refused(self.ours(
            "convert", "-n", "-O", "qcow2", "-B", "mixed.qcow2", "-F", "qcow2",
            "on-raw.qcow2", "ours.img"), "not the backing file")
        self.assert_refused(self.ours(
            "convert", "-n", "-O", "qcow2", "--target-is-zero",
            "on-raw.qcow2", "ours.img"), "zero")

    def test_an_existing_target_may_have_no_backing_file(self):
        """S3: -B then leaves nothing out; the target tells the backing
        format."""
        images.make("none.img")
        images.make("over.img", "-b", "base.raw", "-F", "raw")
        for name in "none.img", "over.img":
            done = self.ours("convert", "-n", "-O", "qcow2", "-B", "base.raw",
                             "on-raw.qcow2", name)
            self.assertEqual(done.status, 0, done.err)
            self.assertEqual(self.drop_in("compare", "on-raw.qcow2",
                                          name).status, 0)

    def test_an_existing_target_must_be_there_and_large_enough(self):
        self.assert_refused(self.ours("convert", "-n", "mixed.qcow2",
                                      "gone.raw"), "gone.raw")
        with open("small.raw", "wb") as f:
            f.truncate(1 << 20)
        self.assert_refused(self.ours("convert", "-n", "mixed.qcow2",
                                      "small.raw"), "smaller than input")
        self.assert_refused(self.ours("convert", "--target-is-zero",
                                      "mixed.qcow2", "y.raw"), "-n")
        self.assert_refused(self.ours(
            "convert", "-n", "-O", "qcow2", "-o", "cluster_size=4k",
            "mixed.qcow2", "ours.img"), "-o")

    def test_a_data_file_that_is_read_is_not_written(self):
        images.make("with-data.qcow2", "-o", "data_file=read.raw")
        before = os.stat("read.raw")
        for target in [["new.qcow2", "-o", "data_file=read.raw"],
                       ["read.raw"]]:
            with self.subTest(target):
                self.assert_refused(self.ours(
                    "convert", "-U", "-O", "qcow2", *target[1:],
                    "with-data.qcow2", target[0]), "this very file")
        self.assertEqual(os.stat("read.raw").st_ino, before.st_ino)

    def test_the_rate_is_kept(self):
        start = time.monotonic()
        self.assertEqual(self.ours("convert", "-r", "2M",
                                   "mixed.qcow2", "slow.raw").status, 0)
        self.assertGreaterEqual(time.monotonic() - start, 0.45)

    def test_fast_levels_are_read_by_qemu_img(self):
        for level in ["fast", "fast2", "fast3"]:
            done = self.ours("convert", "-O", "qcow2", "-c",
                             "--compress-level", level, "mixed.qcow2",
                             "x.qcow2")
            if "ISA-L" in done.err:
                self.skipTest("built without ISA-L")
            self.assertEqual(done.status, 0, done.err)
            self.compare_with_theirs("x.qcow2")

    def compare_with_theirs(self, target, source="mixed.qcow2"):
        self.assertEqual(self.theirs("check", target).status, 0)
        self.assertEqual(self.theirs("compare", source, target).status, 0)

    def test_qcow2_targets_read_as_the_source(self):
        for options in [[], ["-S", "0"], ["-W", "-m", "2"], ["-c"],
                        ["-c", "--compress-level", "9"],
                        ["-c", "-o", "compression_type=zstd"],
                        ["-o", "cluster_size=4k"], ["-o", "compat=0.10"],
                        ["-o", "extended_l2=on,cluster_size=128k"],
                        ["-o", "preallocation=metadata"]]:
            with self.subTest(options):
                done = self.ours("convert", "-O", "qcow2", *options,
                                 "mixed.qcow2", "x.qcow2")
                self.assertEqual(done.status, 0, done.err)
                self.compare_with_theirs("x.qcow2")

    def test_qcow2_targets_do_not_depend_on_the_number_of_threads(self):
        for options in [[], ["-c"], ["-o", "cluster_size=512"]]:
            made = set()
            for n in ["1", "2", "4", "8"]:
                done = self.ours("convert", "-O", "qcow2", "-m", n, *options,
                                 "mixed.qcow2", "x.qcow2")
                self.assertEqual(done.status, 0, done.err)
                with open("x.qcow2", "rb") as f:
                    made.add(f.read())
            self.assertEqual(len(made), 1, options)

    def test_what_the_backing_file_has_stays_there(self):
        for base, fmt in [("base.raw", "raw"), ("mixed.qcow2", "qcow2")]:
            for options in [[], ["-c"], ["-o", "compat=0.10"]]:
                with self.subTest(base=base, options=options):
                    done = self.ours("convert", "-O", "qcow2", "-B", base,
                                     "-F", fmt, *options, "on-raw.qcow2",
                                     "x.qcow2")
                    self.assertEqual(done.status, 0, done.err)
                    self.compare_with_theirs("x.qcow2", "on-raw.qcow2")

    def test_options_of_qcow2_targets_are_checked(self):
        for options, word in [(["-c"], "-c"), (["-o", "compat=v3"], "-o"),
                              (["-B", "base.raw"], "-B"), (["-F", "raw"], "-F"),
                              (["--compress-level", "3"], "--compress-level"),
                              (["-O", "qcow2", "-B", "base.raw"], "format"),
                              (["-O", "qcow2", "-n"], "y.qcow2"),
                              (["-O", "qcow2", "-U", "-F", "raw", "-B",
                                "y.qcow2"], "itself"),
                              (["-O", "qcow2", "-o", "x=1"], "x"),
                              (["-O", "qcow2", "-c", "-o", "data_file=d"],
                               "data file"),
                              (["-O", "qcow2", "-c", "--compress-level", "10"],
                               "level")]:
            with self.subTest(options):
                self.assert_refused(self.ours("convert", *options,
                                              "mixed.qcow2", "y.qcow2"), word)
                self.assertFalse(os.path.exists("y.qcow2"))

    def test_the_options_of_a_target_are_listed_without_one(self):
        for operands in [[], ["nofile", "y.qcow2"]]:
            done = self.drop_in("convert", "-O", "qcow2", "-o", "help",
                                *operands)
            self.assertEqual(done.status, 0, done.err)
            self.assertIn("cluster_size=", done.out)
        self.assertFalse(os.path.exists("y.qcow2"))
        for operands in [[], ["mixed.qcow2"]]:
            self.assert_refused(self.ours("convert", *operands), "convert",
                                "operand")

    def test_compressed_clusters_do_not_go_with_preallocation(self):
        for mode in ["metadata", "falloc", "full"]:
            args = ["convert", "-c", "-O", "qcow2", "-o",
                    f"preallocation={mode}", "mixed.qcow2", "y.qcow2"]
            self.assert_refused(self.theirs(*args), "at the same time")
            self.assert_refused(self.ours(*args), "at the same time")
            self.assertFalse(os.path.exists("y.qcow2"))

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_an_unsafe_target_is_never_flushed(self):
        for mode in ["unsafe", "writeback"]:
            self.existing("qcow2")
            subprocess.run(
                ["strace", "-f", "-qq", "-o", "trace", "-e",
                 "trace=fdatasync,fsync,sync_file_range",
                 f"{self.dir}/bin/qcow2", "convert", "-n", "-t", mode, "-O",
                 "qcow2", "mixed.qcow2", "ours.img"], check=True,
                env=case.UNDER_STRACE)
            with open("trace", encoding="ascii") as f:
                self.assertEqual("sync" in f.read(), mode == "writeback")
            self.assertEqual(self.theirs("check", "ours.img").status, 0)

    def test_bad_values_are_refused(self):
        for options in [["-S", "1000"], ["-S", "32M"], ["-S", "x"],
                        ["-m", "0"], ["-m", "257"], ["-m", "x"],
                        ["-t", "x"], ["-T", "x"], ["-f", "x"],
                        ["--json-progress", "99"], ["--json-progress", "x"],
                        ["--output", "xml"], ["--external", "some"]]:
            with self.subTest(options):
                self.assert_refused(
                    self.ours("convert", *options, "mixed.qcow2", "x.raw"),
                    options[0])

    def test_a_file_that_is_read_is_not_overwritten(self):
        os.link("base.raw", "link.raw")
        for source, target in [("mixed.qcow2", "mixed.qcow2"),
                               ("mixed.qcow2", "./sub/../mixed.qcow2"),
                               ("on-qcow2.qcow2", "on-raw.qcow2"),
                               ("on-qcow2.qcow2", "base.raw"),
                               ("on-qcow2.qcow2", "link.raw"),
                               ("data.qcow2", "data.raw")]:
            with self.subTest(source=source, target=target):
                before = images.Header(target).bytes
                for options in [[], ["-U"]]:
                    self.assert_refused(self.ours("convert", *options,
                                                  source, target))
                    self.assertEqual(before, images.Header(target).bytes)

    def test_a_failure_leaves_the_target(self):
        h = images.Header("plain.qcow2")
        h.put(">Q", h.l2 + 8, h.get(">Q", h.l2 + 8) + 512)
        h.save("unaligned.qcow2")
        with open("kept.raw", "w", encoding="ascii") as f:
            f.write("precious")
        before = sorted(os.listdir("."))
        self.assert_refused(self.ours("convert", "unaligned.qcow2",
                                      "kept.raw"))
        with open("kept.raw", encoding="ascii") as f:
            self.assertEqual(f.read(), "precious")
        self.assertEqual(before, sorted(os.listdir(".")))

    def test_json_tells_what_was_made(self):
        made = self.ours("convert", "--output", "json", "mixed.qcow2",
                         "j.raw").json()
        self.assertEqual(made, {"source": "mixed.qcow2", "filename": "j.raw",
                                "format": "raw", "virtual-size": 4 << 20,
                                "written": "new"})


class Progress(case.Case):
    @classmethod
    def prepare(cls):
        images.make("big.qcow2", size="64M", io=["write -P 1 0 64M"])

    def convert_with_progress(self, *args):
        """The progress lines, parsed."""
        reader, writer = os.pipe()
        with os.fdopen(reader) as lines:
            result = self.ours("convert", "--json-progress", str(writer),
                               *args, pass_fds=[writer])
            os.close(writer)
            return result, [case.json.loads(line) for line in lines]

    def test_json_progress_is_one_object_a_line(self):
        result, events = self.convert_with_progress("big.qcow2", "x.raw")
        self.assertEqual(result.status, 0)
        self.assertEqual(events[-1], {"event": "end", "job": "convert",
                                      "success": True, "error": None})
        done = [e["done"] for e in events[:-1]]
        self.assertEqual(done, sorted(set(done)))
        self.assertEqual(events[-2]["done"], 64 << 20)
        self.assertEqual(events[-2]["percent"], 100)
        for event in events[:-1]:
            self.assertEqual(event["total"], 64 << 20)

    def test_json_progress_tells_failures(self):
        result, events = self.convert_with_progress("big.qcow2", "no/x.raw")
        self.assertEqual(result.status, 1)
        self.assertFalse(events[-1]["success"])
        self.assertIn("No such file", events[-1]["error"])

    def test_a_reader_that_went_away_stops_nothing(self):
        reader, writer = os.pipe()
        os.close(reader)
        result = self.ours("convert", "--json-progress", str(writer),
                           "big.qcow2", "y.raw", pass_fds=[writer])
        os.close(writer)
        self.assertEqual(result.status, 0, result.err)

    def test_p_prints_percentages(self):
        out = self.ours("convert", "-p", "big.qcow2", "z.raw").out
        self.assertRegex(out, r"^(    \(\d+\.\d\d/100%\)\r)+\n$")
        self.assertTrue(out.startswith("    (0.00/100%)\r"))
        self.assertTrue(out.endswith("    (100.00/100%)\r\n"))

    def test_a_terminal_gets_a_bar_that_goes_away(self):
        master, terminal = pty.openpty()
        for program, options, expected in [
                ("qcow2", [], rb"convert \[#{40}\] 100\.0 %\r\x1b\[K$"),
                ("qcow2", ["-q"], rb"^$"), ("qemu-img", [], rb"^$")]:
            with self.subTest(program=program, options=options):
                subprocess.run([f"{self.dir}/bin/{program}", "convert",
                                *options, "big.qcow2", "t.raw"], check=True,
                               stderr=terminal)
                os.write(terminal, b"!")  # ends the output to read
                drawn = b""
                while not drawn.endswith(b"!"):
                    drawn += os.read(master, 65536)
                self.assertRegex(drawn[:-1], expected)
        os.close(master)
        os.close(terminal)

    def test_a_signal_leaves_no_traces(self):
        with open("kept.raw", "w", encoding="ascii") as f:
            f.write("precious")
        before = sorted(os.listdir("."))
        # Under nohup it is ignored, and the command rightly leaves it so.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        for sig in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]:
            with self.subTest(sig):
                job, reader = self.start_blocked(
                    "convert", "big.qcow2", "kept.raw",
                    stderr=subprocess.PIPE)
                job.send_signal(sig)
                # As timeout(1) does: to its child, and to the group.  The
                # second one killed the command while it cleaned up.
                case.wait_until_caught(job.pid, sig)
                job.send_signal(sig)
                case.drain(reader)
                self.assertIn(b"interrupted", job.communicate()[1])
                self.assertEqual(job.returncode, -sig)
                with open("kept.raw", encoding="ascii") as f:
                    self.assertEqual(f.read(), "precious")
                self.assertEqual(before, sorted(os.listdir(".")))

    def test_who_insists_is_obeyed(self):
        job, reader = self.start_blocked("convert", "big.qcow2", "i.raw")
        deadline = time.monotonic() + 30
        while job.poll() is None and time.monotonic() < deadline:
            job.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        os.close(reader)
        self.assertEqual(job.wait(), -signal.SIGTERM)

    def test_usr1_asks_for_a_line(self):
        job, reader = self.start_blocked("convert", "big.qcow2", "u.raw",
                                         stderr=subprocess.PIPE)
        job.send_signal(signal.SIGUSR1)
        case.drain(reader)
        self.assertRegex(job.communicate()[1].decode(),
                         r"^    \(\d+\.\d\d/100%\)\n$")
        self.assertEqual(job.returncode, 0)

    def test_closed_descriptors_do_not_become_files(self):
        def close_all():
            for fd in range(3):
                os.close(fd)

        job, reader = self.start_blocked("convert", "big.qcow2", "c.raw",
                                         preexec_fn=close_all)
        held = [os.readlink(f"/proc/{job.pid}/fd/{fd}") for fd in range(3)]
        case.drain(reader)
        self.assertEqual(job.wait(), 0)
        self.assertEqual(held, ["/dev/null"] * 3)


if __name__ == "__main__":
    case.main()
