"""The words that the command line accepts, and its explanations.  This needs
no other program."""

import os
import re

import case

COMMANDS = ["info", "map", "compare", "convert", "create", "check", "resize",
            "amend", "snapshot", "compact", "dump", "io", "bench", "version",
            "help"]
# The output of these is not theirs to choose, or there is none.
WITHOUT_OUTPUT = ["resize", "amend", "snapshot", "io"]


class Options(case.Case):
    @classmethod
    def prepare(cls):
        with open("disk.raw", "wb") as f:
            f.write(b"x" * 4096)

    def test_output_is_accepted_in_every_spelling(self):
        expected = self.ours("info", "--output=json", "disk.raw").json()
        for args in [["--output", "json", "disk.raw"],
                     ["disk.raw", "--output=json"],
                     ["--outp", "json", "--", "disk.raw"],
                     ["--output=human", "--output=json", "disk.raw"]]:
            with self.subTest(args):
                self.assertEqual(self.ours("info", *args).json(), expected)

    def test_long_options_are_the_letters(self):
        letters = self.ours("map", "-f", "raw", "-s", "512", "-l", "1k", "-U",
                            "disk.raw")
        words = self.ours("map", "--format=raw", "--start-offset", "512",
                          "--max-length=1k", "--force-share", "disk.raw")
        self.assertEqual(letters.out, words.out)
        self.assertEqual(letters.status, 0)

    def test_wrong_options_are_named(self):
        for args, name in [(["-Z", "x"], "-Z"), (["--zzz", "x"], "--zzz"),
                           (["-f"], "-f"), (["--format"], "--format"),
                           (["--backing-chain=1", "x"], "--backing-chain"),
                           (["-f", "vmdk", "x"], "-f"),
                           (["--output=xml", "x"], "--output"),
                           (["--image-opts", "x"], "--image-opts"),
                           (["--object", "x", "x"], "--object"),
                           (["--external=", "x"], "--external"),
                           (["--external=allow:", "x"], "--external")]:
            with self.subTest(args):
                self.assert_refused(self.ours("info", *args), name)

    def test_operands_are_counted(self):
        for args in [["info"], ["info", "a", "b"], ["map"], ["check"],
                     ["check", "a", "b"], ["convert"], ["convert", "a"],
                     ["create"], ["version", "a"], ["help", "a", "b"]]:
            with self.subTest(args):
                self.assert_refused(self.ours(*args))

    def test_unknown_subcommands_are_named(self):
        self.assert_refused(self.ours("reshape", "x"), "reshape")
        self.assert_refused(self.ours("help", "reshape"), "reshape")
        self.assert_refused(self.ours(), "help")

    def test_as_many_directories_are_allowed_as_promised(self):
        allow = [f"--external=allow:/{i}" for i in range(17)]
        self.assertEqual(self.ours("info", *allow[:16], "disk.raw").status, 0)
        self.assert_refused(self.ours("info", *allow, "disk.raw"), "16")

    def test_lost_output_is_a_failure(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = case.subprocess.run(
                [f"{self.dir}/bin/qcow2", "info", "disk.raw"], stdout=full,
                stderr=case.subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)

    def test_output_to_nowhere_is_a_failure(self):
        done = case.subprocess.run(
            [f"{self.dir}/bin/qcow2", "info", "disk.raw"],
            stderr=case.subprocess.PIPE, check=False,
            preexec_fn=lambda: os.close(1))
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)


class Help(case.Case):
    def test_every_subcommand_has_help_with_examples_first(self):
        for name in COMMANDS:
            with self.subTest(name):
                texts = [self.ours("help", name), self.ours(name, "--help"),
                         self.ours(name, "-h")]
                self.assertEqual({t.status for t in texts}, {0})
                self.assertEqual(len({t.out for t in texts}), 1)
                out = texts[0].out
                self.assertLess(out.index("Examples:"), out.index("Usage:"))
                self.assertIn(f"\n  qcow2 {name}", out)
                self.assertIn("Exit status:", out)
                self.assertFalse([x for x in out.splitlines()
                                  if len(x) > 79])

    def test_the_overview_names_every_subcommand(self):
        for args in [["help"], ["--help"], ["-h"]]:
            out = self.ours(*args).out
            for name in COMMANDS:
                self.assertRegex(out, rf"(?m)^  {name} ")

    def test_programs_can_read_the_help(self):
        found = self.ours("help", "--output=json").json()
        self.assertEqual([c["name"] for c in found], COMMANDS)
        for command in found:
            self.assertEqual(
                self.ours("help", command["name"], "--output=json").json(),
                command)
            names = [o["long"] for o in command["options"]]
            self.assertEqual(len(names), len(set(names)))
            letters = [o["short"] for o in command["options"] if o["short"]]
            self.assertEqual(len(letters), len(set(letters)))
            self.assertEqual("output" in names,
                             command["name"] not in WITHOUT_OUTPUT)

    def test_options_of_the_help_are_those_that_are_accepted(self):
        for command in self.ours("help", "--output=json").json():
            text = self.ours("help", command["name"]).out
            for option in command["options"]:
                shown = re.search(rf"(?m)^  .*--{option['long']}( |$)", text)
                self.assertEqual(bool(shown), option["supported"], option)


class Version(case.Case):
    def test_the_version_is_told(self):
        for args in [["version"], ["--version"], ["-V"]]:
            self.assertRegex(self.ours(*args).out,
                             r"^qcow2 \d+\.\d+\.\d+ \(libqcow2 [\d.]+\)\n$")
        found = self.ours("version", "--output", "json").json()
        self.assertEqual(list(found), ["qcow2", "libqcow2"])

    def test_scripts_find_the_version_they_look_for(self):
        out = self.drop_in("--version").out
        self.assertEqual(re.search(r"qemu-img version ([0-9\.]*)", out)[1],
                         "7.2.22")

    def test_messages_bear_the_name_of_the_program(self):
        self.assertTrue(self.drop_in("info").err.startswith("qemu-img: "))
        self.assertTrue(self.ours("info").err.startswith("qcow2: "))


if __name__ == "__main__":
    case.main(needs_qemu=False)
