"""`compare` answers as qemu-img does."""

import os
import unittest

import case
import images


class Compare(case.Case):
    @classmethod
    def prepare(cls):
        images.make_plain()
        images.make_chains()
        images.make_raw()
        images.make_refused()
        images.make("one.qcow2", size="1M")
        images.make("beyond.qcow2", size="2M", io=["write 1M 64k"])
        for name in ["mixed", "v2", "on-qcow2"]:
            images.qemu_img("convert", "-O", "raw", f"{name}.qcow2",
                            f"{name}.raw")

    def test_equal_disks_are_identical(self):
        for pair in [("mixed.qcow2", "mixed.raw"), ("v2.qcow2", "v2.raw"),
                     ("on-qcow2.raw", "on-qcow2.qcow2"),
                     ("mixed.qcow2", "zstd.qcow2"),
                     ("plain.qcow2", "v2.qcow2"),
                     ("empty.qcow2", "nothing.qcow2"),
                     ("empty.qcow2", "zero.raw")]:
            with self.subTest(pair):
                self.assertEqual(self.assert_same("compare", *pair).status, 0)

    def test_differences_are_found_where_they_are(self):
        for pair in [("mixed.qcow2", "v2.raw"), ("empty.qcow2", "full.qcow2"),
                     ("mixed.qcow2", "ext.qcow2"), ("mixed.raw", "large.qcow2"),
                     ("nothing.qcow2", "on-raw.qcow2"),
                     ("large.qcow2", "empty.qcow2"),
                     # The first difference is the first byte past the end.
                     ("one.qcow2", "beyond.qcow2")]:
            with self.subTest(pair):
                self.assert_same("compare", *pair)
                self.assert_same("compare", *reversed(pair))

    def test_strict_looks_at_sizes_and_allocation(self):
        for pair in [("mixed.qcow2", "mixed.raw"), ("plain.qcow2", "v2.qcow2"),
                     ("empty.qcow2", "nothing.qcow2"),
                     ("empty.qcow2", "pre.qcow2"),
                     ("on-raw.qcow2", "on-qcow2.qcow2"),
                     ("mixed.qcow2", "zstd.qcow2")]:
            with self.subTest(pair):
                self.assert_same("compare", "-s", *pair)

    def test_quiet_says_nothing(self):
        for option in [[], ["-s"], ["-p"]]:
            result = self.assert_same("compare", "-q", *option, "mixed.qcow2",
                                      "v2.raw")
            self.assertEqual((result.status, result.out, result.err),
                             (1, "", ""))

    def test_formats_can_be_forced_for_each(self):
        self.assert_same("compare", "-f", "raw", "mixed.qcow2", "mixed.raw")
        self.assert_same("compare", "-F", "raw", "-f", "qcow2",
                         "mixed.qcow2", "mixed.raw")
        self.assert_same("compare", "-F", "qcow2", "mixed.qcow2", "mixed.raw")

    def test_status_2_is_an_image_that_cannot_be_opened(self):
        for pair in [("gone", "mixed.raw"), ("mixed.raw", "gone"),
                     ("short.qcow2", "mixed.raw")]:
            with self.subTest(pair):
                self.assert_same("compare", *pair)
                self.assert_refused(self.ours("compare", *pair), status=2)

    def test_status_2_is_also_a_wrong_call(self):
        for args in [["mixed.raw"], ["a", "b", "c"], ["-z", "a", "b"],
                     ["-T", "sometimes", "a", "b"], ["-f", "vmdk", "a", "b"]]:
            with self.subTest(args):
                self.assert_refused(self.ours("compare", *args), status=2)

    def test_status_3_is_damaged_metadata(self):
        h = images.Header("plain.qcow2")
        h.put(">Q", h.l2, h.get(">Q", h.l2) + 512).save("unaligned.qcow2")
        for pair in [("unaligned.qcow2", "mixed.raw"),
                     ("mixed.raw", "unaligned.qcow2")]:
            with self.subTest(pair):
                self.assert_same("compare", *pair)
                self.assert_refused(self.ours("compare", *pair),
                                    "unaligned.qcow2", status=3)

    def test_progress_goes_up_to_100(self):
        result = self.ours("compare", "-p", "mixed.qcow2", "mixed.raw")
        steps = result.out.split("\r")
        self.assertEqual(steps[0], "    (0.00/100%)")
        self.assertEqual(steps[-2], "    (100.00/100%)")
        self.assertEqual(steps[-1], "\nImages are identical.\n")

    def test_json_tells_the_same(self):
        def answer(*args):
            result = self.ours("compare", "--output=json", *args)
            return result.status, result.json()

        self.assertEqual(answer("mixed.qcow2", "mixed.raw"),
                         (0, {"identical": True, "sizes-differ": False}))
        self.assertEqual(answer("empty.qcow2", "nothing.qcow2"),
                         (0, {"identical": True, "sizes-differ": True}))
        status, found = answer("mixed.qcow2", "v2.raw")
        self.assertEqual((status, found["difference"]), (1, "content"))
        self.assertIsInstance(found["offset"], int)
        status, found = answer("-s", "empty.qcow2", "nothing.qcow2")
        self.assertEqual((status, found["difference"]), (1, "size"))
        status, found = answer("-s", "mixed.qcow2", "mixed.raw")
        self.assertEqual((status, found["difference"]), (1, "allocation"))

    @unittest.skipIf(not hasattr(os, "O_DIRECT"), "no O_DIRECT here")
    def test_caches_can_be_named(self):
        for cache in ["none", "directsync", "writeback", "writethrough",
                      "unsafe"]:
            with self.subTest(cache):
                self.assertEqual(
                    self.ours("compare", "-T", cache, "mixed.qcow2",
                              "mixed.raw").status, 0)


if __name__ == "__main__":
    case.main()
