#!/usr/bin/env python3
"""QEMU opens every image that our check calls sound.

Images of tests/hostile/bases.py get one field changed: of the header, of an
extension, of a snapshot's or a bitmap's entry.  If our check finds nothing, or
leaks, or nothing any more after `check -r all`, qemu-io must open the image
for writing.  One write of ours into it must leave it sound, and not marked
corrupt.

Usage: opens.py COMMAND   (the qcow2 command)
Environment: TEST_SEED chooses the images; TEST_FULL=1 tries all, some 20,000.
"""
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, 'hostile'))

import bases                                # noqa: E402
import image                                # noqa: E402

SKIP = 77
N_SAMPLED = 500
BASES = ('bitmaps', 'snapshots', 'snapshots-v2', 'backing', 'backing-v2',
         'data-file', 'data-file-raw', 'luks', 'v2', 'features', 'extended',
         'zlib', 'zstd')
SOUND = (0, 3)                              # of check: nothing, or leaks
DEFAULT_SEED = 20260731
INCOMPATIBLE = 79                           # the last byte of those features
CORRUPT = 2

# QEMU's reasons to refuse sound images: docs/check-differences.md.
EXCUSED = re.compile(
    'No such file or directory|Unknown driver|key-secret|'
    'is corrupt; cannot be opened read/write|extra data is not supported|'
    r"Bitmap '.*' doesn't satisfy the constraints")

SNAPSHOT_FIELDS = (('l1_offset', 0, 8), ('l1_size', 8, 4), ('id_size', 12, 2),
                   ('name_size', 14, 2), ('vm_state_size', 32, 4),
                   ('extra_size', 36, 4), ('vm_state_large', 40, 8),
                   ('disk_size', 48, 8))
BITMAP_FIELDS = (('table_offset', 0, 8), ('table_size', 8, 4), ('flags', 12, 4),
                 ('type', 16, 1), ('granularity', 17, 1), ('name_size', 18, 2),
                 ('extra_size', 20, 4))


def extension_fields(layout):
    at = layout.h['header_length']
    for kind, data, _ in layout.exts:
        n = 24 if data is None else len(data)
        yield f'extension-{kind:x}.type', at, 4
        yield f'extension-{kind:x}.length', at + 4, 4
        for i in range(0, min(n, 24), 4):
            yield f'extension-{kind:x}.{i}', at + 8 + i, 4
        at += 8 + image.up(n, 8)
    yield 'end.type', at, 4
    yield 'end.length', at + 4, 4


def fields(layout):
    """Yields (name, offset, width) of each field that may be changed."""
    for name, off, width in image.HEADER_FIELDS:
        if layout.image.version >= 3 or off < 72:
            yield name, off, width
    yield from extension_fields(layout)
    at = layout.h['snapshots_offset']
    for s in layout.snaps:
        for name, off, width in SNAPSHOT_FIELDS:
            yield 'snapshot.' + name, at + off, width
        at += image.up(40 + len(s['extra'] + s['id'] + s['name']), 8)
    at = layout.place.get('bitmap_directory', 0)
    for i, b in enumerate(layout.bitmaps):
        for name, off, width in BITMAP_FIELDS:
            yield 'bitmap.' + name, at + off, width
        yield 'bitmap.entry', layout.place[f'bitmap.{i}.table'], 8
        at += image.up(24 + len(b['name']), 8)


def values(old, width, cluster, size):
    """Single bits, limits, and values near the present one."""
    top = 1 << 8 * width
    found = {0, 1, 2, 3, 7, 8, 9, 104, old - 1, old + 1, old + 8, old - 8,
             old + 512, old + cluster, old - cluster, old * 2, size,
             size + cluster, top - 1, top >> 1, (top >> 1) - 1}
    found |= {old ^ 1 << i for i in range(8 * width)}
    return sorted({v % top for v in found} - {old})


class Job:
    def __init__(self, base, data, changes):
        self.base, self.data, self.changes = base, data, changes

    def __str__(self):
        what = ', '.join(f'{n}={v:#x}' for n, _, _, v in self.changes)
        return f'{self.base}: {what}'

    def bytes(self):
        out = bytearray(self.data)
        for _, off, width, value in self.changes:
            out[off:off + width] = image.put(width, value)
        return bytes(out)


def all_jobs():
    for base in BASES:
        layout = bases.ALL[base]().lay_out()
        data = layout.to_bytes()
        for name, off, width in fields(layout):
            old = int.from_bytes(data[off:off + width], 'big')
            for v in values(old, width, layout.cs, len(data)):
                yield Job(base, data, [(name, off, width, v)])


# QEMU's own check finds nothing, or leaks, in these too.
CHECKED = ('T4', 'S9', 'shared')


def told_jobs():
    """T3, T4 and S9, each as it was reported."""
    layout = bases.bitmapped().lay_out()
    data = layout.to_bytes()
    yield Job('T3', data, [('bitmaps.length', 116, 4, 16)])
    yield Job('T4', data, [('end.length', 148, 4, 0x10000)])
    yield Job('T4', data, [('autoclear', 95, 1, 2)])
    yield Job('T4', data, [('size', 24, 8, 104)])
    layout = bases.snapshotted().lay_out()
    at = layout.h['snapshots_offset']
    yield Job('T4', layout.to_bytes(),
              [('snapshot.l1_size', at + 8, 4, 0),
               ('snapshot.l1_offset', at, 8, 77)])
    yield Job('shared', layout.to_bytes(),
              [('snapshot.l1_offset', at, 8, layout.h['l1_table_offset'])])
    layout = bases.ALL['refcount-1']().lay_out()
    at = layout.place['active.l2.0']
    yield Job('S9', layout.to_bytes(),
              [('entry.1', at + 8, 8, layout.l2[at][0][0])])


class Judge:
    def __init__(self, command, root):
        self.command, self.root = command, root

    def check(self, path, *options):
        return subprocess.run([self.command, 'check', '-f', 'qcow2', *options,
                               path], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=60,
                              check=False).returncode

    def refusal(self, job, directory):
        """Returns QEMU's reason not to open the image, '' if it opens it, or
        is excused."""
        argv = ['qemu-io', '-f', 'qcow2', '-c', 'quit', 'image']
        if job.base == 'luks':              # no passphrase is needed
            argv = ['qemu-img', 'info', '-f', 'qcow2', 'image']
        done = subprocess.run(argv, cwd=directory, capture_output=True,
                              timeout=60, check=False)
        text = done.stderr.decode(errors='replace').strip()
        if job.base in CHECKED and not done.returncode:
            done = subprocess.run(['qemu-img', 'check', '-f', 'qcow2', 'image'],
                                  cwd=directory, capture_output=True,
                                  timeout=60, check=False)
            text = (done.stdout + done.stderr).decode(errors='replace')
            if done.returncode in SOUND:
                return ''
        if not done.returncode or EXCUSED.search(text):
            return ''
        return text or f'exit status {done.returncode}'

    def damage(self, path):
        """Returns the harm that one write does to a sound image, '' if
        none."""
        with open(path, 'rb') as f:
            before = f.read(80)[INCOMPATIBLE]
        done = subprocess.run([self.command, 'io', '-f', 'qcow2', '-c',
                               'write 0 512', path], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60, check=False)
        with open(path, 'rb') as f:
            after = f.read(80)[INCOMPATIBLE]
        text = done.stderr.decode(errors='replace').strip()
        if after & ~before & CORRUPT:
            return f'marked corrupt by a write: {text}'
        verdict = self.check(path)
        return '' if verdict in SOUND else f'check {verdict} after a write'

    def judge(self, job):
        with tempfile.TemporaryDirectory(dir=self.root) as directory:
            for name in ('base.raw', 'data.raw'):
                with open(os.path.join(directory, name), 'wb') as f:
                    f.truncate(8 << 20)
            path = os.path.join(directory, 'image')
            for options in ((), ('-r', 'all')):
                with open(path, 'wb') as f:
                    f.write(job.bytes())
                verdict = self.check(path, *options)
                why = ''
                if verdict in SOUND:
                    why = self.refusal(job, directory)
                # A repair lets entries share a cluster; one that is alone
                # again may lack its flag, which check reports.
                if verdict in SOUND and not why and not options:
                    why = self.damage(path)
                if why:
                    return f'{job}: check {" ".join(options)} {verdict}: {why}'
                if verdict in SOUND:
                    break
        return None


def main():
    if not shutil.which('qemu-io') or not shutil.which('qemu-img'):
        return SKIP
    seed = int(os.environ.get('TEST_SEED', DEFAULT_SEED))
    jobs = list(all_jobs())
    if not os.environ.get('TEST_FULL'):
        jobs = random.Random(seed).sample(jobs, N_SAMPLED)
    jobs = [*told_jobs(), *jobs]
    with tempfile.TemporaryDirectory(prefix='opens-') as root:
        judge = Judge(os.path.abspath(sys.argv[1]), root)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            bad = [b for b in pool.map(judge.judge, jobs) if b]
    for b in bad:
        print(b)
    print(f'{len(jobs)} images, seed {seed}: {len(bad)} bad')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
