"""The parts of qemu-io's answers that must be the same, and the way to ask for
them."""

import re

TIMES = [
    (re.compile(r"(\d+ ops;) .*"), r"\1"),
    (re.compile(r"^(\d+,\d+),\d+:\d\d:\d\d\.\d\d,[\d.]+,[\d.]+$"), r"\1"),
    # The synopsis and the summary of a command have our words.
    (re.compile(r"^(\w+) .*-- .*\w\w \w.*"), r"\1"),
]


def untimed(text):
    lines = []
    for line in text.splitlines():
        for pattern, replacement in TIMES:
            if not line.startswith("Parsing"):
                line = pattern.sub(replacement, line)
        lines.append(line)
    return lines


def explained(text):
    """Returns the lines of standard error that come from the shell itself; the
    others have our words."""
    return [line for line in text.splitlines()
            if not line.startswith("qemu-io: ") and
            not line.startswith("WARNING") and not line.startswith("   ") and
            not line.startswith("Is another process")]


def commands(script):
    return [word for line in script for word in ("-c", line)]
