#!/usr/bin/env python3
"""Makes the hostile images, or checks the valid images they start from.

  generate.py --list               every case, one a line
  generate.py --out DIR [ID...]    writes the cases (all, or those named)
  generate.py --bases DIR          writes the small valid images and where
                                   their fields are, for tests/hostile/mutate.c
  generate.py --validate           holds the valid images against qemu-img
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

import bases
import rows_disk
import rows_header
import rows_names
import rows_refcounts
import rows_reserved
import rows_tables
from image import HEADER_FIELDS

ROWS = (rows_header, rows_names, rows_disk,
        rows_refcounts, rows_reserved, rows_tables)
# Images for the random mutations stay small: many table levels in few bytes.
MUTABLE = ('v3', 'v2', 'v3-512', 'features', 'refcount-1', 'refcount-64',
           'extended', 'zlib', 'zlib-512', 'zstd', 'snapshots',
           'snapshots-v2', 'bitmaps', 'backing', 'data-file')


def all_cases():
    for rows in ROWS:
        yield from rows.cases()


def write_base(name, directory):
    """The base image `name` with the files it needs."""
    layout = bases.ALL[name]().lay_out()
    path = os.path.join(directory, name + '.qcow2')
    layout.write(path)
    for extra in ('base.raw', 'data.raw'):
        with open(os.path.join(directory, extra), 'wb') as f:
            f.truncate(8 << 20)
    return path, layout


def validate():
    """QEMU takes every base image for a valid one.  (Encrypted images cannot
    be checked: no passphrase opens them.)"""
    failed = runs = 0
    with tempfile.TemporaryDirectory() as tmp:
        for name in bases.ALL:
            path, _ = write_base(name, tmp)
            for verb in ('info',) if name == 'luks' else ('info', 'check'):
                run = subprocess.run(['qemu-img', verb, path], text=True,
                                     capture_output=True, check=False, cwd=tmp)
                ok = run.returncode == 0 and not run.stderr
                runs += 1
                failed += not ok
                if not ok:
                    print(f'{name}: qemu-img {verb}: exit {run.returncode}\n'
                          f'{run.stdout}{run.stderr}')
    print(f'{len(bases.ALL)} base images, {runs - failed} passed, '
          f'{failed} failed')
    return failed


def table_fields(layout):
    """(offset, width) of every number in the tables of a layout."""
    for off, entries in layout.l2.items():
        words = layout.entry // 8
        yield from ((off + 8 * i, 8) for i in range(len(entries) * words)
                    if i < 48 or i % 97 == 0)
    yield from ((layout.place['l1'] + 8 * i, 8)
                for i in range(len(layout.l1)))
    yield from ((layout.place['refcount_table'] + 8 * i, 8)
                for i in range(len(layout.reftable) + 1))
    yield from ((off + 8 * i, 8) for off in layout.reftable
                for i in range(8))
    for i, s in enumerate(layout.snaps):
        yield from ((layout.place[f'snapshot.{i}.l1'] + 8 * j, 8)
                    for j in range(len(s['l1'])))
    for i, b in enumerate(layout.bitmaps):
        yield from ((layout.place[f'bitmap.{i}.table'] + 8 * j, 8)
                    for j in range(len(b['entries'])))


def record_fields(layout):
    """(offset, width) of the numbers in records of mixed fields."""
    yield from ((off, width) for _, off, width in HEADER_FIELDS
                if layout.image.version >= 3 or off < 72)
    area = layout.h['header_length']
    yield from ((area + 4 * i, 4) for i in range(24))
    if layout.snaps:
        off = layout.place['snapshots']
        yield from ((off + at, w) for at, w in (
            (0, 8), (8, 4), (12, 2), (14, 2), (16, 4), (20, 4), (24, 8),
            (32, 4), (36, 4), (40, 8), (48, 8), (64, 8), (72, 4), (76, 2),
            (78, 2), (100, 4)))
    if layout.bitmaps:
        off = layout.place['bitmap_directory']
        yield from ((off + at, w) for at, w in (
            (0, 8), (8, 4), (12, 4), (16, 1), (17, 1), (18, 2), (20, 4),
            (32, 8), (40, 4), (44, 4), (48, 1), (49, 1), (50, 2), (52, 4)))
    for at, data in layout.blobs:
        yield from ((at + i, 1) for i in range(min(len(data), 12)))


def write_bases(directory):
    """NAME.qcow2 and NAME.fields for each mutable base: lines of offset and
    width, then the offsets that structures begin at."""
    for name in MUTABLE:
        _, layout = write_base(name, directory)
        fields = list(record_fields(layout)) + list(table_fields(layout))
        with open(os.path.join(directory, name + '.fields'), 'w',
                  encoding='ascii') as f:
            f.writelines(f'field {off} {width}\n' for off, width in fields)
            f.writelines(f'place {off}\n'
                         for off in sorted(set(layout.place.values())))


def write_cases(directory, names):
    for c in all_cases():
        if not names or c.ident in names or c.row in names:
            c.write(os.path.join(directory, c.ident))


def main():
    ap = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--list', action='store_true')
    ap.add_argument('--out', metavar='DIR')
    ap.add_argument('--bases', metavar='DIR')
    ap.add_argument('--validate', action='store_true')
    ap.add_argument('names', nargs='*')
    args = ap.parse_args()
    if args.list:
        print('\n'.join(c.ident for c in all_cases()))
    if args.out:
        write_cases(args.out, args.names)
    if args.bases:
        os.makedirs(args.bases, exist_ok=True)
        write_bases(args.bases)
    if args.validate and not shutil.which('qemu-img'):
        print('qemu-img is not here')
        return 77
    return 1 if args.validate and validate() else 0


if __name__ == '__main__':
    sys.exit(main())
