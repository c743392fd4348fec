"""`snapshot` does the same as qemu-img's: the same list, ids, lookups and exit
statuses, and images that each tool takes over from the other."""

import re
import shutil
import struct

import case
import images
from bitmaps import Bitmaps

KINDS = {
    "plain": [],
    "v2": ["-o", "compat=0.10"],
    "small": ["-o", "cluster_size=512"],
    "narrow": ["-o", "refcount_bits=8,cluster_size=4k"],
    "sub": ["-o", "extended_l2=on"],
    "huge": ["-o", "cluster_size=2M"],
    "full": ["-o", "preallocation=metadata"],
}

NO_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


class Both(case.Case):
    def checked(self, name):
        result = self.theirs("check", name)
        self.assertEqual(result.status, 0, result.out + result.err)
        result = self.ours("check", name)
        self.assertEqual(result.status, 0, result.out + result.err)

    def contents(self, name, snapshot=None):
        view = ["-l", f"snapshot.id={snapshot}"] if snapshot else []
        result = self.theirs("convert", "-O", "raw", *view, name, "view.raw")
        self.assertEqual(result.status, 0, result.err)
        with open("view.raw", "rb") as f:
            return f.read()

    def listing(self, name, run=None):
        result = (run or self.theirs)("snapshot", "-l", name)
        self.assertEqual(result.status, 0, result.err)
        return NO_DATE.sub("DATE", result.out)


class Sequences(Both):
    """The same steps by each tool, on images of its own."""

    STEPS = [
        ("write -P 1 0 600k", "write -P 2 1M 300k"),
        ("-c", "one"),
        ("write -P 3 100k 700k", "write -z 1M 100k", "discard 1200k 64k"),
        ("-c", "two"),
        ("write -P 4 0 2M",),
        ("-c", "one"),
        ("-a", "two"),
        ("write -P 5 300k 5k",),
        ("-d", "one"),
        ("-d", "2"),
        ("-c", "2"),
        ("-a", "one"),
        ("-a", "2"),
        ("-d", "2"),
        ("write -P 6 2M 64k",),
        ("-a", ""),
        ("-d", ""),
        ("-d", "nothing"),
        ("-a", "nothing"),
        ("-d", "two"),
        ("-d", "one"),
        ("write -P 7 0 2M",),
    ]

    def step(self, name, run, step):
        if not step[0].startswith("-"):
            images.qemu_io(name, *step)
            return None
        result = run("snapshot", *step, name)
        self.assertEqual(result.out, "")
        return result.status

    def test_every_step_ends_alike(self):
        for n, (kind, options) in enumerate(KINDS.items()):
            with self.subTest(kind):
                for name in ("ours", "theirs"):
                    images.make(f"{name}.qcow2", *options)
                for i, step in enumerate(self.STEPS, 1):
                    ours = self.step("ours.qcow2", self.drop_in, step)
                    theirs = self.step("theirs.qcow2", self.theirs, step)
                    self.assertEqual(ours, theirs, step)
                    # Each step for one kind: looking at the images takes
                    # longer than changing them.
                    if (i + n) % len(KINDS) == 0 or i == len(self.STEPS):
                        self.compare(step)

    def test_the_tools_take_turns_on_one_image(self):
        for kind in ("plain", "v2", "small", "sub"):
            with self.subTest(kind):
                options = KINDS[kind]
                images.make("both.qcow2", *options)
                images.make("theirs.qcow2", *options)
                for i, step in enumerate(self.STEPS):
                    run = self.drop_in if i % 2 else self.theirs
                    self.step("both.qcow2", run, step)
                    self.step("theirs.qcow2", self.theirs, step)
                    if i % 4 == 3:
                        self.compare(step, "both.qcow2")

    def compare(self, step, name="ours.qcow2"):
        self.checked(name)
        listing = self.listing(name)
        self.assertEqual(listing, self.listing("theirs.qcow2"), step)
        self.assertEqual(listing, self.listing(name, self.drop_in))
        ids = [line.split()[0] for line in listing.splitlines()[2:]]
        for snapshot in [None, *ids]:
            self.assertEqual(self.contents(name, snapshot),
                             self.contents("theirs.qcow2", snapshot),
                             f"{step}: {snapshot}")


class Sizes(Both):
    def test_the_disk_gets_the_size_that_the_snapshot_had(self):
        for tool in (self.drop_in, self.theirs):
            images.make("grown.qcow2", io=["write -P 1 0 4M"])
            tool("snapshot", "-c", "small", "grown.qcow2")
            images.qemu_img("resize", "grown.qcow2", "8G")
            images.qemu_io("grown.qcow2", "write -P 2 7G 1M")
            tool("snapshot", "-c", "large", "grown.qcow2")
            for other in (self.drop_in, self.theirs):
                for name, size in (("small", 4 << 20), ("large", 8 << 30)):
                    result = other("snapshot", "-a", name, "grown.qcow2")
                    self.assertEqual(result.status, 0, result.err)
                    info = self.theirs("info", "--output=json",
                                       "grown.qcow2").json()
                    self.assertEqual(info["virtual-size"], size)
                    self.checked("grown.qcow2")
                images.qemu_io("grown.qcow2", "read -P 2 7G 1M",
                               "read -P 1 0 4M")


class Refusals(Both):
    @classmethod
    def prepare(cls):
        images.make("plain.qcow2", io=images.PLAIN)
        images.qemu_img("snapshot", "-c", "one", "plain.qcow2")
        images.make("one-bit.qcow2", "-o", "refcount_bits=1",
                    io=["write 0 64k"])
        images.make("data.qcow2", "-o", "data_file=data.raw")
        images.make_raw()

    def test_what_qemu_img_refuses_is_refused(self):
        for args in [["-l", "-c", "x", "plain.qcow2"],
                     ["-c", "x", "-a", "y", "plain.qcow2"],
                     ["-l", "-l", "plain.qcow2"],
                     ["-l"], ["-c"], [], ["-l", "plain.qcow2", "small.raw"],
                     ["-z", "plain.qcow2"], ["-l", "missing.qcow2"],
                     ["-U", "-c", "x", "plain.qcow2"],
                     ["-c", "x", "one-bit.qcow2"],
                     ["-c", "x", "data.qcow2"], ["-a", "x", "data.qcow2"],
                     ["-d", "x", "data.qcow2"],
                     ["-c", "x", "small.raw"], ["-a", "x", "small.raw"],
                     ["-d", "x", "small.raw"]]:
            with self.subTest(args):
                self.assertEqual(self.drop_in("snapshot", *args).status, 1)
                for name in ("plain.qcow2", "one-bit.qcow2", "data.qcow2"):
                    self.checked(name)
                self.assertEqual(self.assert_same("snapshot", *args).status, 1)
                # qemu-img leaks a cluster when it fails.
                images.qemu_img("check", "-r", "leaks", "one-bit.qcow2")

    def test_lists_are_the_same(self):
        for args in [["-l", "plain.qcow2"], ["plain.qcow2", "-l"],
                     ["-q", "-l", "plain.qcow2"], ["plain.qcow2"],
                     ["-U", "-l", "plain.qcow2"], ["-l", "data.qcow2"],
                     ["--force-share", "-l", "plain.qcow2"],
                     ["-l", "small.raw"]]:
            with self.subTest(args):
                self.assert_same("snapshot", *args)

    def test_listing_is_what_we_do_unasked(self):
        self.assertEqual(self.ours("snapshot", "plain.qcow2").out,
                         self.ours("snapshot", "-l", "plain.qcow2").out)

    def test_messages_name_the_snapshot(self):
        result = self.ours("snapshot", "-a", "no\nsuch", "plain.qcow2")
        self.assert_refused(result, r"apply snapshot 'no\x0asuch'")
        result = self.ours("snapshot", "-d", "none", "plain.qcow2")
        self.assert_refused(result, "delete snapshot 'none'", "not found")
        result = self.ours("snapshot", "-c", "n" * 256, "plain.qcow2")
        self.assert_refused(result, "create snapshot", "255")

    def test_bitmaps_stay_valid_unless_the_disk_would_change(self):
        images.make("bitmaps.qcow2", io=images.PLAIN)
        images.qemu_img("bitmap", "--add", "bitmaps.qcow2", "b")
        for args, status in ((["-c", "x"], 0), (["-a", "x"], 1),
                             (["-c", "y"], 0), (["-d", "x"], 0)):
            result = self.assert_same("snapshot", *args, "bitmaps.qcow2")
            self.assertEqual(result.status, status)
            info = self.theirs("info", "--output=json", "bitmaps.qcow2").json()
            bitmaps = info["format-specific"]["data"]["bitmaps"]
            self.assertEqual([b["flags"] for b in bitmaps], [["auto"]])


    def test_bitmaps_say_the_same_after_every_step(self):
        for damage in (0, 1):
            with self.subTest(in_use=damage):
                for who, run in (("ours", self.ours), ("theirs", self.theirs)):
                    name = f"{who}-bitmaps.qcow2"
                    images.make(name, io=images.PLAIN)
                    for flags in ([], ["--disable"]):
                        images.qemu_img("bitmap", "--add", *flags, "-g", "512",
                                        name, f"b{len(flags)}")
                    images.qemu_io(name, "write -P 3 2M 64k")
                    h = images.Header(name)
                    at = images.find_bitmap_directory(h) + 12
                    h.put(">I", at, h.get(">I", at) | damage).save(name)
                    said = Bitmaps(name).said
                    for step, status in (("-c", 0), ("-a", 1), ("-d", 0)):
                        done = run("snapshot", step, "x", name)
                        self.assertEqual(done.status, status, done.err)
                        now = Bitmaps(name)
                        self.assertTrue(now.valid)
                        self.assertEqual(now.said["b1"], said["b1"])
                        self.assertEqual(now.said["b0"][1:], said["b0"][1:])
                        self.assertEqual(now.said["b0"][0] & 1, damage)
                    self.checked(name)


class Tables(Both):
    """R38: entries of every age."""

    def make(self, extra, version):
        compat = "0.10" if version == 2 else "1.1"
        images.make("table.qcow2", "-o", f"compat={compat}",
                    io=["write -P 3 0 128k"])
        images.qemu_img("snapshot", "-c", "old", "table.qcow2")
        with open("table.qcow2", "r+b") as f:
            f.seek(64)
            at, = struct.unpack(">Q", f.read(8))
            f.seek(at)
            fixed = f.read(36)
            f.seek(at + 40 + 24)
            names = f.read(4)
            more = struct.pack(">QQQ", 0, 4 << 20, 77) + bytes(range(26))
            f.seek(at + 36)
            entry = struct.pack(">I", extra) + more[:extra] + names
            f.write(entry + bytes(-(36 + len(entry)) % 8) + bytes(16))
        self.assertEqual(fixed[12:14], b"\0\1")

    def entry(self):
        with open("table.qcow2", "rb") as f:
            f.seek(64)
            at, = struct.unpack(">Q", f.read(8))
            f.seek(at)
            fixed = f.read(40)
            extra, = struct.unpack(">I", fixed[36:])
            return extra, f.read(extra)

    def test_old_entries_are_completed_and_unknown_data_stays(self):
        for version in (2, 3):
            for extra in (0, 8, 16, 24, 50):
                with self.subTest(version=version, extra=extra):
                    self.make(extra, version)
                    result = self.ours("snapshot", "-c", "new", "table.qcow2")
                    self.assertEqual(result.status, 0, result.err)
                    kept, data = self.entry()
                    self.assertEqual(kept, max(extra, 24))
                    self.assertEqual(struct.unpack(">QQ", data[:16]),
                                     (0, 4 << 20))
                    if extra < 24:  # S14: as QEMU, which knows no icount
                        self.assertEqual(data[16:], b"\xff" * 8)
                    if extra > 24:
                        self.assertEqual(data[24:], bytes(range(26)))
                    self.checked("table.qcow2")
                    for name in ("old", "new"):
                        result = self.theirs("snapshot", "-a", name,
                                             "table.qcow2")
                        self.assertEqual(result.status, 0, result.err)
                    images.qemu_io("table.qcow2", "read -P 3 0 128k")


class Space(Both):
    def test_deleting_gives_space_back_to_the_host(self):
        images.make("space.qcow2", size="64M", io=["write -P 1 0 32M"])
        shutil.copy("space.qcow2", "one.qcow2")
        self.ours("snapshot", "-c", "s", "space.qcow2")
        images.qemu_io("space.qcow2", "write -P 2 0 32M")
        self.ours("snapshot", "-d", "s", "space.qcow2")
        self.checked("space.qcow2")
        images.qemu_io("space.qcow2", "read -P 2 0 32M")
        sizes = [self.theirs("info", "--output=json", name).json()
                 ["actual-size"] for name in ("one.qcow2", "space.qcow2")]
        self.assertLess(sizes[1], sizes[0] + (2 << 20))


if __name__ == "__main__":
    case.main()
