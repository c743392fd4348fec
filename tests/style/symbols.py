#!/usr/bin/env python3
"""The header, the symbol map and both libraries name the same functions.

Usage: symbols.py HEADER MAP SHARED STATIC
"""

import re
import subprocess
import sys

VERSION = "LIBQCOW2_0"


def declared(header):
    with open(header, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    text = re.sub(r"\btypedef\b[^;]*;", "", text)
    text = re.sub(r"^QCOW2_API\n", "", text, flags=re.M)
    return set(re.findall(r"^[a-z][^;{}#\n=]*?\b(qcow2_\w+)\(", text, re.M))


def mapped(path):
    with open(path, encoding="utf-8") as f:
        body = f.read().split("global:")[1].split("local:")[0]
    return set(body.replace(";", " ").split())


def defined(*command):
    """Name and type of the symbols that nm prints."""
    out = subprocess.run(["nm", "--defined-only", *command], check=True,
                         capture_output=True, text=True).stdout
    return {(fields[2], fields[1]) for line in out.splitlines()
            if len(fields := line.split()) == 3}


def exported(path):
    """The symbols that a program can link to; each carries the version."""
    names = set()
    for name, kind in defined("-D", "--with-symbol-versions", path):
        if kind == "A":
            continue
        if not name.endswith(f"@@{VERSION}"):
            sys.exit(f"{path}: {name} has not the version {VERSION}")
        names.add(name.split("@")[0])
    return names


def visible(path):
    """The symbols that a static library puts into the name space of its
    embedder."""
    return {name for name, _ in defined("-g", path)
            if not name.startswith(("__asan", "__odr_asan"))}


def main():
    header, symbol_map, shared, static = sys.argv[1:]
    expected = declared(header)
    failed = not expected
    for title, names in ((symbol_map, mapped(symbol_map)),
                         (shared, exported(shared)),
                         (static, visible(static))):
        for name in sorted(expected - names):
            print(f"{title}: {name} is missing")
        for name in sorted(names - expected):
            print(f"{title}: {name} is not in the header")
        failed = failed or names != expected
    print(f"{len(expected)} public functions")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
