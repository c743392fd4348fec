"""`map` prints the same as qemu-img."""

import case
import images


class Map(case.Case):
    @classmethod
    def prepare(cls):
        cls.good = (images.make_plain() + images.make_snapshots() +
                    images.make_data_files() + images.make_flagged())
        cls.chains = images.make_chains()
        cls.raw = images.make_raw()
        images.make_refused()

    def test_every_image_maps_the_same(self):
        for name in self.good + self.chains + self.raw:
            with self.subTest(name):
                self.assert_same("map", "--output=json", name).json()
                self.assert_same("map", name)

    def test_a_part_maps_the_same(self):
        for name in ["mixed.qcow2", "on-qcow2.qcow2", "holes.raw"]:
            for start, length in [("0", "0"), ("100k", "900k"),
                                  ("1000000", "1234567"), ("1M", "1"),
                                  ("3M", "5M"), ("4M", "1"), ("7E", "1"),
                                  ("4095k", "7E")]:
                with self.subTest(name=name, start=start, length=length):
                    part = ["-s", start, "--max-length", length, name]
                    self.assert_same("map", "--output=json", *part)
                    self.assert_same("map", *part)

    def test_the_table_cannot_show_compressed_clusters(self):
        result = self.ours("map", "mixed.qcow2")
        self.assertEqual(result.status, 1)
        self.assertIn("--output json", result.err)

    def test_bad_offsets_are_refused(self):
        for option in ["-s", "-l", "--start-offset", "--max-length"]:
            for value in ["", "x", "-1", "1kB", "8E", "16E"]:
                with self.subTest(option=option, value=value):
                    self.assert_refused(
                        self.ours("map", option, value, "plain.qcow2"),
                        option)

    def test_damaged_tables_fail(self):
        h = images.Header("plain.qcow2")
        entry = h.get(">Q", h.l2)
        h.put(">Q", h.l2, entry + 512).save("unaligned.qcow2")
        for output in ["human", "json"]:
            result = self.ours("map", "--output", output, "unaligned.qcow2")
            self.assertEqual(result.status, 1)
            self.assertIn("aligned", result.err)
        self.assertEqual(self.ours("map", "short.qcow2").status, 1)


if __name__ == "__main__":
    case.main()
