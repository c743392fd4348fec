"""Where what `create` and `convert` make goes, and what it may not touch."""

import os

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
            case.subprocess.run([f"{self.dir}/bin/qcow2", "convert", "-q",
                                 "-O", "raw", "s.qcow2", "/dev/stdout"],
                                stdout=f, check=True)
            self.assertEqual(os.pread(f.fileno(), 2 << 20, 0), self.content)
        done = self.ours("convert", "-O", "raw", "s.qcow2", "/dev/stdout")
        self.assertEqual((done.status, done.out), (1, ""))
        self.assertIn("is a pipe", done.err)


if __name__ == "__main__":
    case.main()
