#!/usr/bin/env python3
"""S1 to S16: the experience of scripts written for qemu-img and qemu-io.

Usage: test_scripts.py COMMAND
"""

import os
import struct
import subprocess
import tempfile
import time

import low
import targets
from targets import images, read
from case import Case, QEMU_IO, main


class Scripts(Case):
    def setUp(self):
        self.here = tempfile.mkdtemp(dir=self.dir)
        os.chdir(self.here)

    def tearDown(self):
        os.chdir(self.dir)

    def assert_worked(self, done):
        self.assertEqual(done.status, 0, done.err)
        return done

    def io(self, path, *commands):
        return self.ours("io", *(w for c in commands for w in ("-c", c)),
                         path)

    def snapshotted(self, *options, io=("write -P 5 0 1M",)):
        images.make("a", *options, io=io)
        images.qemu_img("snapshot", "-c", "one", "a")

    # S1.

    def test_s1_version_2_is_refused_with_a_snapshot_of_another_size(self):
        images.make("a", size="128M")
        images.qemu_img("snapshot", "-c", "bar", "a")
        images.qemu_img("resize", "-f", "qcow2", "--shrink", "a", "64M")
        before = read("a")
        done = self.drop_in("amend", "-f", "qcow2", "-o", "compat=0.10", "a")
        self.assertEqual(done.status, 1)
        self.assertTrue(read("a") == before)
        self.assert_worked(self.theirs("snapshot", "-a", "bar", "a"))

    def test_s1_version_2_is_refused_with_a_vm_state_over_4_gib(self):
        self.snapshotted()
        image = images.Header("a")
        at = image.snapshot_table
        image.put(">I", at + 32, 0).put(">Q", at + 40, 5 << 30).save("a")
        before = read("a")
        done = self.drop_in("amend", "-f", "qcow2", "-o", "compat=0.10", "a")
        self.assertEqual(done.status, 1)
        self.assertTrue(read("a") == before)

    def test_s1_version_2_is_made_where_the_snapshots_have_the_disks_size(
            self):
        self.snapshotted()
        self.assert_worked(self.drop_in("amend", "-f", "qcow2", "-o",
                                        "compat=0.10", "a"))
        self.assert_worked(self.theirs("snapshot", "-a", "one", "a"))
        self.assert_worked(self.theirs("check", "a"))

    # S2.

    def status_as_qemu(self, *words, made=None):
        results = []
        for run in (self.theirs, self.drop_in):
            if made and os.path.exists(made):
                os.unlink(made)
            done = run(*words)
            results.append((done.status, bool(done.out),
                            bool(made and os.path.exists(made))))
            last = done
        self.assertEqual(results[1], results[0],
                         f"{words}: {last.out}{last.err}")
        return last

    def test_s2_two_commas_are_a_comma_in_a_value(self):
        targets.write("t,help", bytes(1 << 20))
        self.status_as_qemu("create", "-f", "qcow2", "-o",
                            "backing_file=t,,help,backing_fmt=raw", "o",
                            made="o")
        self.status_as_qemu("create", "-f", "qcow2", "-o",
                            "backing_file=t,,help", "-F", "raw", "o",
                            made="o")

    def test_s2_help_stands_anywhere_in_a_list_of_options(self):
        for options in ("help", "?", "help,cluster_size=4k",
                        "?,cluster_size=4k", "cluster_size=4k,help",
                        "cluster_size=4k,?"):
            with self.subTest(options=options):
                done = self.status_as_qemu("create", "-f", "qcow2", "-o",
                                           options, "o", "1M", made="o")
                self.assertIn("cluster_size", done.out)
                self.assertFalse(os.path.exists("o"))

    def test_s2_the_last_format_counts(self):
        self.status_as_qemu("create", "-q", "-f", "foo", "-f", "qcow2", "o",
                            "1M", made="o")
        self.assertEqual(read("o")[:4], b"QFI\xfb")
        self.status_as_qemu("convert", "-O", "foo", "-O", "raw", "o", "x",
                            made="x")
        self.status_as_qemu("info", "-f", "foo", "-f", "qcow2", "o")
        self.status_as_qemu("info", "-f", "qcow2", "-f", "foo", "o")
        self.status_as_qemu("map", "--output", "x", "--output", "json", "o")
        for words in (["check"], ["compare", "-F", "foo", "-F", "qcow2", "o"],
                      ["snapshot", "-c", "s"], ["resize", "-q"],
                      ["amend", "-t", "foo", "-t", "none", "-o",
                       "compat=1.1"], ["io", "-c", "read 0 512"]):
            with self.subTest(words=words):
                self.assert_worked(self.ours(
                    *words, "-f", "foo", "-f", "qcow2", "o",
                    *(["2M"] if words[0] == "resize" else [])))

    def test_s2_empty_parts_make_a_list_of_options_invalid(self):
        for options in ("cluster_size=4k,", "", ",help", ",", "help,",
                        ",cluster_size=4k", "cluster_size=4k,,"):
            with self.subTest(options=options):
                self.status_as_qemu("create", "-q", "-f", "qcow2", "-o",
                                    options, "o", "1M", made="o")

    def test_s2_empty_parts_are_invalid_for_convert_and_amend_too(self):
        images.make("a")
        for options in ("lazy_refcounts=on,", "", ",help"):
            with self.subTest(options=options):
                self.status_as_qemu("convert", "-O", "qcow2", "-o", options,
                                    "a", "o", made="o")
                self.status_as_qemu("amend", "-f", "qcow2", "-o", options,
                                    "a")

    def test_s2_options_of_a_format_that_nobody_has(self):
        self.status_as_qemu("convert", "-O", "nosuch", "-o", "help")
        done = self.drop_in("convert", "-O", "bochs", "-o", "help")
        self.assertEqual(done.status, 1)

    def test_s2_help_on_amend_wants_no_disk(self):
        self.status_as_qemu("amend", "-f", "qcow2", "-o", "help")
        self.status_as_qemu("amend", "-o", "help")

    def test_s2_several_lists_of_options_are_one(self):
        self.status_as_qemu("create", "-q", "-f", "qcow2", "-o",
                            "cluster_size=4k", "-o", "lazy_refcounts=on",
                            "o", "1M", made="o")
        info = self.ours("info", "--output=json", "o").json()
        self.assertEqual(info["cluster-size"], 4096)
        self.assertTrue(info["format-specific"]["data"]["lazy-refcounts"])

    # S3.

    def base(self):
        images.make("base", io=["write -P 1 0 1M"])
        images.make("s", "-b", "base", "-F", "qcow2",
                    io=["write -P 2 1M 64k"])

    def test_s3_convert_n_with_b_does_not_demand_a_format(self):
        self.base()
        images.make("o", "-b", "base", "-F", "qcow2")
        self.status_as_qemu("convert", "-n", "-O", "qcow2", "-B", "base", "s",
                            "o")
        self.assertEqual(self.ours("compare", "s", "o").status, 0)

    def test_s3_convert_n_with_b_takes_a_target_without_a_backing_file(self):
        self.base()
        images.make("t")
        images.make("o")
        words = ["convert", "-n", "-O", "qcow2", "-B", "base", "s"]
        theirs = self.theirs(*words, "t")
        ours = self.drop_in(*words, "o")
        self.assertEqual(ours.status, theirs.status, ours.err)
        self.assertEqual(self.ours("compare", "s", "o").status, 0)

    # S5.

    def test_s5_a_file_does_not_grow_with_what_is_discarded(self):
        images.make("a", "-o", "cluster_size=2M", size="64M")
        script = b"discard 0 2M\nwrite 0 512\n" * 1000
        subprocess.run([f"{self.dir}/bin/qemu-io", "-d", "unmap", "a"],
                       input=script, check=True, capture_output=True)
        self.assertLess(os.path.getsize("a"), 256 << 20)

    def test_s5_nor_with_what_is_written_over_compressed_clusters(self):
        images.make("a", size="64M")
        script = b"write -c -P 5 0 64k\nwrite -P 6 0 64k\ndiscard 0 64k\n"
        subprocess.run([f"{self.dir}/bin/qemu-io", "-d", "unmap", "a"],
                       input=script * 3000, check=True, capture_output=True)
        self.assertLess(os.path.getsize("a"), 96 << 20)

    # S6, S7.

    def blocks_as_qemu(self, script, *options, write="write -P 5 0 4k",
                       base=None):
        """Our file takes no more space than QEMU's after the same."""
        sizes = []
        for name, run in (("t", self.theirs_io), ("o", self.ours_io)):
            images.make(name, *options, size="64M",
                        io=[write] if write else [])
            if base is None:
                images.qemu_img("snapshot", "-c", "x", name)
            run(name, *script)
            done = self.theirs("map", "--output=json", name)
            sizes.append(sum(e["length"] for e in done.json()
                             if e["data"] and e["depth"] == 0))
        self.assertEqual(self.ours("compare", "t", "o").status, 0)
        return sizes

    def theirs_io(self, name, *commands):
        images.qemu_io(name, *commands)

    def ours_io(self, name, *commands):
        self.assert_worked(self.io(name, *commands))

    def test_s6_a_copy_allocates_only_subclusters_that_have_data(self):
        theirs, ours = self.blocks_as_qemu(
            ["write -P 6 8k 2k"], "-o", "extended_l2=on")
        self.assertLessEqual(ours, theirs)

    def test_s6_copy_on_read_allocates_only_subclusters_that_are_read(self):
        images.make("base", io=["write -P 5 0 4k"], size="64M")
        sizes = []
        for name, io in (("t", QEMU_IO), ("o", f"{self.dir}/bin/qemu-io")):
            images.make(name, "-b", "base", "-F", "qcow2", "-o",
                        "extended_l2=on")
            subprocess.run([io, "-C", "-c", "read 0 2k", name], check=True,
                           capture_output=True)
            done = self.theirs("map", "--output=json", name)
            sizes.append(sum(e["length"] for e in done.json()
                             if e["data"] and e["depth"] == 0))
        self.assertLessEqual(sizes[1], sizes[0])

    def test_s6_zeros_over_part_of_a_compressed_cluster(self):
        theirs, ours = self.blocks_as_qemu(
            ["write -z 4k 60k"], "-o", "extended_l2=on",
            write="write -c -P 5 0 64k")
        self.assertLessEqual(ours, theirs)

    def test_s7_zeros_in_a_cluster_that_reads_as_zeros_take_no_data(self):
        images.make("b", size="64M")
        for name in ("a", "t"):
            images.make(name, "-b", "b", "-F", "qcow2")
        self.assert_worked(self.io("a", "write -z 4k 4k"))
        images.qemu_io("t", "write -z 4k 4k")
        ours = self.ours("map", "--output=json", "a").json()
        self.assertFalse(any(e["data"] for e in ours), ours)

    def test_s7_zeros_beside_zeros_of_a_raw_backing_file(self):
        targets.call("truncate", "-s", "1M", "b")
        images.make("a", "-b", "b", "-F", "raw")
        self.assert_worked(self.io("a", "write -z 4k 4k"))
        ours = self.ours("map", "--output=json", "a").json()
        self.assertFalse(any(e["data"] and e["depth"] == 0 for e in ours))

    def test_s7_zeros_beside_data_keep_the_data(self):
        images.make("b", size="64M", io=["write -P 7 0 4k"])
        images.make("a", "-b", "b", "-F", "qcow2")
        self.assert_worked(self.io("a", "write -z 4k 4k"))
        self.assert_worked(self.io("a", "read -P 7 0 4k", "read -P 0 4k 60k"))

    # S8.

    def both_read(self, image):
        image.save("a")
        self.assert_worked(self.theirs("convert", "-O", "raw", "a", "x"))
        expected = read("x")
        self.assert_worked(self.ours("convert", "-O", "raw", "a", "x"))
        self.assertTrue(read("x") == expected)

    def named_by_check(self, word, path="a"):
        done = self.ours("check", path)
        self.assertIn(word, done.out + done.err)

    def test_s8_a_known_extension_twice(self):
        """The last one counts."""
        images.make("b", io=["write -P 7 0 4k"])
        images.make("s", "-b", "b", "-F", "qcow2")
        image = images.Header("s")
        at = images.find_extension(image, 0xe2792aca) - 8
        one = bytes(image.bytes[at:at + 16])
        wrong = one.replace(b"qcow2", b"rawww")
        name = image.get(">Q", 8)
        tail = bytes(image.bytes[at:name + 1])
        image.bytes[at:at + 16 + len(tail)] = wrong + tail
        image.put(">Q", 8, name + 16)
        self.both_read(image)
        self.named_by_check("extension")

    def test_s8_sectors_of_a_compressed_cluster_past_the_end(self):
        """Both read such a cluster, and neither counts it as an error."""
        images.make("s", io=["write -c -P 7 0 64k"])
        image = low.Low("s")
        entry = image.get(">Q", image.l2)
        x = 62 - (image.bits - 8)
        image.put(">Q", image.l2, entry | 0x40 << x)
        self.assertGreater((entry & (1 << x) - 1) + 64 * 512,
                           len(image.bytes))
        self.both_read(image)
        for run in self.ours, self.theirs:
            self.assert_worked(run("check", "a"))

    def test_s8_a_snapshot_table_past_the_end(self):
        self.snapshotted()
        image = images.Header("a").put(">Q", 64, 1 << 30)
        image.save("a")
        theirs = self.theirs("convert", "-O", "raw", "a", "x")
        if theirs.status:
            self.skipTest("qemu-img does not read it either")
        self.both_read(image)
        self.named_by_check("snapshot")

    # S9.

    def test_s9_more_references_than_refcounts_can_say(self):
        images.make("n", "-o", "refcount_bits=1", io=["write -P 5 0 64k",
                                                      "write -P 6 1M 64k"])
        image = low.Low("n")
        entry = image.get(">Q", image.l2)
        image.put(">Q", image.l2 + 8 * 16, entry)
        image.save("n")
        before = read("n")
        found = self.ours("check", "n")
        done = self.ours("check", "-r", "all", "n")
        if done.status == 0:
            self.assertEqual(self.ours("check", "n").status, 0)
            self.assert_worked(self.io("n", "read -P 5 0 64k",
                                       "read -P 5 1M 64k"))
        else:
            self.assertTrue(read("n") == before, "repaired a little")
            self.assertIn("refcount", done.out + done.err)
        self.assertEqual(found.status, 2)

    # S10.

    def refused_by_both(self, *opts, path="a"):
        images.make(path)
        text = ",".join(["driver=qcow2", f"file.filename={path}", *opts])
        theirs = subprocess.run([QEMU_IO, "--image-opts", "-c", "read 0 4k",
                                 text], capture_output=True, check=False)
        ours = self.ours("io", "--image-opts", "-c", "read 0 4k", text)
        self.assertEqual((ours.status, theirs.returncode), (1, 1),
                         f"{opts}: {ours.err}")

    def test_s10_overlap_check_twice(self):
        self.refused_by_both("overlap-check=all",
                             "overlap-check.template=constant")

    def test_s10_cache_sizes_that_cannot_be(self):
        for opts in (["cache-size=1M", "l2-cache-size=2M"],
                     ["cache-size=1M", "refcount-cache-size=2M"],
                     ["cache-size=1M", "l2-cache-size=1M",
                      "refcount-cache-size=1M"],
                     ["l2-cache-entry-size=300"],
                     ["l2-cache-entry-size=256"],
                     ["l2-cache-entry-size=1M"]):
            with self.subTest(opts=opts):
                self.refused_by_both(*opts)

    def test_s10_values_that_are_none(self):
        for opt in ("auto-read-only=perhaps", "read-only=perhaps",
                    "overlap-check=perhaps", "lazy-refcounts=perhaps",
                    "file.locking=perhaps", "nosuch=1"):
            with self.subTest(opt=opt):
                self.refused_by_both(opt)

    def test_s10_node_name_after_open(self):
        images.make("a")
        done = self.ours("io", "-c", "reopen -o node-name=x", "a")
        theirs = subprocess.run([QEMU_IO, "-c", "reopen -o node-name=x",
                                 "a"], capture_output=True, check=False)
        self.assertEqual(done.status, theirs.returncode, done.err)

    def test_s10_an_overlap_guard_that_cannot_be_built_stops_writes(self):
        self.snapshotted()
        image = images.Header("a")
        at = image.snapshot_table
        image.put(">Q", at, image.get(">Q", at) + 512).save("a")
        done = self.ours("io", "--image-opts", "-c", "write -P 7 2M 4k",
                         "driver=qcow2,file.filename=a,"
                         "overlap-check.inactive-l2=on")
        self.assertEqual(done.status, 1)
        self.assert_worked(self.ours("io", "-r", "-c", "read -P 5 0 1M",
                                     "-c", "read -P 0 2M 4k", "a"))

    # S12, S13, S14.

    def test_s12_a_kill_after_a_flush_leaks_little(self):
        """The claim ahead grows with the rate of writing."""
        images.make("a", size="64M")
        job = subprocess.Popen([f"{self.dir}/bin/qcow2", "io", "a"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        job.stdin.write(b"write 0 4k\nflush\nread 0 512\n")
        job.stdin.flush()
        seen = b""
        while b"read 512" not in seen:
            seen += os.read(job.stdout.fileno(), 4096)
        job.kill()
        job.wait()
        job.stdin.close()
        job.stdout.close()
        found = self.ours("check", "--output=json", "a").json()
        self.assertLessEqual(found.get("leaks", 0), 8)
        self.assertEqual(found.get("corruptions", 0), 0)

    def test_s13_a_repair_clears_unknown_autoclear_bits(self):
        images.make("a")
        images.Header("a").put(">Q", 88, 1 << 40).save("a")
        self.assert_worked(self.ours("check", "-r", "all", "a"))
        self.assertEqual(images.Header("a").get(">Q", 88), 0)

    def test_s13_a_check_that_repairs_nothing_leaves_them(self):
        images.make("a")
        images.Header("a").put(">Q", 88, 1 << 40).save("a")
        before = read("a")
        self.assert_worked(self.ours("check", "a"))
        self.assertEqual(read("a"), before)

    def extra(self):
        image = images.Header("a")
        return image.get(">I", image.snapshot_table + 36)

    def assert_says_no_icount(self):
        image = images.Header("a")
        at = image.snapshot_table
        self.assertEqual(self.extra(), 24)
        self.assertEqual(image.get(">Q", at + 40 + 16), (1 << 64) - 1)
        self.assert_worked(self.theirs("check", "a"))

    def test_s14_repaired_snapshots_have_24_bytes_of_extra_data(self):
        self.snapshotted()
        image = images.Header("a")
        at = image.snapshot_table
        names = bytes(image.bytes[at + 64:at + 96])
        image.put(">I", at + 36, 0)
        image.bytes[at + 40:at + 72] = names
        image.save("a")
        self.ours("check", "-r", "all", "a")
        self.assert_says_no_icount()

    # S15, S16.

    @targets.needs_root
    def test_s15_a_snapshot_that_finds_no_room_is_undone(self):
        with targets.tmpfs("t", "2m"):
            images.make("t/a", size="64M", io=["write -P 5 0 1M"])
            with open("t/fill", "wb", buffering=0) as f:
                try:
                    while True:
                        f.write(bytes(4096))
                except OSError:
                    pass
            for words in (["-c", "new"], ["-d", "nosuch"]):
                with self.subTest(words=words):
                    done = self.ours("snapshot", *words, "t/a")
                    self.assertEqual(done.status, 1)
                    image = images.Header("t/a")
                    self.assertEqual(image.get(">Q", 72) & 1, 0, "dirty")
                    found = self.ours("check", "t/a")
                    self.assertEqual(found.status, 0, found.out)

    def test_s16_a_write_that_drops_bitmaps_is_a_warning(self):
        images.make("a")
        images.qemu_img("bitmap", "--add", "a", "b0")
        done = self.io("a", "write 0 4k")
        self.assert_worked(done)
        kept = images.Header("a").get(">Q", 88) & 1
        self.assertTrue(kept or "bitmap" in done.err, done.err)

    def test_s16_what_writes_nothing_warns_of_nothing(self):
        images.make("a")
        images.qemu_img("bitmap", "--add", "a", "b0")
        for words in (["io", "-r", "-c", "read 0 4k", "a"],
                      ["info", "a"], ["check", "a"]):
            done = self.assert_worked(self.ours(*words))
            self.assertNotIn("bitmap", done.err)
            self.assertEqual(images.Header("a").get(">Q", 88) & 1, 1)


class ManySnapshots(Case):
    """S11: more entries than the limit."""

    def test_s11_as_many_snapshots_as_the_limit_are_kept_in_place(self):
        images.make("a", "-o", "compat=0.10",
                    io=["write -P 5 0 64k"], size="1M")
        image = images.Header("a")
        image.bytes += bytes(-len(image.bytes) % 65536)
        n = 65536 + 10
        image.put(">Q", 64, len(image.bytes)).put(">I", 60, n)
        image.bytes += bytes(40 * n)
        image.save("a")
        size = os.path.getsize("a")
        began = time.monotonic()
        done = self.ours("check", "-r", "all", "a")
        self.assertLess(time.monotonic() - began, 20)
        after = images.Header("a")
        self.assertEqual(after.get(">I", 60), 65536, done.err)
        self.assertLess(os.path.getsize("a"), 2 * size)
        self.assertEqual(struct.pack(">Q", after.snapshot_table),
                         struct.pack(">Q", image.snapshot_table))


if __name__ == "__main__":
    main()
