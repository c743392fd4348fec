#!/usr/bin/env python3
"""A program outside this tree builds against the installed library and runs.

Installs into a temporary directory, then compiles docs/examples with the flags
of pkg-config: each against the shared library, and the one that is named
against the static library too, which is run on an image both ways.

Usage: consumer.py BUILD EXAMPLE MESON CC...
"""

import os
import pathlib
import subprocess
import sys
import tempfile

IMAGE_SIZE = 1 << 20


def run(*command, **options):
    print("+", *command, flush=True)
    return subprocess.run(command, check=True, text=True, **options)


def output(*command, **options):
    return run(*command, stdout=subprocess.PIPE, **options).stdout


def install(build, meson, destdir):
    run(*meson, "install", "-C", build, "--no-rebuild", "--quiet",
        "--destdir", str(destdir))
    found = list(destdir.rglob("libqcow2.pc"))
    assert len(found) == 1, found
    return found[0].parent


def pkg_config(directory, destdir, *arguments):
    """The answer of pkg-config, as if the prefix were below destdir."""
    environment = os.environ | {"PKG_CONFIG_PATH": str(directory)}
    prefix = output("pkg-config", "--variable=prefix", "libqcow2",
                    env=environment).strip()
    return output("pkg-config", f"--define-variable=prefix={destdir}{prefix}",
                  *arguments, "libqcow2", env=environment).split()


def make_image(path):
    """A qcow2 image with a version 2 header and one data cluster, by hand:
    neither our own create nor anybody else's command has a part in it."""
    def number(value, size):
        return value.to_bytes(size, "big")

    cluster = 65536
    header = (b"QFI\xfb" + number(2, 4) + number(0, 8) + number(0, 4)
              + number(16, 4) + number(IMAGE_SIZE, 8) + number(0, 4)
              + number(1, 4) + number(3 * cluster, 8) + number(cluster, 8)
              + number(1, 4) + number(0, 4) + number(0, 8))
    tables = (header, number(2 * cluster, 8), b"\0\1" * 6,
              number(4 * cluster | 1 << 63, 8),
              number(0, 8) + number(5 * cluster | 1 << 63, 8), b"\x5a" * 65536)
    path.write_bytes(b"".join(t.ljust(cluster, b"\0") for t in tables))


def check_program(program, image, **options):
    lines = output(str(program), str(image), **options).splitlines()
    assert lines == ["0 +65536 zero 00", "65536 +65536 data 5a",
                     "131072 +917504 zero 00"], lines


def check_queues(command, work, environment):
    """The programs that write through queues find no data lost, and the image
    is sound afterwards."""
    disk = str(work / "queues.qcow2")
    for program, last in (("vm-disk", "no data was lost"),
                          ("poll-loop", "requests were made twice")):
        run(str(command), "create", "-q", "-f", "qcow2", disk, "32M")
        said = output(str(work / program), disk, env=environment)
        assert said.rstrip().endswith(last), said
        assert program != "vm-disk" or "host is full" in said, said
        run(str(command), "check", disk)


def main():
    build, example, meson, *cc = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        destdir = work / "installed"
        directory = install(build, meson.split(), destdir)
        image = work / "disk.qcow2"
        make_image(image)

        strict = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        shared = work / "shared"
        run(*cc, *strict, example,
            *pkg_config(directory, destdir, "--cflags", "--libs"),
            "-o", str(shared))
        libdir = str(directory.parent)
        check_program(shared, image,
                      env=os.environ | {"LD_LIBRARY_PATH": libdir})

        for other in pathlib.Path(example).parent.glob("*.c"):
            run(*cc, *strict, str(other),
                *pkg_config(directory, destdir, "--cflags", "--libs"),
                "-o", str(work / other.stem))

        command = next(destdir.rglob("bin/qcow2"))
        check_queues(command, work, os.environ | {"LD_LIBRARY_PATH": libdir})

        # The shared library is out of the way: the linker takes the other.
        for path in directory.parent.glob("libqcow2.so*"):
            path.unlink()
        static = work / "static"
        run(*cc, *strict, example,
            *pkg_config(directory, destdir, "--static", "--cflags", "--libs"),
            "-o", str(static))
        check_program(static, image)

        run(str(command), "version")
        run(str(command), "info", str(image))
    return 0


if __name__ == "__main__":
    sys.exit(main())
