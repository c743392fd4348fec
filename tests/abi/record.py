#!/usr/bin/env python3
"""Records the layout of the public structures anew, after a change that is
meant: before a release, or of a structure that has grown at its end.

Usage: record.py HEADER FILE.def CC...

The comment that FILE.def begins with stays.  For both machines, from the root:

    tests/abi/record.py include/qcow2.h tests/abi/layout.def gcc
    tests/abi/record.py include/qcow2.h tests/abi/layout_i386.def gcc -m32
"""

import pathlib
import re
import subprocess
import sys
import tempfile


def fields_of(body):
    """The names of the fields, also of callbacks and arrays."""
    for declaration in filter(None, map(str.strip, body.split(";"))):
        callback = re.search(r"\(\*(\w+)\)\(", declaration)
        plain = re.search(r"(\w+)(\[[^\]]*\])?$", declaration)
        yield (callback or plain)[1]


def structures(header):
    text = re.sub(r"/\*.*?\*/", "", header.read_text(encoding="utf-8"),
                  flags=re.S)
    for name, body in re.findall(r"^struct (qcow2_\w+) \{\n(.*?)\n\};", text,
                                 re.S | re.M):
        yield name, list(fields_of(body))


def program(header):
    """Prints the facts as the machine that it is compiled for has them."""
    lines = []
    for name, fields in structures(header):
        lines.append(f'printf("%sSIZE({name}, %zu)\\n", "{chr(92)}n"'
                     f' + {int(not lines)}, sizeof(struct {name}));')
        lines += [f'printf("FIELD({name}, {field}, %zu)\\n",'
                  f' offsetof(struct {name}, {field}));' for field in fields]
    return ("#include <qcow2.h>\n#include <stddef.h>\n#include <stdio.h>\n"
            "int main(void)\n{\n" + "\n".join(lines) + "\nreturn 0;\n}\n")


def main():
    header, target, *cc = sys.argv[1:]
    header, target = pathlib.Path(header), pathlib.Path(target)
    comment = re.match(r"/\*.*?\*/\n", target.read_text(encoding="utf-8"),
                       re.S)[0]
    with tempfile.TemporaryDirectory() as name:
        source, binary = pathlib.Path(name, "a.c"), pathlib.Path(name, "a")
        source.write_text(program(header), encoding="utf-8")
        subprocess.run([*cc, f"-I{header.parent}", str(source), "-o",
                        str(binary)], check=True)
        facts = subprocess.run([str(binary)], check=True, text=True,
                               capture_output=True).stdout
    target.write_text(comment + facts, encoding="utf-8")


if __name__ == "__main__":
    main()
