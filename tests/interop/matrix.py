#!/usr/bin/env python3
"""Our command and qemu-img agree on images of every kind that QEMU can make.

A real ext4 file system goes into chains of qcow2 images over the product of
version, cluster size, compression, extended L2 entries, external data file,
internal snapshots and refcount width, as far as qemu-img allows it.  At depth
1, 3 and 8 of each chain: convert gives the same bytes, map, info and check the
same JSON, compare the same verdict, and every internal snapshot reads the same.

Usage: matrix.py COMMAND [SLICE SLICES]

QCOW2_TEST_MIB is the size of the file system in MiB (16), TEST_SEED the seed
of the writes and of the sample that is taken (QCOW2_TEST_SAMPLE, see
sample.py), QCOW2_TEST_KEEP a directory that keeps the images of what failed.
"""

import os
import pathlib
import shutil
import sys
import tempfile
import traceback

import agree
import images

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from sample import Sample  # pylint: disable=wrong-import-position

SKIPPED = 77


def scratch():
    """The directory for images: in memory if there is enough of it."""
    shm = pathlib.Path("/dev/shm")
    if shm.is_dir() and os.access(shm, os.W_OK):
        if shutil.disk_usage(shm).free > 4 << 30:
            return str(shm)
    return None


def keep(work, name):
    """Saves the images of a failed combination for a closer look."""
    target = os.environ.get("QCOW2_TEST_KEEP")
    if target:
        shutil.copytree(work, pathlib.Path(target, name), symlinks=True,
                        dirs_exist_ok=True)


def check_combination(combination, disk, command, seed, work):
    """Compares everything that must agree about one chain; returns how many
    things did."""
    chain = images.Chain(combination, disk, work, seed)
    judge = agree.Judge(command, work)
    for depth, name in enumerate(chain.build(), 1):
        if depth not in images.DEPTHS:
            continue
        judge.image(name, chain.snapshots(name))
    if len(chain.layers) > 1:
        judge.compare(chain.layers[0], chain.layers[-1])
    return judge.agreed


def main():
    command = str(pathlib.Path(sys.argv[1]).resolve())
    part, parts = (int(a) for a in sys.argv[2:4] or ("0", "1"))
    if not images.tools_present():
        print("qemu-img, qemu-io or mkfs.ext4 is missing")
        return SKIPPED
    sample = Sample()
    size_mib = int(os.environ.get("QCOW2_TEST_MIB", "16"))
    print(sample, flush=True)

    chosen = sample.of(images.combinations(), parts)[part::parts]
    failed = agreed = 0
    with tempfile.TemporaryDirectory(dir=scratch()) as name:
        root = pathlib.Path(name)
        disk = images.make_disk(root, size_mib)
        for combination in chosen:
            work = root / str(combination)
            work.mkdir()
            try:
                agreed += check_combination(combination, disk, command,
                                            sample.seed, work)
            except (agree.Disagreement, images.Failed) as problem:
                failed += 1
                print(f"FAILED {combination}: {problem}", flush=True)
                keep(work, str(combination))
            except OSError:
                failed += 1
                traceback.print_exc()
            shutil.rmtree(work)
    print(f"{len(chosen)} chains, {agreed} agreements, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
