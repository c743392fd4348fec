"""`check` counts and exits as qemu-img does; the findings are our own
words."""

import case
import images


class Check(case.Case):
    @classmethod
    def prepare(cls):
        cls.clean = (images.make_plain() + images.make_snapshots() +
                     images.make_bitmaps()[:1] + images.make_data_files() +
                     images.make_chains() + images.make_flagged())
        cls.damaged = images.make_inconsistent()
        cls.refused = images.make_refused()
        images.make_raw()

    def test_clean_images_are_clean(self):
        for name in self.clean:
            with self.subTest(name):
                result = self.assert_same("check", name)
                self.assertEqual(result.status, 0)
                self.assertNotRegex(result.err, "(?m)^(ERROR|Leak)")
                self.assert_same("check", "--output=json", name).json()

    def test_damage_is_counted_as_qemu_img_counts_it(self):
        for name in self.damaged:
            with self.subTest(name):
                result = self.assert_same("check", name)
                self.assertIn(result.status, [2, 3])
                self.assert_same("check", "--output=json", name).json()

    def test_findings_go_to_standard_error_even_when_quiet(self):
        result = self.ours("check", "-q", "leak.qcow2")
        self.assertEqual((result.status, result.out), (3, ""))
        self.assertRegex(result.err, r"^Leak at 0x[0-9a-f]+ \([a-z0-9-]+\): ")
        result = self.ours("check", "-q", "unaligned.qcow2")
        self.assertEqual((result.status, result.out), (2, ""))
        self.assertRegex(result.err, r"(?m)^ERROR at 0x[0-9a-f]+ "
                                     r"\(l2-entry-unaligned\): ")

    def test_header_bits_are_noted_and_not_counted(self):
        for name, defect in [("dirty.qcow2", "header-dirty-bit"),
                             ("corrupt.qcow2", "header-corrupt-bit")]:
            result = self.ours("check", name)
            self.assertEqual(result.status, 0)
            self.assertRegex(result.err, rf"^Note at 0x48 \({defect}\): ")

    def test_other_formats_have_nothing_to_check(self):
        for args in [["small.raw"], ["-f", "raw", "plain.qcow2"],
                     ["zero.raw"]]:
            with self.subTest(args):
                self.assert_same("check", *args)
                self.assert_refused(self.ours("check", *args), status=63)

    def test_what_cannot_be_opened_fails(self):
        for name in self.refused + ["gone.qcow2"]:
            with self.subTest(name):
                self.assert_same("check", name)
                self.assert_refused(self.ours("check", name), name)

    def test_the_image_is_left_as_it_is(self):
        for name in self.damaged + ["dirty.qcow2"]:
            before = images.Header(name).bytes
            self.ours("check", name)
            self.assertEqual(before, images.Header(name).bytes)


if __name__ == "__main__":
    case.main()
