"""The places where the output of `create` and `convert` goes, and the files
that it may not touch."""

import os
import resource
import shutil
import subprocess
import unittest

import case


class Descriptors(case.Case):
    """F02: a target that is an open file is written through it."""

    @classmethod
    def prepare(cls):
        with open("disk.raw", "wb") as f:
            f.write(os.urandom(1 << 20))
        case.run(f"{cls.dir}/bin/qemu-img", "convert", "-O", "qcow2",
                 "disk.raw", "s.qcow2")
        with open("disk.raw", "rb") as f:
            cls.content = f.read()

    def deleted(self):
        fd = os.open("gone", os.O_RDWR | os.O_CREAT, 0o600)
        self.addCleanup(os.close, fd)
        os.unlink("gone")
        return fd

    def test_a_raw_target(self):
        for fd in self.deleted(), os.memfd_create("m"):
            before = os.listdir()
            done = self.drop_in("convert", "-O", "raw", "s.qcow2",
                                f"/proc/self/fd/{fd}", pass_fds=[fd])
            self.assertEqual((done.status, done.err), (0, ""))
            self.assertEqual(os.pread(fd, 2 << 20, 0), self.content)
            self.assertEqual(os.listdir(), before)

    def test_a_qcow2_target(self):
        fd = self.deleted()
        path = f"/dev/fd/{fd}"
        done = self.drop_in("create", "-q", "-f", "qcow2", path, "7M",
                            pass_fds=[fd])
        self.assertEqual((done.status, done.err), (0, ""))
        info = self.drop_in("info", "--output=json", path, pass_fds=[fd])
        self.assertEqual(info.json()["virtual-size"], 7 << 20)
        self.drop_in("convert", "-O", "qcow2", "s.qcow2", path, pass_fds=[fd])
        done = self.drop_in("compare", "disk.raw", path, pass_fds=[fd])
        self.assertEqual(done.out, "Images are identical.\n")

    def test_standard_output(self):
        with open("out", "w+b") as f:
            subprocess.run([f"{self.dir}/bin/qcow2", "convert", "-q",
                                 "-O", "raw", "s.qcow2", "/dev/stdout"],
                                stdout=f, check=True)
            self.assertEqual(os.pread(f.fileno(), 2 << 20, 0), self.content)
        done = self.ours("convert", "-O", "raw", "s.qcow2", "/dev/stdout")
        self.assertEqual((done.status, done.out), (1, ""))
        self.assertIn("is a pipe", done.err)


class Itself(case.Case):
    """F10: no image is below itself, and no source is lost."""

    def setUp(self):
        for name in os.listdir():
            if name != "bin":
                os.unlink(name)
        self.drop_in("create", "-q", "-f", "qcow2", "a", "1M")
        os.link("a", "hard")
        os.symlink("a", "soft")
        self.drop_in("create", "-q", "-f", "qcow2", "-b", "a", "-F", "qcow2",
                     "middle")
        self.drop_in("create", "-q", "-f", "qcow2", "-o", "data_file=d",
                     "over-d", "1M")
        self.names = ["./a", f"{self.dir}/a", "../" + os.path.basename(
            self.dir) + "/a", "hard", "soft", "middle"]

    def refuse(self, *args, reason="very file|its own backing file"):
        before = {}
        for name in sorted(set(os.listdir()) - {"bin"}):
            with open(name, "rb") as f:
                before[name] = f.read()
        done = self.drop_in(*args)
        self.assertEqual(done.status, 1, args)
        self.assertRegex(done.err, reason)
        self.assertEqual(sorted(set(os.listdir()) - {"bin"}), list(before))
        for name, content in before.items():
            with open(name, "rb") as f:
                self.assertEqual(f.read(), content, name)

    def test_a_new_image_is_not_its_own_backing_file(self):
        for name in self.names:
            backing = "-f", "qcow2", "-F", "qcow2", "-b", name
            self.refuse("create", *backing, "a")
            self.refuse("create", "-u", *backing, "a", "1M")
            self.refuse("convert", "-O", "qcow2", "-F", "qcow2", "-B", name,
                        "bin/qcow2", "a")
        self.refuse("create", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "./n",
                    "n", "1M")

    def test_a_data_file_is_not_below_its_image(self):
        self.refuse("create", "-f", "qcow2", "-b", "middle", "-F", "qcow2",
                    "-o", "data_file=a", "n")
        self.refuse("create", "-f", "qcow2", "-b", "over-d", "-F", "qcow2",
                    "d")
        self.refuse("convert", "-U", "-O", "qcow2", "-B", "middle", "-F",
                    "qcow2", "-o", "data_file=hard", "bin/qcow2", "n")

    def test_a_data_file_is_not_the_image(self):
        for name in "./a", "hard", "soft":
            self.refuse("create", "-f", "qcow2", "-o", f"data_file={name}",
                        "a", "1M", reason="data_file is the image itself")

    def test_a_source_is_not_the_target(self):
        for name in self.names:
            for more in [], ["-U"], ["-n"]:
                self.refuse("convert", "-f", "qcow2", "-O", "qcow2", *more,
                            name, "a", reason="very file")
            self.refuse("convert", "-O", "raw", name, "bin/qcow2", "a",
                        reason="very file")

    def test_amend_does_not_put_an_image_below_itself(self):
        for name in self.names:
            done = self.ours("amend", "-o",
                             f"backing_file={name},backing_fmt=qcow2", "a")
            self.assertEqual(done.status, 1, name)
        self.assertEqual(self.drop_in("info", "--backing-chain",
                                      "middle").status, 0)


class Names(case.Case):
    """F09: QEMU and we find the same file by the name that is recorded."""

    def recorded(self, image, key="backing-filename"):
        info = self.drop_in("info", "-U", "--output=json", image).json()
        return info.get(key) or info["format-specific"]["data"][key]

    def test_names_with_colons_are_paths(self):
        name = "vm-2026-01-01T10:00:00.qcow2"
        self.drop_in("create", "-q", "-f", "qcow2", name, "1M")
        case.run(f"{self.dir}/bin/qemu-io", "-c", "write -P 7 0 64k", name)
        self.drop_in("convert", "-O", "raw", name, "want")
        for sub in (["create", "-f", "qcow2", "-b", name, "-F", "qcow2", "o"],
                    ["create", "-u", "-f", "qcow2", "-b", name, "-F", "qcow2",
                     "o", "1M"],
                    ["create", "-f", "qcow2", "-o",
                     f"backing_file={name},backing_fmt=qcow2", "o"],
                    ["convert", "-O", "qcow2", "-B", name, "-F", "qcow2",
                     name, "o"],
                    ["amend", "-o", f"backing_file={name},backing_fmt=qcow2",
                     "o"]):
            done = self.ours(*sub)
            self.assertEqual(done.status, 0, done.err)
            self.assertEqual(self.recorded("o"), "./" + name)
            for tool in self.drop_in, self.theirs if case.QEMU_IMG else None:
                done = tool and tool("compare", "o", "want")
                self.assertEqual(done and done.status, tool and 0, done.err)
        done = self.drop_in("create", "-f", "qcow2", "-o",
                            "data_file=d:1,data_file_raw=on", "x", "1M")
        self.assertEqual(self.recorded("x", "data-file"), "./d:1")
        self.assertTrue(os.path.exists("d:1"))

    def test_a_protocol_may_be_meant(self):
        for name in "nbd://localhost/x", "json:{}", "a/b:c", "ab":
            self.drop_in("create", "-u", "-f", "qcow2", "-b", name, "-F",
                         "raw", "o", "1M")
            self.assertEqual(self.recorded("o"), name)


class RawTargets(case.Case):
    """F15: options of raw files are taken, and options that change nothing."""

    @classmethod
    def prepare(cls):
        case.run(f"{cls.dir}/bin/qemu-img", "create", "-q", "-f", "qcow2",
                 "s", "2M")

    def test_preallocation(self):
        for mode, least in ("off", 0), ("falloc", 2 << 20), ("full", 2 << 20):
            for sub in (["convert", "-O", "raw", "-o",
                         f"preallocation={mode}", "s", "t"],
                        ["create", "-f", "raw", "-o",
                         f"preallocation={mode},nocow=off", "t", "2M"]):
                done = self.drop_in(*sub)
                self.assertEqual(done.status, 0, done.err)
                st = os.stat("t")
                self.assertEqual(st.st_size, 2 << 20)
                self.assertGreaterEqual(st.st_blocks * 512, least, sub)
                if mode == "off":
                    self.assertEqual(st.st_blocks, 0)
        for options in "preallocation=metadata", "cluster_size=4k":
            self.assertEqual(self.drop_in("convert", "-O", "raw", "-o",
                                          options, "s", "t").status, 1)

    def test_no_room_leaves_the_old_file(self):
        with open("old", "w", encoding="ascii") as f:
            f.write("precious")
        done = self.drop_in("create", "-f", "raw", "-o",
                            "preallocation=falloc", "old", "512T")
        self.assertEqual(done.status, 1)
        with open("old", encoding="ascii") as f:
            self.assertEqual(f.read(), "precious")

    def test_what_is_off(self):
        for option in "encryption=off", "nocow=off", "encryption=no":
            self.assertEqual(self.drop_in("create", "-f", "qcow2", "-o",
                                          option, "q", "1M").status, 0)
        for option in "encryption=on", "nocow=on", "encryption", "nosuch=off":
            self.assertEqual(self.drop_in("create", "-f", "qcow2", "-o",
                                          option, "q", "1M").status, 1)


class InUse(case.Case):
    """F03: a backing file that somebody writes to is only looked at."""

    def test_an_image_is_made_over_one_in_use(self):
        self.drop_in("create", "-q", "-f", "qcow2", "base", "3M")
        self.drop_in("create", "-q", "-f", "qcow2", "-b", "base", "-F",
                     "qcow2", "vm")
        writer = subprocess.Popen([f"{self.dir}/bin/qemu-io", "vm"],
                                  stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        writer.stdin.write(b"write 0 64k\n")
        writer.stdin.flush()
        writer.stdout.readline()
        self.assertEqual(self.drop_in("info", "vm").status, 1)
        for more in ["new"], ["new", "4M"], ["-u", "new", "4M"]:
            done = self.drop_in("create", "-q", "-f", "qcow2", "-b", "vm",
                                "-F", "qcow2", *more)
            self.assertEqual((done.status, done.err), (0, ""))
        done = self.drop_in("create", "-q", "-f", "qcow2", "-b", "vm", "new")
        self.assertIn("looks like qcow2", done.err)
        for sub, hinted in ((["create", "-q", "-f", "qcow2", "vm", "1M"], 0),
                            (["resize", "-q", "-f", "qcow2", "vm", "9M"], 0),
                            (["convert", "-O", "raw", "vm", "x"], 1),
                            (["info", "vm"], 1)):
            done = self.drop_in(*sub)
            self.assertEqual(done.status, 1)
            self.assertIn("lock", done.err)
            self.assertEqual("-U" in done.err, bool(hinted), done.err)
            self.assertNotIn("--force-share", done.err)
        writer.communicate(b"quit\n")
        self.assertEqual(writer.returncode, 0)


@unittest.skipUnless(os.geteuid() == 0, "needs other users and mounts")
class Placing(case.Case):
    """F04, F05: an existing file is replaced, or written in place."""

    @classmethod
    def prepare(cls):
        case.run(f"{cls.dir}/bin/qemu-img", "create", "-q", "-f", "qcow2",
                 "s", "2M")
        os.chmod(cls.dir, 0o755)

    def convert(self, target, *more):
        done = self.ours("convert", "--output=json", "-O", "raw", *more, "s",
                         target)
        self.assertEqual(done.status, 0, done.err)
        self.assertEqual(os.stat(target).st_size, 2 << 20)
        made = done.json()
        self.assertEqual("was written in place" in done.err,
                         made.get("reason") not in [None, "asked"])
        return made["written"], made.get("reason")

    def put(self, path):
        with open(path, "w", encoding="ascii") as f:
            f.write("old")

    def test_files_are_new_or_replaced(self):
        self.assertEqual(self.convert("a"), ("new", None))
        os.chown("a", 107, 3000)
        os.chmod("a", 0o660)
        before = os.stat("a")
        self.assertEqual(self.convert("a"), ("replaced", None))
        after = os.stat("a")
        self.assertNotEqual(after.st_ino, before.st_ino)
        self.assertEqual((after.st_uid, after.st_gid, after.st_mode),
                         (before.st_uid, before.st_gid, before.st_mode))
        self.assertEqual(self.convert("a", "--in-place"), ("in-place",
                                                           "asked"))
        self.assertEqual(os.stat("a").st_ino, after.st_ino)
        os.link("a", "b")
        self.assertEqual(self.convert("a"), ("in-place", "hard-links"))
        self.assertEqual(self.convert("a", "--replace"), ("replaced", None))

    def test_another_user(self):
        os.mkdir("d")
        self.put("d/disk")
        os.chown("d/disk", 1000, 1000)
        path = f"{self.dir}/d/disk"
        for more in [], ["--replace"]:
            done = case.run("setpriv", "--reuid=1000", "--clear-groups",
                            f"{self.dir}/bin/qemu-img", "convert", "-O",
                            "raw", *more, "s", path)
            self.assertEqual(done.status, len(more), done.err)
        self.assertIn("cannot be replaced: its directory", done.err)
        self.assertEqual(os.stat(path).st_size, 2 << 20)
        self.assertEqual(os.listdir("d"), ["disk"])

    def test_a_mounted_file(self):
        self.put("real")
        self.put("mounted")
        if case.run("mount", "--bind", "real", "mounted").status:
            self.skipTest("cannot mount")
        try:
            self.assertEqual(self.convert("mounted"), ("in-place",
                                                       "mount-point"))
            done = self.drop_in("create", "-f", "qcow2", "mounted", "1M")
            self.assertEqual((done.status, done.err), (0, ""))
        finally:
            case.run("umount", "mounted")
        self.assertEqual(self.drop_in("info", "real").status, 0)

    def test_only_one_of_both_may_be_asked_for(self):
        self.assertEqual(self.ours("convert", "--in-place", "--replace", "s",
                                   "x").status, 1)
        self.assertEqual(self.ours("create", "--in-place", "--replace", "x",
                                   "1M").status, 1)
        self.put("n")
        self.assertEqual(self.ours("convert", "-n", "--replace", "s",
                                   "n").status, 1)
        self.assertFalse(os.path.exists("x"))


class Ends(case.Case):
    """F06: a job leaves nothing behind, whatever ends it."""

    @classmethod
    def prepare(cls):
        case.run(f"{cls.dir}/bin/qemu-img", "create", "-q", "-f", "qcow2",
                 "-o", "preallocation=full", "s", "8M")

    def tearDown(self):
        self.assertEqual(sorted(set(os.listdir()) - {"bin", "s", "t"}), [])

    def test_a_file_too_large_is_an_error(self):
        limit = 1 << 20
        for sub in (["convert", "-S", "0", "-O", "raw", "s", "t"],
                    ["convert", "-O", "qcow2", "-S", "0", "s", "t"],
                    ["create", "-f", "qcow2", "-o", "preallocation=full", "t",
                     "8M"],
                    ["create", "-f", "raw", "-o", "preallocation=falloc", "t",
                     "8M"]):
            done = self.drop_in(*sub, preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_FSIZE, (limit, limit)))
            self.assertEqual(done.status, 1, sub)
            self.assertIn("File too large", done.err)
            self.assertFalse(os.path.exists("t"), sub)

    def test_nobody_has_to_read_the_progress(self):
        for sub in (["convert", "-p", "-O", "raw", "s", "t"],
                    ["create", "-f", "qcow2", "t", "1M"]):
            job = subprocess.Popen([f"{self.dir}/bin/qemu-img", *sub],
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
            job.stdout.close()
            err = job.stderr.read()
            job.stderr.close()
            self.assertEqual((job.wait(), err), (0, b""), sub)
            os.unlink("t")

    def test_the_status_tells_of_the_work(self):
        """F16: a message that was lost is no failure of it."""
        for program in "qcow2", "qemu-img":
            with open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run(
                    [f"{self.dir}/bin/{program}", "create", "-f", "qcow2",
                     "t", "1M"], stdout=full, stderr=subprocess.PIPE,
                    check=False)
            self.assertEqual(done.returncode, 0)
            self.assertEqual(b"standard output" in done.stderr,
                             program == "qcow2")
            os.unlink("t")

    def test_a_killed_job_leaves_nothing(self):
        for target in "new", "s2":
            if target == "s2":
                shutil.copy("s", target)
            job, reader = self.start_blocked("convert", "-O", "raw", "s",
                                             target)
            job.kill()
            job.wait()
            os.close(reader)
        os.unlink("s2")


if __name__ == "__main__":
    case.main()
