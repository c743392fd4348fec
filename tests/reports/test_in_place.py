#!/usr/bin/env python3
"""F04, F05: a target that exists and may be written, but cannot be replaced,
is written in place; one that is replaced loses nothing that it had.

Usage: test_in_place.py COMMAND
"""

import os
import stat
import subprocess
import tempfile

import targets
from targets import STRANGER, as_stranger, needs_root, read
from case import Case, Result, main


class InPlace(Case):
    @classmethod
    def prepare(cls):
        cls.disk = targets.source("s")
        os.chmod(cls.dir, 0o755)

    def setUp(self):
        self.here = tempfile.mkdtemp(dir=self.dir)
        os.chmod(self.here, 0o755)

    def at(self, name):
        return os.path.join(self.here, name)

    def existing(self, name, size="4M", owner=None, mode=0o644):
        path = self.at(name)
        targets.call("truncate", "-s", size, path)
        os.chmod(path, mode)
        if owner:
            os.chown(path, *owner)
        return path

    def stranger(self, *args, groups=()):
        """Our command, run by somebody else."""
        # The command lies where only its owner may look.
        targets.call("cp", self.program, f"{self.dir}/qcow2")
        words = as_stranger(f"{self.dir}/qcow2", *args, groups=groups)
        return Result(subprocess.run(words, capture_output=True, check=False,
                                     cwd=self.here))

    def assert_disk(self, path, disk=None):
        self.assertTrue(read(path) == (disk or self.disk),
                        "the target reads differently")

    def assert_worked(self, done):
        self.assertEqual(done.status, 0, done.err)

    # F04.

    @needs_root
    def test_f04_what_may_not_be_written_is_refused_before_the_work(self):
        path = self.existing("disk.img", owner=(0, 0), mode=0o644)
        done = self.stranger("convert", "-O", "raw", f"{self.dir}/s", path)
        self.assertEqual(done.status, 1)
        self.assertIn("disk.img", done.err)
        self.assertTrue(read(path) == bytes(4 << 20))
        self.assertEqual(os.listdir(self.here), ["disk.img"])

    def test_f04_a_shorter_disk_leaves_no_tail_of_the_old_file(self):
        path = self.existing("disk.img", "16M")
        self.assert_worked(self.ours("convert", "-O", "raw", "s", path))
        self.assert_disk(path)

    # F05.

    def convert_over(self, path):
        self.assert_worked(self.ours("convert", "-O", "raw", "s", path))
        self.assert_disk(path)

    @needs_root
    def test_f05_owner_group_and_mode_stay_when_root_converts(self):
        path = self.existing("d", owner=(107, 3000), mode=0o660)
        self.convert_over(path)
        now = os.stat(path)
        self.assertEqual((now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)),
                         (107, 3000, 0o660))

    def test_f05_a_symlink_stays_and_its_file_is_written(self):
        path = self.existing("d")
        os.symlink("d", self.at("link"))
        self.assert_worked(self.ours("convert", "-O", "raw", "s",
                                     self.at("link")))
        self.assertTrue(os.path.islink(self.at("link")))
        self.assert_disk(path)

    def test_f05_a_dangling_symlinks_file_is_made(self):
        os.symlink("d", self.at("link"))
        done = self.ours("convert", "-O", "raw", "s", self.at("link"))
        self.assert_worked(done)
        self.assertTrue(os.path.islink(self.at("link")))
        self.assert_disk(self.at("d"))

    # F17.

    def test_f17_new_files_have_the_mode_that_the_umask_leaves(self):
        self.assert_modes(0o022, 0o077)

    def assert_modes(self, *masks):
        for mask in masks:
            for words in (["convert", "-O", "raw", "s", "@"],
                          ["convert", "-O", "qcow2", "s", "@"],
                          ["create", "-q", "-f", "qcow2", "@", "1M"],
                          ["create", "-q", "-f", "raw", "@", "1M"]):
                with self.subTest(mask=oct(mask), words=words):
                    modes = []
                    for run in (self.drop_in, self.theirs):
                        path = self.at("new")
                        done = run(*(path if w == "@" else w for w in words),
                                   umask=mask)
                        self.assert_worked(done)
                        modes.append(os.stat(path).st_mode)
                        os.unlink(path)
                    self.assertEqual(*map(oct, modes))


if __name__ == "__main__":
    main()
