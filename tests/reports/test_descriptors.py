#!/usr/bin/env python3
"""F02: a target that is a descriptor is written through the descriptor.

Usage: test_descriptors.py COMMAND
"""

import os
import subprocess
import tempfile

import targets
from targets import images, read
from case import Case, main


class Descriptors(Case):
    @classmethod
    def prepare(cls):
        cls.disk = targets.source("s")
        images.qemu_img("convert", "-O", "qcow2", "s", "s.same")

    def setUp(self):
        self.here = tempfile.mkdtemp(dir=self.dir)

    def deleted(self):
        path = os.path.join(self.here, "del.raw")
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.unlink(path)
        return fd

    def unnamed(self):
        return os.open(self.here, os.O_TMPFILE | os.O_RDWR)

    def named(self):
        return os.open(os.path.join(self.here, "named"),
                       os.O_RDWR | os.O_CREAT)

    def in_memory(self):
        return os.memfd_create("disk")

    def contents(self, fd):
        data = os.pread(fd, 1 << 26, 0)
        if data[:4] != b"QFI\xfb":
            return data
        targets.write("copy.qcow2", data)
        images.qemu_img("convert", "-O", "raw", "copy.qcow2", "copy.raw")
        return read("copy.raw")

    def written_through(self, fd, name, *words, disk=None):
        """The command fills the descriptor, and makes no other file."""
        before = set(os.listdir(self.here))
        done = self.ours(*(w.replace("@", name.format(fd)) for w in words),
                         pass_fds=[fd], cwd=self.here)
        self.assertEqual(done.status, 0, done.err)
        self.assertTrue(self.contents(fd) == (disk or self.disk),
                        "the descriptor has something else")
        self.assertEqual(set(os.listdir(self.here)), before)
        os.close(fd)

    def converted(self, fd, name="/proc/self/fd/{}"):
        self.written_through(fd, name, "convert", "-O", "raw", "../s", "@")

    def test_f02_convert_fills_a_deleted_file(self):
        self.converted(self.deleted())

    def test_f02_convert_fills_a_deleted_file_through_dev_fd(self):
        self.converted(self.deleted(), "/dev/fd/{}")

    def test_f02_convert_fills_a_file_in_memory(self):
        self.converted(self.in_memory())

    def test_f02_convert_fills_a_file_without_a_name(self):
        self.converted(self.unnamed())

    def test_f02_convert_fills_a_named_files_descriptor(self):
        self.converted(self.named(), "/dev/fd/{}")

    def test_f02_convert_fills_a_descriptor_by_the_process_id(self):
        self.converted(self.deleted(), f"/proc/{os.getpid()}/fd/{{}}")

    def test_f02_convert_fills_standard_output(self):
        fd = self.deleted()
        done = subprocess.run(
            [f"{self.dir}/bin/qcow2", "convert", "-O", "raw", "../s",
             "/dev/stdout"], stdout=fd, stderr=subprocess.PIPE,
            cwd=self.here, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(self.contents(fd) == self.disk)
        self.assertEqual(os.listdir(self.here), [])

    def test_f02_convert_to_qcow2_fills_a_deleted_file(self):
        self.written_through(self.deleted(), "/proc/self/fd/{}", "convert",
                             "-O", "qcow2", "../s", "@")

    def test_f02_compressed_convert_fills_a_file_in_memory(self):
        self.written_through(self.in_memory(), "/proc/self/fd/{}", "convert",
                             "-c", "-O", "qcow2", "../s", "@")

    def test_f02_convert_into_a_target_that_exists_fills_a_descriptor(self):
        fd = self.in_memory()
        os.pwrite(fd, read(os.path.join(self.dir, "s.same")), 0)
        self.written_through(fd, "/proc/self/fd/{}", "convert", "-n", "-O",
                             "qcow2", "../s", "@")

    def test_f02_create_fills_a_deleted_file(self):
        self.written_through(self.deleted(), "/proc/self/fd/{}", "create",
                             "-q", "-f", "qcow2", "@", "1M",
                             disk=bytes(1 << 20))

    def test_f02_create_fills_a_file_in_memory(self):
        self.written_through(self.in_memory(), "/dev/fd/{}", "create", "-q",
                             "-f", "qcow2", "@", "1M", disk=bytes(1 << 20))

    def test_f02_create_raw_fills_a_file_without_a_name(self):
        self.written_through(self.unnamed(), "/proc/self/fd/{}", "create",
                             "-q", "-f", "raw", "@", "1M",
                             disk=bytes(1 << 20))

    def test_f02_what_a_descriptor_held_is_gone_after_a_convert(self):
        fd = self.deleted()
        os.pwrite(fd, b"old" * 4000000, 0)
        self.converted(fd)

    def test_f02_a_symlink_to_a_descriptor_is_followed(self):
        fd = self.deleted()
        os.symlink(f"/proc/self/fd/{fd}", os.path.join(self.here, "link"))
        self.converted(fd, "link")

    def test_f02_a_descriptor_open_for_reading_is_refused(self):
        path = targets.write(os.path.join(self.here, "ro"), b"precious")
        fd = os.open(path, os.O_RDONLY)
        os.unlink(path)
        done = self.ours("convert", "-O", "raw", "../s", f"/dev/fd/{fd}",
                         pass_fds=[fd], cwd=self.here)
        if done.status:
            self.assertEqual(os.pread(fd, 99, 0), b"precious")
        self.assertEqual(os.listdir(self.here), [])
        os.close(fd)

    def test_f02_no_program_writes_a_closed_descriptor(self):
        done = self.ours("convert", "-O", "raw", "../s", "/proc/self/fd/77",
                         cwd=self.here)
        self.assert_refused(done)
        self.assertEqual(os.listdir(self.here), [])


if __name__ == "__main__":
    main()
