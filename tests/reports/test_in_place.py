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
        """Runs our command as another user."""
        # The command lies in a directory that only its owner may enter.
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
    def test_f04_a_file_of_mine_in_a_directory_of_others(self):
        path = self.existing("disk.img", owner=(STRANGER, STRANGER))
        self.assert_worked(self.stranger("convert", "-O", "raw",
                                         f"{self.dir}/s", path))
        self.assert_disk(path)
        self.assertEqual(os.stat(path).st_uid, STRANGER)
        self.assertEqual(os.listdir(self.here), ["disk.img"])

    @needs_root
    def test_f04_create_in_a_directory_of_others(self):
        path = self.existing("disk.img", owner=(STRANGER, STRANGER))
        self.assert_worked(self.stranger("create", "-q", "-f", "qcow2", path,
                                         "1M"))
        self.assertEqual(read(path)[:4], b"QFI\xfb")

    @needs_root
    def test_f04_a_qcow2_target_in_a_directory_of_others(self):
        path = self.existing("disk.img", owner=(STRANGER, STRANGER))
        self.assert_worked(self.stranger("convert", "-O", "qcow2",
                                         f"{self.dir}/s", path))
        self.assertTrue(self.ours("compare", f"{self.dir}/s", path).status
                        == 0)

    @needs_root
    def test_f04_a_bind_mounted_file_is_written(self):
        path, real = self.existing("m", "0"), self.existing("real")
        with targets.mounted("--bind", real, path):
            self.assert_worked(self.ours("convert", "-O", "raw", "s", path))
            self.assert_disk(path)
        self.assert_disk(real)

    @needs_root
    def test_f04_a_bind_mounted_file_is_created(self):
        path, real = self.existing("m", "0"), self.existing("real")
        with targets.mounted("--bind", real, path):
            self.assert_worked(self.ours("create", "-q", "-f", "qcow2", path,
                                         "1M"))
        self.assertEqual(read(real)[:4], b"QFI\xfb")

    @needs_root
    def test_f04_a_file_system_with_room_for_one_of_both(self):
        data = os.urandom(12 << 20)
        raw = targets.write(self.at("r12M.raw"), data)
        with targets.tmpfs(self.at("t"), "20m"):
            path = targets.write(self.at("t/disk.img"), bytes(12 << 20))
            done = self.ours("convert", "-f", "raw", "-O", "raw", raw, path)
            if not done.status:
                self.assert_disk(path, data)
            else:
                # The command tells it before the work: nothing has changed.
                self.assert_disk(path, bytes(12 << 20))
                self.assert_refused(done)
            self.assertEqual(done.status, 0, done.err)

    @needs_root
    def test_f04_a_failure_in_place_says_that_the_old_contents_may_be_lost(self):
        raw = targets.write(self.at("r12M.raw"), os.urandom(12 << 20))
        words = ("convert", "-f", "raw", "-O", "raw")
        for option, lost in ("--in-place", True), ("--replace", False):
            with self.subTest(option=option), \
                    targets.tmpfs(self.at("t"), "8m"):
                path = targets.write(self.at("t/disk.img"), bytes(1 << 20))
                done = self.ours(*words, option, raw, path)
                self.assert_refused(done, "No space left")
                self.assertEqual("held before may be lost" in done.err, lost,
                                 done.err)
                if not lost:
                    self.assert_disk(path, bytes(1 << 20))

    @needs_root
    def test_f04_a_strangers_file_in_a_sticky_directory(self):
        path = self.existing("disk.img", owner=(0, 0), mode=0o666)
        os.chmod(self.here, 0o1777)
        self.assert_worked(self.stranger("convert", "-O", "raw",
                                         f"{self.dir}/s", path))
        self.assert_disk(path)
        self.assertEqual(os.listdir(self.here), ["disk.img"])

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

    @needs_root
    def test_f04_in_place_a_shorter_disk_leaves_no_tail_either(self):
        path, real = self.existing("m", "0"), self.at("real")
        targets.write(real, b"old!" * (4 << 20))
        with targets.mounted("--bind", real, path):
            self.assert_worked(self.ours("convert", "-O", "raw", "s", path))
        self.assert_disk(real)

    def test_f04_the_command_is_told_to_write_in_place(self):
        path = self.existing("disk.img")
        number = os.stat(path).st_ino
        self.assert_worked(self.ours("convert", "--in-place", "-O", "raw",
                                     "s", path))
        self.assertEqual(os.stat(path).st_ino, number)
        self.assert_disk(path)

    def test_f04_the_command_is_told_to_replace(self):
        path = self.existing("disk.img")
        with open(path, "rb") as old:
            self.assert_worked(self.ours("convert", "--replace", "-O", "raw",
                                         "s", path))
            self.assertTrue(old.read() == bytes(4 << 20))
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

    @needs_root
    def test_f05_a_pools_file_stays_its_owners(self):
        """A member of the group may write it, not give it away."""
        os.chown(self.here, 107, 3000)
        os.chmod(self.here, 0o770)
        path = self.existing("d", owner=(107, 3000), mode=0o660)
        self.assert_worked(self.stranger("convert", "-O", "raw",
                                         f"{self.dir}/s", path,
                                         groups=[3000]))
        now = os.stat(path)
        self.assertEqual((now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)),
                         (107, 3000, 0o660))
        self.assert_disk(path)

    def test_f05_the_extended_attributes_stay(self):
        path = self.existing("d")
        try:
            os.setxattr(path, "user.note", b"keep me")
        except OSError:
            self.skipTest("no extended attributes here")
        self.convert_over(path)
        self.assertEqual(os.getxattr(path, "user.note"), b"keep me")

    @needs_root
    def test_f05_a_security_label_stays(self):
        path = self.existing("d")
        try:
            os.setxattr(path, "trusted.label", b"svirt")
        except OSError:
            self.skipTest("no trusted attributes here")
        self.convert_over(path)
        self.assertEqual(os.getxattr(path, "trusted.label"), b"svirt")

    def test_f05_an_access_list_stays(self):
        path = self.existing("d")
        acl = bytes.fromhex("02000000" "01000600ffffffff"
                            "02000600" "6b000000" "04000400ffffffff"
                            "10000600ffffffff" "20000000ffffffff")
        try:
            os.setxattr(path, "system.posix_acl_access", acl)
        except OSError:
            self.skipTest("no access lists here")
        acl = os.getxattr(path, "system.posix_acl_access")
        self.convert_over(path)
        self.assertEqual(os.getxattr(path, "system.posix_acl_access"), acl)

    def test_f05_hard_links_stay_one_file(self):
        path, other = self.existing("d"), self.at("other")
        os.link(path, other)
        self.convert_over(path)
        self.assertEqual(os.stat(path).st_ino, os.stat(other).st_ino)
        self.assert_disk(other)

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

    def test_f05_create_keeps_what_the_file_had_too(self):
        path, other = self.existing("d", mode=0o600), self.at("other")
        os.link(path, other)
        self.assert_worked(self.ours("create", "-q", "-f", "qcow2", path,
                                     "1M"))
        self.assertEqual(os.stat(path).st_ino, os.stat(other).st_ino)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    def test_f05_a_compressed_qcow2_target_keeps_its_links(self):
        path, other = self.existing("d"), self.at("other")
        os.link(path, other)
        self.assert_worked(self.ours("convert", "-c", "-O", "qcow2", "s",
                                     path))
        self.assertEqual(read(path), read(other))

    # F17.

    def test_f17_new_files_have_the_mode_that_the_umask_leaves(self):
        self.assert_modes(0o022, 0o077)

    def test_f17_nobody_else_may_write_a_new_file_whatever_the_umask(self):
        self.assert_modes(0o002, 0)

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
