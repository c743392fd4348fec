"""`info` prints the same as qemu-img, and one line more."""

import os
import socket

import case
import images


class Info(case.Case):
    @classmethod
    def prepare(cls):
        cls.good = (images.make_plain() + images.make_snapshots() +
                    images.make_bitmaps() + images.make_data_files() +
                    images.make_chains() + images.make_flagged() +
                    images.make_raw())
        cls.unfollowed = (images.make_broken_chains() +
                          images.make_encrypted())
        cls.refused = images.make_refused()

    def test_every_image_reads_the_same_for_people(self):
        for name in self.good + self.unfollowed:
            with self.subTest(name):
                self.assert_same("info", name)

    def test_every_image_reads_the_same_for_programs(self):
        for name in self.good + self.unfollowed:
            with self.subTest(name):
                self.assert_same("info", "--output=json", name).json()

    def test_chains_read_the_same(self):
        for name in self.good:
            with self.subTest(name):
                self.assert_same("info", "--backing-chain", name)
                self.assert_same("info", "--backing-chain", "--output",
                                 "json", name).json()

    def test_an_encrypted_chain_needs_no_passphrase(self):
        for name in ["luks.qcow2", "aes.qcow2"]:
            with self.subTest(name):
                self.assert_same("info", "--backing-chain", name)

    def test_what_cannot_be_opened_fails(self):
        for name in self.refused + ["gone.qcow2", "."]:
            with self.subTest(name):
                self.assert_refused(self.ours("info", name), name)
                self.assert_same("info", name)

    def test_a_broken_chain_prints_nothing(self):
        result = self.ours("info", "--backing-chain", "sub/broken0.qcow2")
        self.assert_refused(result, "gone.raw")

    def test_a_format_can_be_forced(self):
        self.assert_same("info", "-f", "raw", "plain.qcow2")
        self.assert_refused(self.ours("info", "-f", "qcow2", "base.raw"))
        self.assert_refused(self.ours("info", "-f", "vmdk", "base.raw"))

    def test_f07_the_first_bytes_of_an_image(self):
        case.run("qemu-img", "create", "-q", "-f", "qcow2", "whole.qcow2", "10G")
        with open("whole.qcow2", "rb") as f:
            whole = f.read()
        for n in (65536, 4096, 512, 104):
            with open("head.qcow2", "wb") as f:
                f.write(whole[:n])
            theirs = self.theirs("info", "head.qcow2")
            got = self.drop_in("info", "head.qcow2")
            self.assertEqual((got.status, got.out), (0, theirs.out))
            self.assertIn("L1 table, refcount table", got.err)
            got = self.ours("info", "head.qcow2")
            self.assertRegex(got.out, r"\nincomplete: yes \(without .*L1 table")
            lacks = self.ours("info", "--output=json", "head.qcow2").json()
            self.assertIn("refcount table", lacks["lacks"])
        got = self.ours("convert", "-O", "raw", "head.qcow2", "x")
        self.assertEqual(got.status, 1)

    def test_one_line_more_says_whether_the_image_is_self_contained(self):
        expected = {
            "plain.qcow2": "yes",
            "base.raw": "yes",
            "on-raw.qcow2": "no (backing file)",
            "data.qcow2": "no (data file)",
            "sub/broken0.qcow2": "no (backing file)",
        }
        for name, answer in expected.items():
            with self.subTest(name):
                ours = self.ours("info", name).out
                self.assertEqual(ours, self.theirs("info", name).out +
                                 f"self-contained: {answer}\n")

    def test_two_members_more_name_the_other_files(self):
        def more(name):
            ours = self.ours("info", "--output=json", name).json()
            theirs = self.theirs("info", "--output=json", name).json()
            extra = {k: ours.pop(k) for k in ["self-contained", "external"]}
            self.assertEqual(ours, theirs)
            return extra

        self.assertEqual(more("plain.qcow2"),
                         {"self-contained": True, "external": []})
        self.assertEqual(more("on-raw.qcow2"), {
            "self-contained": False,
            "external": [{"type": "backing-file", "filename": "base.raw"}]})
        self.assertEqual(more("data.qcow2"), {
            "self-contained": False,
            "external": [{"type": "data-file", "filename": "data.raw"}]})


class Hostile(case.Case):
    """Text from images and paths stays text."""

    EVIL = b"\x1b]0;x\x07\xff\n\r\"\\\xe2\x80\xae."

    @classmethod
    def prepare(cls):
        images.make("snap.qcow2")
        images.qemu_img("snapshot", "-c", "x" * len(cls.EVIL), "snap.qcow2")
        h = images.Header("snap.qcow2")
        at = h.bytes.index(b"x" * len(cls.EVIL))
        h.bytes[at:at + len(cls.EVIL)] = cls.EVIL
        h.save("evil-snap.qcow2")
        images.make("back.qcow2", "-u", "-b", "y" * len(cls.EVIL), "-F",
                    "raw")
        h = images.Header("back.qcow2")
        at = h.bytes.index(b"y" * len(cls.EVIL))
        h.bytes[at:at + len(cls.EVIL)] = cls.EVIL
        h.save("evil-back.qcow2")
        with open(cls.EVIL, "wb") as f:
            f.write(bytes(512))

    def assert_plain(self, raw):
        self.assertNotRegex(raw, rb"[\x00-\x09\x0b-\x1f\x7f-\xff]")

    def test_no_control_character_reaches_the_terminal(self):
        for name in [b"evil-snap.qcow2", b"evil-back.qcow2",
                     b"./" + self.EVIL]:
            for args in [["info"], ["info", "--output=json"]]:
                with self.subTest(name=name, args=args):
                    result = self.ours(*args, name)
                    self.assert_plain(result.raw)
                    self.assert_plain(result.err.encode())

    def test_errors_are_plain_too(self):
        for args in [["map"], ["convert", "-l"], ["compare", "-s"],
                     ["info", "--backing-chain"], ["check", "-f"],
                     ["create", "-o"], ["create", "-f"]]:
            result = self.ours(*args, self.EVIL, self.EVIL + b"2")
            self.assertNotEqual(result.status, 0)
            self.assert_plain(result.err.encode())
            self.assert_plain(result.raw)

    def test_json_of_odd_names_is_what_qemu_img_prints(self):
        for name in [b"evil-snap.qcow2", b"./" + self.EVIL]:
            with self.subTest(name):
                self.assert_same("info", "--output=json", name).json()


class Access(case.Case):
    @classmethod
    def prepare(cls):
        images.make_plain()
        images.make_data_files()
        images.make_chains()

    def test_info_opens_neither_data_file_nor_backing_file(self):
        os.rename("data.raw", "moved.raw")
        os.rename("base.raw", "moved-base.raw")
        try:
            for name in ["data.qcow2", "on-raw.qcow2"]:
                self.assertEqual(self.ours("info", name).status, 0)
        finally:
            os.rename("moved.raw", "data.raw")
            os.rename("moved-base.raw", "base.raw")

    def test_the_default_gate_keeps_to_the_directory(self):
        for name, allowed in [("on-raw.qcow2", True),
                              ("sub/up.qcow2", False),
                              ("absolute.qcow2", False)]:
            with self.subTest(name):
                result = self.ours("info", "--backing-chain", name)
                self.assertEqual(result.status == 0, allowed)
                if not allowed:
                    self.assert_refused(result, "--external")

    def test_the_gate_obeys(self):
        chain = ["info", "--backing-chain"]
        for options, name, status in [
                (["--external=any"], "absolute.qcow2", 0),
                ([f"--external=allow:{self.dir}"], "absolute.qcow2", 0),
                (["--external", f"allow:{self.dir}/sub"], "absolute.qcow2",
                 1),
                (["--external=none"], "on-raw.qcow2", 1),
                (["--external=any", "--external=none"], "on-raw.qcow2", 1)]:
            with self.subTest(options=options, name=name):
                result = self.ours(*chain, *options, name)
                self.assertEqual(result.status, status, result.err)

    def test_chains_of_hundreds_are_read(self):
        """F08: a chain grows by an image with each backup."""
        n = 130
        h = images.Header("on-qcow2.qcow2")
        at, length = h.get(">Q", 8), h.get(">I", 16)
        for i in range(n):
            below = f"d{i - 1:03}.q" if i else h.bytes[at:at + length].decode()
            h = images.Header("on-qcow2.qcow2")
            h.put(">I", 16, len(below))
            h.bytes[at:at + len(below)] = below.encode()
            h.save(f"d{i:03}.q")
        top = f"d{n - 1:03}.q"
        chain = ["info", "--backing-chain", "--output", "json"]
        self.assertEqual(self.assert_same("map", "--output=json", top).status,
                         0)
        layers = len(self.ours(*chain, top).json())
        self.assertGreater(layers, n)
        for depth, status in [(str(layers), 0), (str(layers - 1), 1),
                              ("64", 1), ("0", 1), ("x", 1), ("65537", 1)]:
            with self.subTest(depth=depth):
                result = self.ours(*chain, "--max-depth", depth, top)
                self.assertEqual(result.status, status, result.err)
                if status:
                    self.assert_refused(result, depth)

    def test_an_unnamed_backing_format_is_not_guessed(self):
        h = images.Header("on-raw.qcow2")
        at = h.bytes.index(b"\xe2\x79\x2a\xca")
        h.put(">I", at, 0x12345678).save("no-format.qcow2")
        chain = ["info", "--backing-chain"]
        self.assert_refused(self.ours(*chain, "no-format.qcow2"), "format")
        self.assertEqual(self.ours(*chain, "--backing-format=raw",
                                   "no-format.qcow2").status, 0)
        self.assert_same(*chain, "no-format.qcow2")

    def test_an_image_in_use_needs_force_share(self):
        with case.subprocess.Popen(
                [case.QEMU_IO, "plain.qcow2"], stdin=case.subprocess.PIPE,
                stdout=case.subprocess.PIPE) as writer:
            writer.stdin.write(b"read 0 512\n")
            writer.stdin.flush()
            writer.stdout.readline()
            try:
                for args in [["info"], ["map"], ["check"]]:
                    self.assert_refused(self.ours(*args, "plain.qcow2"),
                                        "-U")
                    self.assertEqual(
                        self.ours(*args, "-U", "plain.qcow2").status, 0)
            finally:
                writer.stdin.close()
                writer.wait()

    def test_what_is_no_file_is_refused_at_once(self):
        os.mkfifo("fifo")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind("socket")
        for name in ["fifo", "socket", "/dev/zero", "."]:
            with self.subTest(name):
                for command in ["info", "map", "check"]:
                    self.assert_refused(self.ours(command, name))


if __name__ == "__main__":
    case.main()
