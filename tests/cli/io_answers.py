"""What of the answers of qemu-io must be the same, and how it is asked."""

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
    """Standard error: what the shell says itself; elsewhere our words."""
    return [line for line in text.splitlines()
            if not line.startswith("qemu-io: ") and
            not line.startswith("WARNING") and not line.startswith("   ") and
            not line.startswith("Is another process")]


def commands(script):
    return [word for line in script for word in ("-c", line)]
