#!/usr/bin/env python3
"""src/format is pure: its objects need nothing but memory and text functions.

No I/O, no allocation, no locks, no printf: every symbol that the objects leave
undefined must be a mem* or str* function, one of base/text.c, one of their
own, or one that the compiler adds for hardening and sanitizers.

Usage: format-purity.py FORMAT_LIBRARY INTERNAL_LIBRARY
"""

import re
import subprocess
import sys

PURE = re.compile(r"(mem|str)[a-z]+$")
COMPILER = re.compile(r"(__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|"
                      r"_?_(asan|ubsan|tsan|msan|sanitizer|sancov|gcov|llvm"
                      r"|start|stop)_\w+|__assert_fail)$")
MEMORY_ALLOCATORS = {"strdup", "strndup"}


def nm(library, *flags):
    """Symbols of each member of a library."""
    out = subprocess.run(["nm", *flags, library], check=True,
                         capture_output=True, text=True).stdout
    member = ""
    for line in out.splitlines():
        if line.endswith(":"):
            member = line[:-1].rsplit("/", 1)[-1]
        elif line:
            yield member, line.split()[-1]


def main():
    format_library, internal_library = sys.argv[1:]
    own = {name for _, name in nm(format_library, "-g", "--defined-only")}
    text = {name for member, name
            in nm(internal_library, "-g", "--defined-only")
            if member.endswith("base_text.c.o")}
    if not own or not text:
        sys.exit("no symbols found: is the test looking at the right files?")
    foreign = [(member, name) for member, name in nm(format_library, "-u")
               if name in MEMORY_ALLOCATORS
               or not (name in own or name in text or PURE.match(name)
                       or COMPILER.match(name))]
    for member, name in foreign:
        print(f"{member}: uses {name}")
    print(f"{len(own)} functions, {len(foreign)} foreign symbols")
    return 1 if foreign else 0


if __name__ == "__main__":
    sys.exit(main())
