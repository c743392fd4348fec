#!/usr/bin/env python3
"""Rows H30 and D6: images that are no regular files, files as large as the
file system allows, and processes that are short of descriptors and stack.

  special.py --command BUILD/cli/qcow2 --libread BUILD/tests/hostile/libread
             [--sanitized]
"""

import argparse
import os
import resource
import sys
import tempfile

import bases
import oracle
from case import make_socket
from run import Bench

VERBS = ('info', 'info-json', 'chain', 'map', 'check', 'compare', 'convert',
         'read')


class Special:
    def __init__(self, args, tmp):
        self.bench = Bench(args)
        self.tmp = tmp
        self.failed = self.n = 0
        self.image = self.path('good.qcow2')
        bases.snapshotted().lay_out().write(self.image)

    def path(self, name):
        return os.path.join(self.tmp, name)

    def run(self, what, verb, image, accept, limits=None):
        """Makes one run; `accept` judges the exit code."""
        self.n += 1
        out = self.path('target.raw')
        r = self.bench.runner.run(self.bench.argv(verb, image, out), self.tmp,
                                  limits=limits)
        bad = oracle.trouble(r)
        if not bad and not accept(r.code):
            bad = [f'exit {r.code}: {r.err[:300]!r}']
        if r.code != 0 and os.path.exists(out) and not os.path.isdir(image):
            bad.append('left a target after failing')
        if os.path.exists(out):
            os.unlink(out)
        for b in bad:
            print(f'FAIL {what}: {verb}: {b}')
        self.failed += bool(bad)
        return r

    # H30 -----------------------------------------------------------------

    def not_files(self):
        """None of these is an image, and none may be waited for."""
        os.mkdir(self.path('dir'))
        os.mkfifo(self.path('fifo'))
        make_socket(self.path('socket'))
        os.symlink('loop-b', self.path('loop-a'))
        os.symlink('loop-a', self.path('loop-b'))
        os.symlink('nowhere', self.path('dangling'))
        names = [self.path(n) for n in ('dir', 'fifo', 'socket', 'loop-a',
                                        'dangling', 'missing', 'dir/', 'x' * 300,
                                        'good.qcow2/')]
        names += ['/dev/zero', '/dev/null', '/dev/full', '/dev/tty',
                  '/proc/self/mem', '/proc/self/fd/0', '/proc/self/maps', '/',
                  '.', '', '\x1b[31m', os.fsdecode(b'\xff\xfe')]
        for name in names:
            for verb in VERBS:
                self.run(f'H30 {name!r}', verb, name, lambda c: c != 0)

    def largest(self):
        """A good image in a file of the largest size there is."""
        big = self.path('big.qcow2')
        bases.plain().lay_out().write(big)
        for bits in (63, 62, 60, 50, 46, 45, 44, 43, 42, 41, 40):
            try:
                os.truncate(big, (1 << bits) - 4096)
                break
            except OSError:
                continue
        size = os.stat(big).st_size
        print(f'largest file here: {size} bytes')
        for verb in VERBS:
            self.run(f'H30 {size} bytes', verb, big, lambda c: c == 0)
        os.unlink(big)

    # D6 ------------------------------------------------------------------

    def few_descriptors(self):
        for n in range(3, 11):
            def limits(n=n):
                resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))
            for verb in VERBS:
                self.run(f'D6 {n} descriptors', verb, self.image,
                         lambda c: c < 128, limits)

    def small_stack(self):
        """Also the size of new threads' stacks."""
        for kib in (64, 128):
            def limits(kib=kib):
                resource.setrlimit(resource.RLIMIT_STACK,
                                   (kib << 10, kib << 10))
            for verb in VERBS:
                self.run(f'D6 stack of {kib} KiB', verb, self.image,
                         lambda c: c == 0, limits)

    def closed_descriptors(self):
        before = oracle.fingerprint(self.image)
        for mask in range(1, 8):
            def limits(mask=mask):
                for fd in range(3):
                    if mask >> fd & 1:
                        os.close(fd)
            for verb in VERBS:
                self.run(f'D6 closed {mask:03b}', verb, self.image,
                         lambda c: c < 128, limits)
        if oracle.fingerprint(self.image) != before:
            print('FAIL D6: the image changed')
            self.failed += 1


def main():
    ap = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--command', required=True)
    ap.add_argument('--libread', required=True)
    ap.add_argument('--sanitized', action='store_true')
    args = ap.parse_args()
    args.verbose = False
    with tempfile.TemporaryDirectory(prefix='hostile-') as tmp:
        s = Special(args, tmp)
        s.not_files()
        s.largest()
        s.few_descriptors()
        if not args.sanitized:    # sanitizers want more stack than that
            s.small_stack()
        s.closed_descriptors()
    print(f'{s.n} runs, {s.n - s.failed} passed, {s.failed} failed')
    return 1 if s.failed else 0


if __name__ == '__main__':
    sys.exit(main())
