"""`stats` of `io` tells the work since the disk was opened, or reset."""

import json

import case

KIB = 1024
REQUESTS = ["read", "write", "write-compressed", "zero", "discard", "flush"]


class Stats(case.Case):
    @classmethod
    def prepare(cls):
        cls.create("base")
        cls.create("disk", "-b", "base", "-F", "qcow2")

    @classmethod
    def create(cls, name, *options):
        case.run(f"{cls.dir}/bin/qcow2", "create", "-q", "-f", "qcow2",
                 *options, name, "4M")

    def io(self, *script, args=("disk",)):
        return self.ours("io", *[word for line in script
                                 for word in ("-c", line)], *args)

    def stats(self, *script, **more):
        """Each object of JSON that the script prints."""
        result = self.io(*script, **more)
        self.assertEqual(result.status, 0, result.err)
        return [json.loads(line) for line in result.out.splitlines()
                if line.startswith("{")]

    def assert_requests(self, told, **expected):
        """Each kind has so many requests and bytes, the others none."""
        for kind in REQUESTS:
            done, size = expected.get(kind.replace("-", "_"), (0, 0))
            times = ["ns", "ns-max", "n-by-ns"]
            counts = {key: value for key, value in told[kind].items()
                      if key not in times}
            self.assertEqual(counts, {"done": done, "bytes": size,
                                      "failed": 0, "again": 0}, kind)
            self.assertEqual(sum(told[kind]["n-by-ns"]), done)
            self.assertEqual(len(told[kind]["n-by-ns"]), 24)
            self.assertEqual(told[kind]["ns"] > 0, done > 0)

    def test_requests_are_counted_by_kind(self):
        self.create("new")
        first, told = self.stats(
            "stats -j", "write -P 1 0 64k", "write -P 2 1k 3k",
            "write -c 1M 64k", "read 0 1M", "readv 0 512 1024",
            "aio_read 1M 10", "aio_flush", "write -z 2M 128k",
            "discard 0 64k", "flush", "stats -j", args=["new"])
        self.assert_requests(first)
        self.assert_requests(
            told, read=(3, 1024 * KIB + 1536 + 10), write=(2, 67 * KIB),
            write_compressed=(1, 64 * KIB), zero=(1, 128 * KIB),
            discard=(1, 64 * KIB), flush=(1, 0))
        self.assertEqual(told["depth"], 0)
        self.assertEqual(told["decompressed-clusters"], 1)
        self.assertGreaterEqual(told["file"]["barriers"], 1)
        self.assertGreaterEqual(told["file"]["write-bytes"], 67 * KIB)
        self.assertGreater(told["commits"], 0)
        # The discard frees a cluster when it is durable; the refcount follows
        # with the next commit.
        self.assertEqual(told["dirty-bytes"], 4 * KIB)
        self.assertGreater(told["allocated-end"], 320 * KIB)

    def test_an_overwrite_is_one_write_of_the_host(self):
        self.create("there")
        self.io("write 0 64k", args=["there"])
        kept, told = self.stats("write 0 4k", "flush", "stats -jr",
                                "write 4k 8k", "stats -j", args=["there"])
        self.assert_requests(kept, write=(1, 4 * KIB), flush=(1, 0))
        self.assert_requests(told, write=(1, 8 * KIB))
        self.assertEqual(told["file"], {
            "reads": 0, "read-bytes": 0, "writes": 1, "write-bytes": 8 * KIB,
            "zeroes": 0, "zero-bytes": 0, "barriers": 0, "failed": 0})
        self.assertEqual(told["l2-cache"]["misses"], 0)
        self.assertGreater(told["l2-cache"]["hits"], 0)
        self.assertGreater(told["l2-cache"]["bytes"], 0)

    def test_only_r_counts_from_0_again(self):
        told = self.stats("read 0 1k", "stats -j", "read 0 1k", "stats -j -r",
                          "read 0 1k", "stats -j", "stats -r", "stats -j")
        self.assertEqual([s["read"]["bytes"] for s in told],
                         [KIB, 2 * KIB, KIB, 0])

    def test_layers_have_their_own(self):
        self.io("write 0 64k", args=["base"])
        told = self.stats("stats -jr 1", "read 0 4k", "stats -j 0",
                          "stats -j 1")
        self.assertEqual([s["depth"] for s in told], [1, 0, 1])
        self.assert_requests(told[1], read=(1, 4 * KIB))
        self.assert_requests(told[2], read=(1, 4 * KIB))
        # The read fetches the data, and before it the slice with its place.
        self.assertEqual(told[2]["file"]["reads"], 2)
        self.assertEqual(told[2]["l2-cache"]["misses"], 1)

    def test_another_opening_counts_from_0(self):
        told = self.stats("read 0 1k", "stats -jr", "read 0 2k", "reopen -r",
                          "stats -j", "read 0 512", "stats -j", "close",
                          "open -r disk", "stats -j")
        self.assertEqual([s["read"]["bytes"] for s in told], [KIB, 0, 512, 0])

    def test_it_needs_no_permission_to_write(self):
        [told] = self.stats("read 0 1k", "stats -j", args=["-r", "disk"])
        self.assert_requests(told, read=(1, KIB))
        self.assertEqual(told["refcount-cache"]["bytes-max"], 0)

    def test_lines_for_people(self):
        self.create("lines")
        out = self.io("write -P 1 0 64k", "flush", "read 0 512", "stats",
                      args=["lines"]).out
        for line in ["zero: 0 ops, 0 bytes", "copied: 0 bytes",
                     "in quarantine now: 0 bytes",
                     "metadata to be written now: 0 bytes"]:
            self.assertIn(f"\n{line}\n", out)
        times = r", mean [\d.]+ us, 99% within \d+ us, longest [\d.]+ us"
        for pattern in ["read: 1 ops, 512 bytes" + times,
                        "write: 1 ops, 64 KiB" + times,
                        "flush: 1 ops, 0 bytes" + times,
                        r"end of allocation: \d{6,7}",
                        r"image file: \d+ reads, .*; \d+ writes, .*; "
                        r"0 zeroes, 0 bytes; \d+ barriers",
                        "data file: 0 reads, 0 bytes; .*",
                        r"L2 cache: \d+ hits, \d+ misses, 0 evictions; "
                        r"now 4 KiB of \d+ MiB",
                        "refcount cache: .*", r"commits: \d+",
                        r"clusters: \d+ allocated, \d+ freed, "
                        "0 decompressed", r"overlap checks: \d+"]:
            self.assertRegex(out, rf"(?m)^{pattern}$")

    def test_what_it_refuses(self):
        for line, word in [("stats 2", "there is no layer 2"),
                           ("stats 8P", "there is no layer"),
                           ("stats x", "non-numeric"),
                           ("stats -x", "stats [-jr] [layer]"),
                           ("stats 0 1", "stats [-jr] [layer]")]:
            result = self.io(line)
            self.assertEqual(result.status, 1, line)
            self.assertIn(word, result.out + result.err)
        closed = self.io("close", "stats")
        self.assertEqual((closed.status, closed.out), (1, ""))
        self.assertIn("no file open", closed.err)


if __name__ == "__main__":
    case.main(needs_qemu=False)
