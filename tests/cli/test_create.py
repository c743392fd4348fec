"""`create` makes the same images as qemu-img, tells it in the same line, and
refuses the same arguments."""

import json
import os
import shutil

import case
import images

ACCEPTED = [
    ["a.qcow2", "1M"],
    ["a.qcow2", "0"],
    ["a.qcow2", "1P"],
    ["sp ace.qcow2", "1000"],
    ["-o", "size=3M", "a.qcow2"],
    ["-o", "compat=0.10,cluster_size=4k", "a.qcow2", "10M"],
    ["-o", "compat=v2", "a.qcow2", "10M"],
    ["-o", "compat=1.1,compression_type=zstd", "a.qcow2", "10M"],
    ["-o", "cluster_size=128k,extended_l2=on,lazy_refcounts=on,"
           "refcount_bits=1,compression_type=zstd,compat=v3",
     "a.qcow2", "1.5G"],
    ["-o", "cluster_size=512", "a.qcow2", "1G"],
    ["-o", "cluster_size=2M", "a.qcow2", "64P"],
    ["-o", "cluster_size=16k,extended_l2=on", "a.qcow2", "100M"],
    ["-o", "refcount_bits=64", "a.qcow2", "1M"],
    ["-o", "cluster_size=8k,cluster_size=4k", "a.qcow2", "1M"],
    ["-o", "cluster_size=8k", "-o", "extended_l2=off", "a.qcow2", "1M"],
    ["-o", "lazy_refcounts", "a.qcow2", "1M"],
    ["-o", "lazy_refcounts=yes,extended_l2=false", "a.qcow2", "1M"],
    ["-o", "refcount_bits=0x10", "a.qcow2", "1M"],
    ["-o", "preallocation=off", "a.qcow2", "1M"],
    ["-o", "preallocation=metadata", "a.qcow2", "1M"],
    ["-o", "preallocation=metadata,cluster_size=512", "a.qcow2", "3M"],
    ["-o", "preallocation=metadata,extended_l2=on", "a.qcow2", "1M"],
    ["-o", "preallocation=falloc", "a.qcow2", "1M"],
    ["-o", "preallocation=full", "a.qcow2", "1M"],
    ["-o", "preallocation=full,extended_l2=on", "-b", "base.raw", "-F",
     "raw", "a.qcow2", "1M"],
    ["-b", "base.raw", "-F", "raw", "a.qcow2"],
    ["-b", "base.qcow2", "-F", "qcow2", "a.qcow2"],
    ["-b", "base.qcow2", "-F", "qcow2", "a.qcow2", "12M"],
    ["-o", "backing_file=base.raw,backing_fmt=raw", "a.qcow2", "2M"],
    ["-o", "backing_file=base.raw", "-F", "raw", "a.qcow2", "2M"],
    ["-u", "-b", "gone.raw", "-F", "raw", "a.qcow2", "1M"],
    ["-u", "-b", "a b,c=d", "-F", "qcow2", "a.qcow2", "1M"],
    ["-u", "-o", "backing_file=a b,,c=d", "-F", "qcow2", "a.qcow2", "1M"],
    ["-o", "data_file=d.raw", "a.qcow2", "1M"],
    ["-o", "data_file=d,,e.raw,data_file_raw=off", "a.qcow2", "1M"],
    ["-o", "data_file=d.raw,data_file_raw=on", "a.qcow2", "1M"],
    ["-o", "data_file=d.raw,preallocation=metadata", "a.qcow2", "1M"],
    ["-o", "data_file=d.raw,data_file_raw=on,preallocation=full", "a.qcow2",
     "1M"],
    ["-o", "data_file=d.raw", "-b", "base.raw", "-F", "raw", "a.qcow2", "1M"],
    ["-q", "a.qcow2", "1M"],
]

RAW = [
    ["r.raw", "1M"],
    ["r.raw", "1000"],
    ["r.raw", "0"],
    ["-o", "size=70k", "r.raw"],
    ["-o", "preallocation=off", "r.raw", "100k"],
    ["-o", "preallocation=falloc", "r.raw", "100k"],
    ["-o", "preallocation=full", "r.raw", "100k"],
    ["-q", "r.raw", "5k"],
]

REFUSED = [
    [],
    ["a.qcow2"],
    ["a.qcow2", "1M", "more"],
    ["a.qcow2", "many"],
    ["a.qcow2", "1Z"],
    ["a.qcow2", "16E"],
    ["a.qcow2", "7E"],
    ["/nonexistent/a.qcow2", "1M"],
    [".", "1M"],
    ["-o", "size=3M", "a.qcow2", "2M"],
    ["-o", "size=many", "a.qcow2"],
    ["-o", "size=-1", "a.qcow2"],
    ["-o", "size=9E", "a.qcow2"],
    ["-o", "size=16E", "a.qcow2"],
    ["-o", "cluster_size=0", "a.qcow2", "1M"],
    ["-o", "cluster_size=256", "a.qcow2", "1M"],
    ["-o", "cluster_size=3k", "a.qcow2", "1M"],
    ["-o", "cluster_size=4M", "a.qcow2", "1M"],
    ["-o", "cluster_size=8G", "a.qcow2", "1M"],
    ["-o", "cluster_size=", "a.qcow2", "1M"],
    ["-o", "refcount_bits=0", "a.qcow2", "1M"],
    ["-o", "refcount_bits=3", "a.qcow2", "1M"],
    ["-o", "refcount_bits=128", "a.qcow2", "1M"],
    ["-o", "refcount_bits=many", "a.qcow2", "1M"],
    ["-o", "refcount_bits=16k", "a.qcow2", "1M"],
    ["-o", "refcount_bits=1,compat=0.10", "a.qcow2", "1M"],
    ["-o", "lazy_refcounts=on,compat=0.10", "a.qcow2", "1M"],
    ["-o", "lazy_refcounts=maybe", "a.qcow2", "1M"],
    ["-o", "lazy_refcounts=1", "a.qcow2", "1M"],
    ["-o", "extended_l2=on,compat=0.10", "a.qcow2", "1M"],
    ["-o", "extended_l2=on,cluster_size=8k", "a.qcow2", "1M"],
    ["-o", "compression_type=zstd,compat=0.10", "a.qcow2", "1M"],
    ["-o", "compression_type=lzo", "a.qcow2", "1M"],
    ["-o", "compat=1.0", "a.qcow2", "1M"],
    ["-o", "preallocation=some", "a.qcow2", "1M"],
    ["-o", "preallocation=full", "-b", "base.raw", "-F", "raw", "a.qcow2"],
    ["-o", "data_file=d.raw,compat=0.10", "a.qcow2", "1M"],
    ["-o", "data_file_raw=on", "a.qcow2", "1M"],
    ["-o", "data_file=d.raw,data_file_raw=on", "-b", "base.raw", "-F", "raw",
     "a.qcow2"],
    # S2
    ["-o", "cluster_size=4k,", "a.qcow2", "1M"],
    ["-o", "", "a.qcow2", "1M"],
    ["-o", ",help", "a.qcow2", "1M"],
    ["-o", "backing_file=t,,help", "a.qcow2", "1M"],
    ["-o", "unheard_of=1", "a.qcow2", "1M"],
    ["-o", "unheard_of", "a.qcow2", "1M"],
    ["-o", "backing_fmt=raw", "a.qcow2", "1M"],
    ["-F", "raw", "a.qcow2", "1M"],
    ["-o", "backing_file=", "a.qcow2", "1M"],
    ["-b", "", "a.qcow2", "1M"],
    ["-b", "a.qcow2", "-F", "qcow2", "a.qcow2", "1M"],
    ["-b", "base.raw", "a.qcow2"],
    ["-b", "base.raw", "a.qcow2", "1M"],
    ["-u", "-b", "base.raw", "a.qcow2", "1M"],
    ["-b", "base.raw", "-F", "unheard-of", "a.qcow2"],
    ["-b", "base.raw", "-F", "qcow2", "a.qcow2"],
    ["-b", "gone.raw", "-F", "raw", "a.qcow2"],
    ["-b", "gone.raw", "-F", "raw", "a.qcow2", "1M"],
    ["-u", "-b", "gone.raw", "-F", "raw", "a.qcow2"],
    ["-f", "unheard-of", "a.qcow2", "1M"],
    ["-f", "raw", "r.raw"],
    ["-f", "raw", "-o", "preallocation=metadata", "r.raw", "1k"],
    ["-f", "raw", "-o", "cluster_size=4k", "r.raw", "1k"],
    ["-f", "raw", "-b", "base.raw", "r.raw", "1k"],
    ["-f", "raw", "-F", "raw", "r.raw", "1k"],
]


class Create(case.Case):
    """Both tools work in directories that look alike."""

    @classmethod
    def prepare(cls):
        images.qemu_img("create", "-f", "raw", "base.raw", "1M")
        images.make("base.qcow2", size="5M", io=["write 0 1M"])

    def fresh(self, name):
        shutil.rmtree(name, ignore_errors=True)
        os.mkdir(name)
        shutil.copy("base.raw", name)
        shutil.copy("base.qcow2", name)

    def both(self, *args):
        self.fresh("theirs")
        self.fresh("ours")
        return (self.theirs("create", *args, cwd="theirs"),
                self.drop_in("create", *args, cwd="ours"))

    def describe(self, directory, name):
        info = self.theirs("info", "--output=json", name, cwd=directory)
        found = json.loads(info.out)
        del found["actual-size"]
        return found

    def allocation(self, directory, name):
        """Returns the map without the fields that show holes of the host's
        file system."""
        found = self.theirs("map", "--output=json", name, cwd=directory)
        merged = []
        for extent in json.loads(found.out):
            kind = (extent["depth"], extent["present"], extent["data"])
            if merged and merged[-1][0] == kind:
                merged[-1][1] += extent["length"]
            else:
                merged.append([kind, extent["length"]])
        return merged

    def test_images_are_told_and_made_alike(self):
        for args in ACCEPTED:
            with self.subTest(args):
                theirs, ours = self.both("-f", "qcow2", *args)
                self.assertEqual((theirs.status, theirs.out),
                                 (ours.status, ours.out), ours.err)
                self.assertEqual(ours.status, 0)
                name = [a for a in args if a.endswith(".qcow2")][-1]
                self.assertEqual(self.describe("theirs", name),
                                 self.describe("ours", name))

    def test_images_are_clean_and_allocate_the_same(self):
        for args in ACCEPTED:
            if "-u" in args:  # the backing file is not there
                continue
            if args[-1].endswith("P"):  # takes qemu-img a minute to map
                continue
            with self.subTest(args):
                self.both("-f", "qcow2", *args)
                name = [a for a in args if a.endswith(".qcow2")][-1]
                check = self.theirs("check", name, cwd="ours")
                self.assertEqual(check.status, 0, check.err)
                self.assertEqual(self.allocation("theirs", name),
                                 self.allocation("ours", name))

    def test_raw_files_are_told_and_made_alike(self):
        for args in RAW:
            with self.subTest(args):
                theirs, ours = self.both("-f", "raw", *args)
                self.assertEqual((theirs.status, theirs.out),
                                 (ours.status, ours.out), ours.err)
                with open("theirs/r.raw", "rb") as f, \
                        open("ours/r.raw", "rb") as g:
                    self.assertEqual(f.read(), g.read())
                if "falloc" in args[1] or "full" in args[1]:
                    self.assertGreaterEqual(
                        os.stat("ours/r.raw").st_blocks * 512, 102400)

    def test_refusals_are_the_same(self):
        for args in REFUSED:
            if "-f" not in args:
                args = ["-f", "qcow2", *args]
            with self.subTest(args):
                theirs, ours = self.both(*args)
                self.assertEqual(theirs.status, 1, theirs.out)
                self.assertEqual(ours.status, 1, ours.out)
                self.assertRegex(ours.err, "^qemu-img: ")

    def test_a_refusal_leaves_what_was_there(self):
        for args in REFUSED:
            if "-f" in args:
                continue
            with self.subTest(args):
                self.fresh("ours")
                with open("ours/a.qcow2", "w", encoding="ascii") as f:
                    f.write("precious")
                self.assertEqual(self.ours("create", *args,
                                           cwd="ours").status, 1)
                with open("ours/a.qcow2", encoding="ascii") as f:
                    self.assertEqual(f.read(), "precious")
                self.assertEqual(sorted(os.listdir("ours")),
                                 ["a.qcow2", "base.qcow2", "base.raw"])

    def test_encryption_is_refused_by_name(self):
        for option in ["encryption=on", "encrypt.format=luks",
                       "encrypt.key-secret=key"]:
            self.assert_refused(
                self.ours("create", "-o", option, "e.qcow2", "1M"),
                "encryption is not supported")

    def test_a_missing_backing_format_is_suggested(self):
        result = self.ours("create", "-b", "base.qcow2", "x.qcow2")
        self.assert_refused(result, "-F qcow2")

    def test_the_backing_file_is_looked_for_beside_the_image(self):
        os.makedirs("beside", exist_ok=True)
        shutil.copy("base.qcow2", "beside/lower.qcow2")
        result = self.ours("create", "-b", "lower.qcow2", "-F", "qcow2",
                           "beside/upper.qcow2")
        self.assertEqual(result.status, 0, result.err)
        self.assertEqual(self.describe("beside", "upper.qcow2")
                         ["virtual-size"], 5 << 20)

    def test_the_options_can_be_listed(self):
        listed = self.ours("create", "-o", "help").out
        for key in ["size", "compat", "cluster_size", "refcount_bits",
                    "extended_l2", "lazy_refcounts", "compression_type",
                    "backing_file", "backing_fmt", "data_file",
                    "data_file_raw", "preallocation"]:
            self.assertRegex(listed, rf"(?m)^  {key}=<.* - ")
        self.assertNotIn("cluster_size",
                         self.ours("create", "-f", "raw", "-o", "?").out)

    def test_s2_help_is_an_element_of_the_list_wherever_it_stands(self):
        whole = self.ours("create", "-f", "qcow2", "-o", "help").out
        for asked in "help,cluster_size=4k", "?,x", "cluster_size=4k,help":
            self.assertEqual(
                self.ours("create", "-f", "qcow2", "-o", asked).out, whole)
        self.assertEqual(self.ours("convert", "-O", "bochs", "-o", "help",
                                   "a", "b").status, 1)
        self.assertEqual(self.ours("amend", "-o", "help").status, 1)

    def test_json_tells_what_was_made(self):
        made = self.ours("create", "--output=json", "j.qcow2", "1000").json()
        self.assertEqual(made, {"filename": "j.qcow2", "format": "qcow2",
                                "virtual-size": 1024,
                                "written": "new"})


if __name__ == "__main__":
    case.main()
