#!/usr/bin/env python3
"""F03, F08, F09, F10: the backing file of a new image: one that a VM has open,
one at the end of a long chain, one with a name that QEMU takes for something
else, and one that would be the image itself.

Usage: test_backing.py COMMAND
"""

import os
import subprocess
import tempfile

import targets
from targets import images, read
from case import Case, QEMU_IO, main

LAYERS = 70


class Backing(Case):
    def setUp(self):
        self.here = tempfile.mkdtemp(dir=self.dir)
        os.chdir(self.here)

    def tearDown(self):
        os.chdir(self.dir)

    def assert_worked(self, done):
        self.assertEqual(done.status, 0, done.err)
        return done

    # F03.

    def open_elsewhere(self, path):
        """QEMU has the image open for writing, as a running machine."""
        job = subprocess.Popen([QEMU_IO, path], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
        job.stdin.write(b"write -P 9 0 4k\n")
        job.stdin.flush()
        while b"wrote" not in job.stdout.readline():
            pass
        self.addCleanup(job.wait)
        self.addCleanup(job.communicate, b"quit\n")
        return job

    def test_f03_an_overlay_of_a_running_machines_disk_is_created(self):
        images.make("vm.qcow2", size="7M")
        self.open_elsewhere("vm.qcow2")
        self.assert_worked(self.ours("create", "-q", "-f", "qcow2", "-b",
                                     "vm.qcow2", "-F", "qcow2", "o.qcow2"))
        info = self.ours("info", "--output=json", "o.qcow2")
        self.assertEqual(info.json()["virtual-size"], 7 << 20)

    def test_f03_a_running_machine_keeps_its_lock_after_a_create(self):
        images.make("vm.qcow2")
        self.open_elsewhere("vm.qcow2")
        self.ours("create", "-q", "-f", "qcow2", "-b", "vm.qcow2", "-F",
                  "qcow2", "o.qcow2")
        done = self.theirs("resize", "vm.qcow2", "8M")
        self.assertEqual(done.status, 1)
        self.assertIn("lock", done.err)

    def test_f03_an_overlay_of_a_raw_disk_in_use_is_created(self):
        targets.write("vm.raw", bytes(3 << 20))
        self.open_elsewhere("vm.raw")
        self.assert_worked(self.ours("create", "-q", "-f", "qcow2", "-b",
                                     "vm.raw", "-F", "raw", "o.qcow2"))

    def test_f03_a_machine_whose_chain_is_in_use_gets_an_overlay(self):
        images.make("base.qcow2")
        images.make("vm.qcow2", "-b", "base.qcow2", "-F", "qcow2")
        self.open_elsewhere("vm.qcow2")
        for base in ("base.qcow2", "vm.qcow2"):
            self.assert_worked(self.ours("create", "-q", "-f", "qcow2", "-b",
                                         base, "-F", "qcow2", "o.qcow2"))

    def test_f03_the_image_that_a_machine_has_open_is_not_replaced(self):
        images.make("vm.qcow2", size="7M")
        self.open_elsewhere("vm.qcow2")
        before = read("vm.qcow2")
        done = self.ours("create", "-q", "-f", "qcow2", "vm.qcow2", "1M")
        self.assertEqual(done.status, 1)
        self.assertEqual(read("vm.qcow2"), before)

    # F08.

    def chain(self, n):
        images.make("0.qcow2", io=["write -P 7 0 64k"])
        for i in range(1, n):
            self.assert_worked(self.ours(
                "create", "-q", "-f", "qcow2", "-u", "-b", f"{i - 1}.qcow2",
                "-F", "qcow2", f"{i}.qcow2", "4M"))
        return f"{n - 1}.qcow2"

    def test_f08_a_chain_of_seventy_is_converted(self):
        top = self.chain(LAYERS)
        self.assert_worked(self.ours("convert", "-O", "raw", top, "x"))
        self.assertEqual(read("x")[:3], b"\7\7\7")

    def test_f08_a_chain_of_seventy_is_read_by_every_command(self):
        top = self.chain(LAYERS)
        for words in (["info", "--backing-chain", "--output=json", top],
                      ["map", "--output=json", top],
                      ["io", "-c", "read -P 7 0 64k", top],
                      ["io", "-r", "-c", "read -P 7 0 64k", top],
                      ["compare", top, "0.qcow2"], ["check", top],
                      ["create", "-q", "-f", "qcow2", "-b", top, "-F",
                       "qcow2", "new.qcow2"],
                      ["resize", top, "8M"]):
            with self.subTest(words=words):
                self.assert_worked(self.ours(*words))

    def test_f08_a_chain_of_two_hundred_reads_as_qemu_reads_it(self):
        top = self.chain(200)
        theirs = self.theirs("map", "--output=json", top)
        ours = self.drop_in("map", "--output=json", top)
        self.assertEqual((ours.status, ours.out),
                         (theirs.status, theirs.out), ours.err)

    # F09.

    NAMES = ["vm-2026-01-01T10:00:00.qcow2", "a:b", "nbd:x", "json:x",
             "file:name", "fat:x", "host_device:x", "ssh:x", "C:disk",
             "json:{}", "a b:c"]

    def test_f09_a_new_images_backing_file_is_read_by_qemu_too(self):
        for name in self.NAMES:
            with self.subTest(name=name):
                images.make("./" + name, io=["write -P 3 0 64k"])
                self.assert_worked(self.ours("create", "-q", "-f", "qcow2",
                                             "-b", name, "-F", "qcow2", "o"))
                for run in (self.ours, self.theirs):
                    self.assert_worked(run("convert", "-O", "raw", "o", "x"))
                    self.assertEqual(read("x")[:3], b"\3\3\3")

    def test_f09_an_amended_backing_file_is_read_by_qemu_too(self):
        for name in self.NAMES:
            with self.subTest(name=name):
                images.make("./" + name, io=["write -P 3 0 64k"])
                images.make("o")
                self.assert_worked(self.ours(
                    "amend", "-o", f"backing_file={name},backing_fmt=qcow2",
                    "o"))
                for run in (self.ours, self.theirs):
                    self.assert_worked(run("convert", "-O", "raw", "o", "x"))
                    self.assertEqual(read("x")[:3], b"\3\3\3")

    def test_f09_an_unsafe_backing_file_is_read_by_qemu_too(self):
        for name in self.NAMES:
            with self.subTest(name=name):
                images.make("./" + name, io=["write -P 3 0 64k"])
                self.assert_worked(self.ours(
                    "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F",
                    "qcow2", "o", "4M"))
                for run in (self.ours, self.theirs):
                    self.assert_worked(run("convert", "-O", "raw", "o", "x"))
                    self.assertEqual(read("x")[:3], b"\3\3\3")

    def test_f09_a_protocols_name_without_such_a_file_stays_as_it_is(self):
        images.make("o")
        self.assert_worked(self.ours(
            "amend", "-o", "backing_file=nbd:host:1,backing_fmt=raw", "o"))
        self.assertIn(b"nbd:host:1", read("o")[:4096])
        self.assertNotIn(b"./nbd:host:1", read("o")[:4096])
        done = self.ours("convert", "-O", "raw", "o", "y")
        self.assertEqual(done.status, 1, done.err)

    def test_f09_a_converted_images_backing_file_is_read_by_qemu_too(self):
        for name in self.NAMES:
            with self.subTest(name=name):
                images.make("./" + name, io=["write -P 3 0 64k"])
                images.make("s", io=["write -P 3 0 64k", "write -P 4 1M 1k"])
                self.assert_worked(self.ours(
                    "convert", "-O", "qcow2", "-B", name, "-F", "qcow2", "s",
                    "o"))
                self.assert_worked(self.theirs("convert", "-O", "raw", "o",
                                               "x"))
                self.assertEqual(read("x")[:3], b"\3\3\3")

    def test_f09_a_data_file_is_read_by_qemu_too(self):
        for name in ("d:1.raw", "nbd:d.raw", "2026-01-01T10:00:00.raw"):
            with self.subTest(name=name):
                self.assert_worked(self.ours(
                    "create", "-q", "-f", "qcow2", "-o",
                    f"data_file={name}", "o", "1M"))
                self.assert_worked(self.ours("io", "-c", "write -P 3 0 64k",
                                             "o"))
                self.assert_worked(self.theirs("convert", "-O", "raw", "o",
                                               "x"))
                self.assertEqual(read("x")[:3], b"\3\3\3")

    def test_f09_usual_names_are_recorded_as_they_are(self):
        os.mkdir("sub")
        for name in ("base.qcow2", "sub/ba:se.qcow2",
                     f"{self.here}/base.qcow2", "./base.qcow2"):
            with self.subTest(name=name):
                images.make(name if name[0] == "/" else "./" + name)
                self.assert_worked(self.ours("create", "-q", "-f", "qcow2",
                                             "-b", name, "-F", "qcow2", "o"))
                info = self.theirs("info", "--output=json", "o").json()
                self.assertEqual(info["backing-filename"], name)

    # F10.

    def own_backing(self, target, *words, keeps=("a",)):
        """The command is refused, and the files stay as they were."""
        before = [read(name) for name in keeps]
        done = self.ours(*words, target)
        self.assertEqual(done.status, 1, done.err)
        for name, old in zip(keeps, before):
            self.assertTrue(read(name) == old, f"{name} has changed")

    def create(self, backing, target, *more, keeps=("a",), fmt="qcow2"):
        self.own_backing(target, "create", "-q", "-f", "qcow2", "-b",
                         backing, "-F", fmt, *more, keeps=keeps)

    def precious(self):
        return images.make("a", io=["write -P 5 0 64k"])

    def test_f10_an_image_is_not_made_its_own_backing_file(self):
        self.precious()
        self.create("a", "a")

    def test_f10_an_image_is_not_made_its_own_backing_file_by_a_dot(self):
        self.precious()
        self.create("./a", "a")

    def test_f10_an_image_is_not_made_its_own_backing_file_by_dots(self):
        self.precious()
        os.mkdir("sub")
        self.create("sub/../a", "a")
        self.create("a", "sub/../a")

    def test_f10_an_image_is_not_made_its_own_backing_file_absolutely(self):
        self.precious()
        self.create(f"{self.here}/a", "a")
        self.create("a", f"{self.here}/a")

    def test_f10_an_image_is_not_made_its_own_backing_file_through_a_hard_link(
            self):
        self.precious()
        os.link("a", "b")
        self.create("b", "a")
        self.create("a", "b")

    def test_f10_an_image_is_not_made_its_own_backing_file_through_a_symlink(
            self):
        self.precious()
        os.symlink("a", "b")
        self.create("b", "a")
        self.create("a", "b")

    def test_f10_an_image_is_not_made_its_own_backing_file_through_another(
            self):
        self.precious()
        images.make("middle", "-b", "a", "-F", "qcow2")
        self.create("middle", "a", keeps=("a", "middle"))

    def test_f10_an_image_is_not_made_its_own_backing_file_through_two(self):
        self.precious()
        images.make("m1", "-b", "a", "-F", "qcow2")
        images.make("m2", "-b", f"{self.here}/m1", "-F", "qcow2")
        os.symlink("m2", "link")
        self.create("link", "a", keeps=("a", "m1", "m2"))

    def test_f10_an_image_is_not_made_its_own_backing_file_as_raw(self):
        self.precious()
        self.create("./a", "a", fmt="raw")

    def test_f10_nor_where_a_size_is_given(self):
        self.precious()
        self.own_backing("a", "create", "-q", "-f", "qcow2", "-b", "./a",
                         "-F", "qcow2", "-o", "size=4M")

    def test_f10_nor_where_the_backing_file_is_not_opened(self):
        self.precious()
        before = read("a")
        done = self.ours("create", "-q", "-f", "qcow2", "-u", "-b", "./a",
                         "-F", "qcow2", "a", "4M")
        self.assertEqual(done.status, 1, done.err)
        self.assertEqual(read("a"), before)

    def test_f10_nor_by_the_option_backing_file(self):
        self.precious()
        self.own_backing("a", "create", "-q", "-f", "qcow2", "-o",
                         "backing_file=./a,backing_fmt=qcow2")

    def test_f10_an_images_data_file_is_not_the_image(self):
        self.precious()
        os.link("a", "b")
        for name in ("a", "./a", "b", f"{self.here}/a"):
            with self.subTest(name=name):
                self.own_backing("a", "create", "-q", "-f", "qcow2", "-o",
                                 f"size=4M,data_file={name}")

    def test_f10_an_images_data_file_is_not_its_backing_file(self):
        targets.write("base.raw", b"precious" * 8192)
        for name in ("base.raw", "./base.raw"):
            with self.subTest(name=name):
                self.own_backing("o", "create", "-q", "-f", "qcow2", "-b",
                                 "base.raw", "-F", "raw", "-o",
                                 f"data_file={name}", keeps=("base.raw",))

    def test_f10_an_image_is_not_amended_to_be_its_own_backing_file(self):
        self.precious()
        os.link("a", "b")
        for name in ("a", "./a", "b"):
            with self.subTest(name=name):
                self.own_backing("a", "amend", "-o",
                                 f"backing_file={name},backing_fmt=qcow2")

    def test_f10_a_convert_does_not_write_over_what_it_reads(self):
        self.precious()
        os.link("a", "b")
        os.symlink("a", "c")
        before = self.ours("compare", "a", "b")
        images.make("top", "-b", "a", "-F", "qcow2")
        for src, dst in (("a", "a"), ("a", "./a"), ("a", "b"), ("a", "c"),
                         ("top", "a"), ("top", "b")):
            for fmt in ("raw", "qcow2"):
                with self.subTest(src=src, dst=dst, fmt=fmt):
                    old = read("a")
                    done = self.ours("convert", "-O", fmt, src, dst)
                    if done.status:
                        self.assertTrue(read("a") == old)
                    else:
                        self.assertNotEqual((src, os.path.islink(dst)),
                                            ("top", False), "over its base")
        self.assertEqual(before.status, 0)

    def test_f10_a_convert_does_not_make_its_target_its_own_backing_file(
            self):
        self.precious()
        images.make("s", io=["write -P 5 0 64k"])
        os.link("a", "b")
        for backing in ("a", "./a", "b"):
            with self.subTest(backing=backing):
                self.own_backing("a", "convert", "-O", "qcow2", "-B",
                                 backing, "-F", "qcow2", "s")


if __name__ == "__main__":
    main()
