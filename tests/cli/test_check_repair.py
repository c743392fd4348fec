"""`check -r` repairs everything that qemu-img repairs, with the same numbers
and exit statuses if both do the same, and leaves images that qemu-img finds
clean and reads as it reads its own repairs."""

import fcntl
import os
import resource
import shutil
import signal
import struct

import case

OFFSET = 0x00fffffffffffe00
COPIED = 1 << 63
CLUSTER = 4096
WRITES = ("write -P 1 0 64k", "write -P 2 1M 64k", "write -z 2M 64k")


class Image:
    """A small image of qemu-img's, with the tables that a test breaks."""

    def __init__(self, path, options=f"cluster_size={CLUSTER}", writes=WRITES,
                 snapshots=()):
        self.path = path
        if os.path.exists(path):
            os.unlink(path)
        made = case.run("qemu-img", "create", "-q", "-f", "qcow2", "-o",
                        options, path, "4M")
        assert made.status == 0, made.err
        args = [arg for write in writes for arg in ("-c", write)]
        case.run("qemu-io", "-f", "qcow2", *args, path)
        for name in snapshots:
            case.run("qemu-img", "snapshot", "-c", name, path)

    def get(self, off, size=8):
        with open(self.path, "rb") as f:
            f.seek(off)
            return int.from_bytes(f.read(size), "big")

    def put(self, off, value, size=8):
        with open(self.path, "r+b") as f:
            f.seek(off)
            f.write(value.to_bytes(size, "big"))
        return self

    def flip(self, off, bits):
        return self.put(off, self.get(off) ^ bits)

    def refcount(self, cluster, value):
        return self.put(self.block + 2 * cluster, value, 2)

    l1 = property(lambda self: self.get(40))
    l2 = property(lambda self: self.get(self.l1) & OFFSET)
    table = property(lambda self: self.get(48))
    block = property(lambda self: self.get(self.table))
    data = property(lambda self: self.get(self.l2) & OFFSET)


class Copy(Image):
    def __init__(self, path):
        self.path = path


def plain():
    if not os.path.exists("base.qcow2"):
        Image("base.qcow2")
    shutil.copy("base.qcow2", "plain.qcow2")
    return Copy("plain.qcow2")


# Damage that both programs repair in the same way: everything that they print
# is the same.
SAME = {
    "leak": lambda i: i.refcount(5, 3),
    "leak-and-flag": lambda i: i.refcount(5, 2).flip(i.l2, COPIED),
    "l2-flag": lambda i: i.flip(i.l2, COPIED),
    "l1-flag": lambda i: i.flip(i.l1, COPIED),
    "unaligned-data": lambda i: i.flip(i.l2, 512),
    "unaligned-zeros": lambda i: i.flip(i.l2, 513),
    "l2-beyond": lambda i: i.put(i.l2, 1 << 40 | COPIED),
    "l1-beyond": lambda i: i.put(i.l1, 1 << 40 | COPIED),
    "one-table-twice": lambda i: i.put(i.l1 + 8, i.l2 | COPIED),
    "one-cluster-twice": lambda i: i.put(i.l2 + 8, i.get(i.l2)),
    "dirty": lambda i: i.put(72, 1),
    "corrupt": lambda i: i.put(72, 2),
    "clean": lambda i: i,
}

# Damage that both repair, in different places or with different numbers.
SAME_DISK = {
    "too-low": lambda i: i.refcount(5, 0).refcount(6, 0),
    "R1-block-beyond": lambda i: i.put(i.table, 1 << 34),
    "R1-block-is-l1": lambda i: i.put(i.table, i.l1),
    "R1-block-twice": lambda i: i.put(i.table + 8, i.block),
    "R2-no-block": lambda i: i.put(i.table, 0),
    "H11-no-table": lambda i: i.put(56, 0, 4),
    "H10-table-is-l1": lambda i: i.put(48, i.l1),
    "H10-table-beyond": lambda i: i.put(48, 1 << 40),
    "L5-data-is-l1": lambda i: i.put(i.l2, i.l1 | COPIED),
    "L5-data-is-header": lambda i: i.put(i.l2, 0 | COPIED | 0),
    "L11-copied-nothing": lambda i: i.put(i.l2, COPIED),
}

# Damage that we repair, and qemu-img does not, or gives up on.
OURS = {
    "R1-block-unaligned": lambda i: i.flip(i.table, 512),
    "R1-block-reserved": lambda i: i.flip(i.table, 3),
    "H10-table-unaligned": lambda i: i.flip(48, 512),
    "L1-reserved": lambda i: i.flip(i.l1, 1 << 60 | 7),
    "L13-reserved": lambda i: i.flip(i.l2, 2),
}


class Repair(case.Case):
    def both(self, image, mode="all"):
        """Repairs copies with both programs; ours stays in ours.qcow2."""
        shutil.copy(image.path, "theirs.qcow2")
        shutil.copy(image.path, "ours.qcow2")
        theirs = self.theirs("check", "-r", mode, "theirs.qcow2")
        ours = self.drop_in("check", "-r", mode, "ours.qcow2")
        return theirs, ours

    def mended(self, image):
        """Our repair alone.  For some damage qemu-img's takes many seconds."""
        shutil.copy(image.path, "ours.qcow2")
        return self.drop_in("check", "-r", "all", "ours.qcow2")

    def content(self, path):
        done = self.theirs("convert", "-f", "qcow2", "-O", "raw", path, "raw")
        if done.status:
            return done.status
        with open("raw", "rb") as f:
            return f.read()

    def assert_settled(self, status):
        """qemu-img agrees with the result of our repair, and another repair
        has nothing to do."""
        self.assertEqual(self.theirs("check", "ours.qcow2").status, status)
        with open("ours.qcow2", "rb") as f:
            before = f.read()
        again = self.ours("check", "-r", "all", "ours.qcow2")
        self.assertEqual(again.status, status, again.err)
        self.assertNotIn("were found and repaired", again.out)
        with open("ours.qcow2", "rb") as f:
            self.assertEqual(before, f.read())

    def test_the_same_repairs_print_the_same(self):
        for mode in ["all", "leaks"]:
            for name, damage in SAME.items():
                with self.subTest(name, mode=mode):
                    theirs, ours = self.both(damage(plain()), mode)
                    self.assertEqual((ours.status, ours.out),
                                     (theirs.status, theirs.out), ours.err)
                    if mode == "all":
                        self.assert_settled(theirs.status)
                    self.assertEqual(self.content("ours.qcow2"),
                                     self.content("theirs.qcow2"))

    def test_json_has_the_same_members(self):
        for name, damage in SAME.items():
            with self.subTest(name):
                path = damage(plain()).path
                shutil.copy(path, "copy.qcow2")
                expected = self.theirs("check", "-r", "all", "--output=json",
                                       path)
                shutil.copy("copy.qcow2", path)
                got = self.ours("check", "-r", "all", "--output=json", path)
                self.assertEqual((got.status, got.out),
                                 (expected.status, expected.out))

    def test_other_repairs_leave_the_same_disk(self):
        for name, damage in SAME_DISK.items():
            with self.subTest(name):
                theirs, ours = self.both(damage(plain()))
                self.assertEqual((theirs.status, ours.status), (0, 0),
                                 theirs.err + ours.err)
                self.assert_settled(0)
                self.assertEqual(self.content("ours.qcow2"),
                                 self.content("theirs.qcow2"))

    def test_more_is_repaired_than_qemu_img_repairs(self):
        expected = self.content(plain().path)
        for name, damage in OURS.items():
            with self.subTest(name):
                theirs, ours = self.both(damage(plain()))
                self.assertNotEqual(theirs.status, 0)
                self.assertEqual(ours.status, 0, ours.err)
                self.assert_settled(0)
                self.assertEqual(self.content("ours.qcow2"), expected)

    def test_r7_a_huge_claim_does_not_make_a_huge_file(self):
        image = plain()
        image.put(56, (8 << 20) // CLUSTER, 4).refcount(0, 0)
        size = os.path.getsize(image.path)
        ours = self.mended(image)
        self.assertEqual(ours.status, 0, ours.err)
        self.assert_settled(0)
        self.assertLess(os.path.getsize("ours.qcow2"), 2 * size)

    def test_l5_one_copy_serves_all_entries(self):
        image = plain()
        for i in range(512):
            image.put(image.l2 + 8 * i, image.l1 | COPIED)
        size = os.path.getsize(image.path)
        ours = self.mended(image)
        self.assertEqual(ours.status, 0, ours.err)
        self.assert_settled(0)
        self.assertLess(os.path.getsize("ours.qcow2"), size + 8 * CLUSTER)

    def test_l5_a_table_that_is_its_own_data(self):
        image = plain().put(plain().l2, plain().l2 | COPIED)
        expected = self.content(image.path)
        ours = self.mended(image)
        self.assertEqual(ours.status, 0, ours.err)
        self.assert_settled(0)
        self.assertEqual(self.content("ours.qcow2"), expected)

    def test_snapshot_tables_are_mended(self):
        table = 64

        def fresh():
            return Image("shots.qcow2", snapshots=["one", "two"])

        cases = {
            "S1-none": (36, 0), "S1-8": (36, 8), "S1-1025": (36, 1025),
            "S1-all": (36, 0xffffffff),
        }
        expected = self.content(fresh().path)
        for name, (off, value) in cases.items():
            with self.subTest(name):
                image = fresh()
                image.put(image.get(table) + off, value, 4)
                ours = self.mended(image)
                self.assertEqual(ours.status, 0, ours.err)
                self.assert_settled(0)
                self.assertEqual(self.content("ours.qcow2"), expected)
        for count in [3, 65536, 65537, 0xffffffff]:
            with self.subTest("H12", count=count):
                image = fresh().put(60, count, 4)
                ours = self.mended(image)
                self.assertEqual(ours.status, 0, ours.err)
                self.assert_settled(0)
                self.assertEqual(self.content("ours.qcow2"), expected)
                listed = self.theirs("snapshot", "-l", "ours.qcow2").out
                self.assertRegex(listed, r"(?m)^1 +one ")
                self.assertRegex(listed, r"(?m)^2 +two ")

    def test_s3_snapshots_out_of_place_stay(self):
        for value in [1 << 40, 512]:
            image = Image("shots.qcow2", snapshots=["one"])
            off = image.get(64)
            image.put(off, image.get(off) ^ value)
            theirs, ours = self.both(image)
            self.assertEqual((ours.status, ours.out),
                             (theirs.status, theirs.out), ours.err)
            self.assert_settled(2)

    def test_r24_subcluster_bitmaps(self):
        options = "cluster_size=16384,extended_l2=on"
        writes = ("write -P 1 0 64k",)
        cases = [
            (0, 0x00000001ffffffff, None),     # both bits: the data stays
            (0, 0xffffffff00000000, 512),      # zeros in a wrong place
        ]
        for entry, bitmap, flip in cases:
            image = Image("ext.qcow2", options, writes)
            image.put(image.l2 + 16 * entry + 8, bitmap)
            if flip:
                image.flip(image.l2, flip)
            ours = self.mended(image)
            self.assertEqual(ours.status, 0, ours.err)
            self.assert_settled(0)
            content = self.content("ours.qcow2")
            self.assertEqual(content[:16384],
                             bytes(16384) if flip else b"\1" * 16384)
            self.assertEqual(content[16384:65536], b"\1" * 49152)

    def test_what_may_mean_anything_stays(self):
        image = plain().flip(plain().l2, 512 | 2)
        entry = image.get(image.l2)
        ours = self.mended(image)
        self.assertEqual(ours.status, 2)
        image.path = "ours.qcow2"
        self.assertEqual(image.get(image.l2) | COPIED, entry | COPIED)
        self.assertRegex(ours.err, r"(?m)^ERROR at .*\(l2-entry-unaligned\)")

    def test_findings_become_records(self):
        image = plain().refcount(5, 0)
        image.put(image.l2 + 8, 1 << 40)
        result = self.ours("check", "-r", "all", "--output", "json",
                           "--findings", image.path)
        self.assertEqual((result.status, result.err), (2, ""))
        records = {r["defect"]: r for r in result.json()["findings"]}
        self.assertEqual(records["refcount-too-low"]["action"], "repaired")
        self.assertEqual(records["refcount-too-low"]["offset"], 5 * CLUSTER)
        self.assertEqual(records["refcount-leak"]["severity"], "leak")
        self.assertEqual(records["l2-entry-beyond-eof"]["action"], "none")
        self.assertEqual(result.json()["corruptions"], 1)
        self.assertEqual(self.ours("check", "--output", "json", "--findings",
                                   plain().path).json()["findings"], [])
        self.assert_refused(self.ours("check", "--findings", image.path),
                            "--output json")

    def test_wrong_calls(self):
        path = plain().path
        self.assert_refused(self.ours("check", "-r", "some", path), "-r",
                            "some")
        self.assert_refused(self.ours("check", "-r", "all", "-U", path))
        self.assert_same("check", "-r", "all", "-f", "raw", path)

    def test_r8_files_that_cannot_be_written_stay(self):
        if os.geteuid() == 0:
            self.skipTest("root may write everything")
        image = plain().refcount(5, 0)
        os.chmod(image.path, 0o444)
        self.assert_refused(self.ours("check", "-r", "all", image.path))

    def test_r8_a_full_disk_stays_as_it_is(self):
        image = plain().put(56, 0, 4)
        with open(image.path, "rb") as f:
            before = f.read()

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE,
                               (len(before), len(before)))

        result = self.ours("check", "-r", "all", image.path, preexec_fn=limit)
        self.assertEqual(result.status, 1)
        with open(image.path, "rb") as f:
            self.assertEqual(f.read()[:len(before)], before)

    def test_r5_r6_refcounts_of_every_width(self):
        for bits in [1, 2, 4, 8, 16, 32, 64]:
            with self.subTest(bits=bits):
                image = Image("wide.qcow2",
                              f"cluster_size={CLUSTER},refcount_bits={bits}")
                # All bits are set, in a place that must be something else.
                image.put(image.block, (1 << 64) - 1)
                expected = self.content(image.path)
                ours = self.mended(image)
                self.assertEqual(ours.status, 0, ours.err)
                self.assert_settled(0)
                self.assertEqual(self.content("ours.qcow2"), expected)

    def test_a_locked_image_is_not_repaired(self):
        image = plain()
        with open(image.path, "r+b") as f:
            fcntl.fcntl(f, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 100,
                                           200, 0))
            self.assert_refused(self.ours("check", "-r", "all", image.path))


if __name__ == "__main__":
    case.main()
