"""The manual page is made of the command's own words, and is sound."""

import os
import shutil
import subprocess
import sys
import unittest

import case

GENERATE = os.path.abspath(sys.argv.pop(2))


class Manual(case.Case):
    @classmethod
    def prepare(cls):
        subprocess.run([sys.executable, GENERATE, cls.program, "qcow2.1"],
                       check=True)

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_it_formats_without_a_warning(self):
        done = subprocess.run(["groff", "-mdoc", "-Tascii", "-ww", "qcow2.1"],
                              capture_output=True, check=True)
        self.assertEqual(done.stderr, b"")

    def test_every_option_is_in_it(self):
        with open("qcow2.1", encoding="utf-8") as f:
            text = f.read()
        for command in self.ours("help", "--output=json").json():
            section = text[text.index(f".Ss {command['name']}:"):]
            section = section[:section.find("\n.S", 3)]
            for option in command["options"]:
                if option["supported"]:
                    self.assertRegex(section,
                                     f"Fl -{option['long']}( |\n)")


    def test_every_command_of_the_shell_is_in_it(self):
        with open("qcow2.1", encoding="utf-8") as f:
            text = f.read()
        for line in self.ours("io", "-c", "help").out.splitlines():
            if " -- " in line:
                self.assertRegex(text, rf"(?m)^\.It Li \\&{line.split()[0]}")


if __name__ == "__main__":
    case.main(needs_qemu=False)
