#!/usr/bin/env python3
"""The rules for every text file of the project.

No path of a particular machine, no trailing blanks, no unresolved merges,
Python that compiles, scripts that can be started.

Usage: texts.py ROOT
"""

import os
import pathlib
import re
import subprocess
import sys

BINARY = {".bin", ".qcow2", ".raw", ".zst", ".gz", ".png"}
PROBLEMS = (
    (re.compile(r"(?<![\w.])/(work|home|root)/"), "a path of one machine"),
    (re.compile(r"[ \t]+$"), "blanks at the end"),
    (re.compile(r"^(<{7}|>{7}|={7})( |$)"), "an unresolved merge"),
)


# D15: the command itself says which options it has.
IN_THE_LIBRARY = (
    (re.compile(r'"[^"]*(?<!-)--[a-z]+[^"]*"'), "an option of a command"),
    (re.compile(r"\bstrerror(_r)?\("), "an errno value in the user's locale"),
)


def texts(root):
    """The files of git: a build directory may have any name."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached"],
        cwd=root, capture_output=True, text=True, check=True).stdout
    for name in sorted(set(names.split("\0")) - {""}):
        path = root / name
        if path.suffix in BINARY or "corpus" in path.parts or \
                not path.is_file():
            continue
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def check_script(path, text):
    """A file that names its interpreter is executable; Python compiles."""
    if text.startswith("#!") and not os.access(path, os.X_OK):
        yield 1, "names an interpreter but cannot be executed"
    if path.suffix == ".py" or text.startswith("#!/usr/bin/env python3"):
        try:
            compile(text, str(path), "exec")
        except SyntaxError as error:
            yield error.lineno, error.msg


def check(path, text, root):
    yield from check_script(path, text)
    problems = PROBLEMS
    if path.parts[len(root.parts)] == "src" and path.name != "error.c":
        problems += IN_THE_LIBRARY
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, problem in problems:
            if pattern.search(line):
                yield number, problem


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    found = [(path.relative_to(root), line, problem)
             for path, text in texts(root)
             for line, problem in check(path, text, root)]
    for path, line, problem in found:
        print(f"{path}:{line}: {problem}")
    print(f"{len(found)} problems in the texts")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
