"""`dump` prints the metadata of images, the damaged ones too, and opens and
changes nothing."""

import os
import shutil

import case
import images

PARTS = [["header"], ["l1"], ["l2", "0"], ["refcounts"], ["snapshots"],
         ["bitmaps"], ["entry", "0"]]


class Dump(case.Case):
    @classmethod
    def prepare(cls):
        cls.good = (images.make_plain() + images.make_snapshots() +
                    images.make_data_files() + images.make_flagged() +
                    images.make_chains())

    def records(self, *args):
        """The records that are printed as JSON; people get the same number of
        lines."""
        result = self.ours("dump", "--output=json", *args)
        self.assertEqual(result.status, 0, result.err)
        records = result.json()
        human = self.ours("dump", *args)
        lines = [line for line in human.out.splitlines() if " ! " not in line]
        self.assertEqual(len(records), len(lines))
        return records

    def of_kind(self, kind, *args):
        return [r for r in self.records(*args) if r["record"] == kind]

    def test_every_part_of_every_image(self):
        for name in self.good:
            with open(name, "rb") as f:
                before = f.read()
            for part in PARTS:
                with self.subTest(name=name, part=part):
                    self.assertTrue(self.records(name, *part))
            with open(name, "rb") as f:
                self.assertEqual(f.read(), before)

    def test_the_header_is_what_is_dumped_unasked(self):
        self.assertEqual(self.ours("dump", "plain.qcow2").out,
                         self.ours("dump", "plain.qcow2", "header").out)
        fields = {}
        for r in self.of_kind("header", "plain.qcow2"):
            fields.update(r)
        self.assertEqual(fields["size"], 4 << 20)
        self.assertEqual(fields["cluster_bits"], 16)
        self.assertEqual(fields["l1_table_offset"],
                         images.Header("plain.qcow2").l1)

    def test_offsets_are_those_of_the_bytes(self):
        h = images.Header("plain.qcow2")
        entries = self.of_kind("l2-entry", "plain.qcow2", "l2", "0")
        self.assertTrue(entries)
        for entry in entries:
            self.assertEqual(h.get(">Q", entry["at"]), entry["entry"])
        count = self.of_kind("refcount", "plain.qcow2", "entry", "1k")[-1]
        self.assertEqual(h.get(">H", count["at"]), count["refcount"])

    def test_the_way_from_an_offset_leads_to_the_data(self):
        data = self.of_kind("data", "plain.qcow2", "entry", "3M")[0]["at"]
        with open("plain.qcow2", "rb") as f:
            f.seek(data)
            self.assertEqual(f.read(4096), b"\7" * 4096)

    def test_a_line_for_people(self):
        h = images.Header("plain.qcow2")
        self.assertIn(f"{hex(h.l1):14} l1-entry index 0, guest-offset 0x0, "
                      f"entry {hex(h.get('>Q', h.l1))}, l2-table "
                      f"{hex(h.l2)}, copied\n",
                      self.ours("dump", "plain.qcow2", "l1").out)

    def test_defects_are_named_beside_the_value(self):
        h = images.Header("plain.qcow2")
        h.put(">Q", h.l2, 0x50200).save("bent.qcow2")
        entry = self.of_kind("l2-entry", "bent.qcow2", "l2", "0")[0]
        self.assertEqual(entry["defects"], ["l2-entry-unaligned"])
        self.assertIn(" ! l2-entry-unaligned: ",
                      self.ours("dump", "bent.qcow2", "l2", "0").out)

    def test_what_nothing_opens_is_dumped(self):
        h = images.Header("plain.qcow2")
        h.put(">Q", 40, 0x123).put(">I", 4, 9).save("broken.qcow2")
        self.assertEqual(self.ours("info", "broken.qcow2").status, 1)
        bad = [r for r in self.records("broken.qcow2") if "defects" in r]
        self.assertEqual([r["defects"] for r in bad],
                         [["header-version"], ["header-l1-offset"]])
        # The rest of it is as it was.
        self.assertTrue(self.of_kind("refcounts", "broken.qcow2",
                                     "refcounts"))

    def test_every_length_of_a_file_is_dumped(self):
        with open("plain.qcow2", "rb") as f:
            whole = f.read()
        for length in [0, 1, 71, 103, 104, 500, 65536, h_end(whole) + 4,
                       len(whole) - 1]:
            with open("cut.qcow2", "wb") as f:
                f.write(whole[:length])
            for part in PARTS:
                with self.subTest(length=length, part=part):
                    result = self.ours("dump", "--output=json", "cut.qcow2",
                                       *part)
                    if length >= 104 or part == ["header"]:
                        result.json()
                        self.assertEqual(result.status, 0)
                    else:
                        self.assert_refused(result, "cut.qcow2")

    def test_backing_and_data_files_are_not_opened(self):
        os.mkdir("alone")
        for name in self.good:
            shutil.copy(name, "alone/x.qcow2")
            for part in PARTS:
                with self.subTest(name=name, part=part):
                    self.assertEqual(
                        self.ours("dump", "alone/x.qcow2", *part).out,
                        self.ours("dump", name, *part).out)

    def test_tables_of_snapshots(self):
        images.make("taken.qcow2", io=images.PLAIN)
        images.qemu_img("snapshot", "-c", "old", "taken.qcow2")
        images.qemu_io("taken.qcow2", "write -P 9 0 64k")
        now = self.records("taken.qcow2", "entry", "0")
        for snapshot in ["old", "1"]:
            then = self.records("-l", snapshot, "taken.qcow2", "entry", "0")
            self.assertNotEqual(now, then)
            data = [r["at"] for r in then if r["record"] == "data"]
            with open("taken.qcow2", "rb") as f:
                f.seek(data[0])
                self.assertEqual(f.read(16), b"\5" * 16)
        self.assert_refused(self.ours("dump", "-l", "new", "taken.qcow2",
                                      "l1"), "new")
        self.assert_refused(self.ours("dump", "-l", "old", "taken.qcow2"),
                            "snapshot")

    def test_wrong_words_are_refused(self):
        for words, said in [(["l3"], "l3"), (["l2"], "l2"),
                            (["entry"], "entry"), (["entry", "x"], "x"),
                            (["l2", "-1"], "-1"), (["header", "1"], "header"),
                            (["bitmaps", "1"], "bitmaps"),
                            (["l1", "1", "2"], "operand"),
                            (["entry", "8E"], "8E")]:
            with self.subTest(words):
                self.assert_refused(
                    self.ours("dump", "--", "plain.qcow2", *words), said)
        self.assert_refused(self.ours("dump"), "dump")
        self.assert_refused(self.ours("dump", "nowhere.qcow2"), "nowhere")
        self.assert_refused(self.ours("dump", "."), ".")

    def test_output_that_nobody_takes_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = case.subprocess.run(
                [f"{self.dir}/bin/qcow2", "dump", "plain.qcow2"],
                stdout=full, stderr=case.subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)


def h_end(whole):
    """The place where the L1 table begins."""
    return int.from_bytes(whole[40:48], "big")


if __name__ == "__main__":
    case.main()
