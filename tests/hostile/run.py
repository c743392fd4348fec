#!/usr/bin/env python3
"""Runs commands over every hostile image.

  run.py --command BUILD/cli/qcow2 --libread BUILD/tests/hostile/libread
         [--slice I/N] [--sanitized] [--keep DIR] [-v] [CASE...]

A case passes when each command gives the verdict that the case expects and
keeps to the rules of oracle.py.  Each image is checked, and read through the
library; of the other commands, repairs and changes it gets a sample (see
sample.py).  Cases that are named on the command line get all.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile

import oracle
from generate import all_cases

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../support'))
from sample import Sample  # pylint: disable=wrong-import-position

# The places that the steps of cases may change.
WRITTEN = (4096, 8192)
FIRST_WRITTEN = 1 << 20

# Every image gets these.
ALWAYS = ('check', 'read')

# These commands say what is in an image, with any defect.
DUMPS = {
    'dump': [],
    'dump-l1': ['l1'],
    'dump-l2': ['l2', '0'],
    'dump-refcounts': ['refcounts'],
    'dump-snapshots': ['snapshots'],
    'dump-bitmaps': ['bitmaps'],
    'dump-entry': ['entry', '4k'],
}


class Failure:
    def __init__(self, case, command, what):
        self.case, self.command, self.what = case, command, what

    def __str__(self):
        return f'FAIL {self.case.ident}: {self.command}: {self.what}'


class Bench:
    """The programs under test, and the rules."""

    def __init__(self, args, sample=None):
        self.command = os.path.abspath(args.command)
        self.libread = os.path.abspath(args.libread)
        self.verbose = args.verbose
        self.sample = sample
        self.runner = oracle.Runner(args.sanitized)
        self.n_runs = 0

    def argv(self, name, image, out):
        q = self.command
        if name in DUMPS:
            return [q, 'dump', '--output=json', image, *DUMPS[name]]
        return {
            'info': [q, 'info', '-f', 'qcow2', image],
            'info-json': [q, 'info', '-f', 'qcow2', '--output=json', image],
            'chain': [q, 'info', '-f', 'qcow2', '--backing-chain',
                      '--output=json', image],
            'map': [q, 'map', '-f', 'qcow2', '--output=json', image],
            'check': [q, 'check', '-f', 'qcow2', image],
            'compare': [q, 'compare', '-f', 'qcow2', '-F', 'qcow2', image,
                        image],
            'convert': [q, 'convert', '-f', 'qcow2', '-O', 'raw', image, out],
            'convert-any': [q, 'convert', '-f', 'qcow2', '-O', 'raw',
                            '--external=any', image, out],
            'read': [self.libread, image],
        }[name]

    def names(self, case):
        """The commands worth running for a case."""
        if case.only:
            return case.only
        every = ['info', 'info-json', 'chain', 'map', 'check', 'compare',
                 'convert', 'read']
        if not case.files and not case.trace and case.row not in ('N6', 'N7'):
            every.remove('chain')
        # A caller who allows all names still gets files only, and literal
        # names.
        if case.row in ('N3', 'N4', 'N6'):
            every.append('convert-any')
        return [name for name in every
                if name in ALWAYS or self.sample.takes(case.ident, name)]


def verdict_of(name, code):
    if code == 0:
        return 'ok'
    if name == 'read' and code == 2:
        return 'eio'
    return 'rej'


def judge(name, want, r):
    """Complaints about the exit code."""
    if r.code is None or r.code < 0:
        return []
    if want == 'any':
        return []
    if not isinstance(want, str):
        return [] if r.code in want else [f'exit {r.code}, expected one of '
                                          f'{sorted(want)}{tail(r)}']
    got = verdict_of(name, r.code)
    if got == want or (want == 'eio' and got == 'rej'):
        return []
    if name == 'read' and want == 'rej' and got == 'eio':
        return []
    return [f'{got} (exit {r.code}), expected {want}{tail(r)}']


def tail(r):
    text = (r.err or r.out[:200]).decode('utf-8', 'replace')
    return ': ' + ' | '.join(text.split('\n'))[:400]


def message(case, name, r):
    """A failure says why, in the words that the case asks for."""
    if r.code in (0, None) or r.code < 0:
        return []
    if name == 'check' and r.code != 1:
        return []
    text = (r.err + (r.out if name == 'read' else b'')).decode('utf-8',
                                                               'replace')
    if not text.strip():
        return ['failed without a word']
    if name in ('compare', 'read'):
        return []
    return [f'message lacks {m!r}: {text.strip()[:300]}'
            for m in case.expect.msg if m not in text]


def convert_result(case, want, r, out):
    """The target is there whole or not at all."""
    there = os.path.exists(out)
    left = [f for f in os.listdir(os.path.dirname(out)) if f != 'target.raw']
    bad = [f'left {f} behind' for f in left]
    if r.code != 0:
        return bad + (['left a target after failing'] if there else [])
    if not there:
        return bad + ['no target']
    raw = case.raw() if want == 'ok' else None
    if raw is not None:
        with open(out, 'rb') as f:
            if f.read() != raw:
                bad.append('the target is not what the disk holds')
    return bad


def dump_may_fail(r):
    return any(word in r.err for word in (b'only the header can be dumped',
                                          b'begin further on'))


def allowed_files(root, image, out):
    box = os.path.join(root, 'box') + '/'
    return (image, box, os.path.dirname(out) + '/', '/dev/null',
            os.path.dirname(os.path.dirname(root)) + '/lib/')


class Run:
    """One case."""

    def __init__(self, bench, case, root):
        self.bench, self.case, self.root = bench, case, root
        self.image = case.write(root)
        self.failures = []
        self.cwd = os.path.join(root, 'cwd')
        self.target_dir = os.path.join(root, 'target')
        self.before = oracle.fingerprint(self.image)

    def takes(self, *what):
        return self.bench.sample.takes(self.case.ident, *what)

    def fail(self, command, complaints):
        self.failures += [Failure(self.case, command, c) for c in complaints]

    def dumps(self):
        """Each command prints the metadata, unless there is no header, or it is
        more than one call prints."""
        for name in filter(self.takes, DUMPS):
            r = self.bench.runner.run(
                self.bench.argv(name, self.image, None), self.cwd,
                self.case.cpu)
            self.bench.n_runs += 1
            bad = oracle.trouble(r)
            if r.out:
                bad += oracle.bad_json(r.out)
            if r.code == 1 and name != 'dump':
                bad += [] if dump_may_fail(r) else [f'refused{tail(r)}']
            elif r.code != 0:
                bad.append(f'exit {r.code}{tail(r)}')
            self.fail(name, bad)

    def one(self, name):
        """Runs one command; returns its result."""
        case, bench = self.case, self.bench
        os.makedirs(self.target_dir, exist_ok=True)
        out = os.path.join(self.target_dir, 'target.raw')
        trace = os.path.join(self.root, 'trace') if case.trace else None
        argv = bench.argv(name, self.image, out)
        r = bench.runner.run(argv, self.cwd, case.cpu, trace)
        bench.n_runs += 1
        bad = oracle.trouble(r)
        want = case.expect.verdict[name]
        if not bad:
            bad = judge(name, want, r)
            bad += message(case, name, r)
        if r.code == 0 and name in ('info-json', 'chain', 'map'):
            bad += oracle.bad_json(r.out)
        if name.startswith('convert'):
            bad += convert_result(case, want, r, out)
        bad += oracle.foreign_opens(
            r.opened, ('/',) if name == 'convert-any' else
            allowed_files(self.root, self.image, out))
        self.fail(name, bad)
        shutil.rmtree(self.target_dir)
        return r

    def all(self):
        trap = oracle.Trap(os.path.join(self.root, 'out'), self.cwd)
        first = {}
        for name in self.bench.names(self.case):
            first[name] = self.one(name)
            self.fail(name, [f'opened {f}' for f in trap.sprung()])
        self.dumps()
        self.fail('dump', [f'opened {f}' for f in trap.sprung()])
        if self.case.oracle:
            self.absent(first)
        trap.close()
        if oracle.fingerprint(self.image) != self.before:
            self.fail('all', ['the image changed'])
        if os.path.isfile(self.image) and not self.case.only:
            self.repair()
            self.write()
        return self.failures

    def copy(self, name):
        copy = os.path.join(os.path.dirname(self.image), name)
        oracle.copy(self.image, copy)
        return copy

    def write(self):
        """Runs the steps of the case on a copy and on one that was repaired:
        each ends well, and data that they do not write reads as before."""
        for repaired in self.case.ways if self.case.steps else ():
            if not self.takes('steps', repaired):
                continue
            copy = self.copy('written.qcow2')
            if repaired:
                self.mend(copy, 'all')
            size = os.path.getsize(copy)
            for argv, want in self.case.steps:
                r = self.bench.runner.run([self.bench.command, *argv, copy],
                                          self.cwd, self.case.cpu)
                self.bench.n_runs += 1
                self.fail(' '.join(argv), oracle.trouble(r) +
                          judge(argv[0], 'any' if repaired else want, r))
            if os.path.getsize(copy) > 2 * size + (16 << 20):
                self.fail('steps', [f'grew to {os.path.getsize(copy)}'])
            self.fail('after the steps', self.untouched(copy))

    def untouched(self, copy):
        """Clusters that no step writes are as before."""
        raw = self.case.raw()
        if raw is None or self.case.expect.verdict['convert'] != 'ok':
            return []
        os.makedirs(self.target_dir, exist_ok=True)
        out = os.path.join(self.target_dir, 'target.raw')
        r = self.bench.runner.run(self.bench.argv('convert', copy, out),
                                  self.cwd, self.case.cpu)
        bad = [] if r.code == 0 else [f'unreadable{tail(r)}']
        if not bad:
            with open(out, 'rb') as f:
                got = f.read()
            bad = [f'changed at {at}' for at in range(0, FIRST_WRITTEN, 4096)
                   if not WRITTEN[0] <= at < WRITTEN[1] and
                   got[at:at + 4096] != raw[at:at + 4096]]
        shutil.rmtree(self.target_dir)
        return bad

    def mend(self, path, mode):
        argv = [self.bench.command, 'check', '-f', 'qcow2', '-r', mode, path]
        r = self.bench.runner.run(argv, self.cwd, self.case.cpu)
        self.bench.n_runs += 1
        self.fail('repair ' + mode, oracle.trouble(r))
        return r

    def repair(self):
        """A copy is repaired: that ends, costs no more than the image has,
        loses nothing that could be read, and is done after one time."""
        for mode in ('leaks', 'all'):
            if not self.takes('repair', mode):
                continue
            copy = self.copy('mended.qcow2')
            size = os.path.getsize(copy)
            first = self.mend(copy, mode)
            bad = []
            if first.code not in (0, 1, 2, 3):
                bad.append(f'exit {first.code}{tail(first)}')
            if os.path.getsize(copy) > 2 * size + (16 << 20):
                bad.append(f'grew from {size} to {os.path.getsize(copy)}')
            if first.code == 1 and b'check errors' not in first.err:
                self.fail('repair ' + mode, bad)
                continue
            before = oracle.fingerprint(copy)
            again = self.mend(copy, mode)
            if again.code != first.code:
                bad.append(f'exit {first.code}, then {again.code}'
                           f'{tail(again)}')
            if oracle.fingerprint(copy) != before:
                bad.append(f'a second repair changed the image{tail(again)}')
            bad += self.mended_content(copy)
            self.fail('repair ' + mode, bad)

    def mended_content(self, copy):
        """Data that was readable before reads the same."""
        if self.case.expect.verdict['convert'] != 'ok':
            return []
        raw = self.case.raw()
        if raw is None:
            return []
        os.makedirs(self.target_dir, exist_ok=True)
        out = os.path.join(self.target_dir, 'target.raw')
        argv = self.bench.argv('convert', copy, out)
        r = self.bench.runner.run(argv, self.cwd, self.case.cpu)
        bad = [] if r.code == 0 else [f'unreadable after it{tail(r)}']
        if not bad:
            bad = convert_result(self.case, 'ok', r, out)
        shutil.rmtree(self.target_dir)
        return bad

    def absent(self, first):
        """Without the file that the image names, every word must be the
        same."""
        os.unlink(os.path.join(self.root, self.case.oracle))
        for name, with_it in first.items():
            r = self.one(name)
            if (r.code, r.err, r.out) != (with_it.code, with_it.err,
                                          with_it.out):
                self.fail(name, ['tells whether the file exists: '
                                 f'{with_it.err[:200]!r} / {r.err[:200]!r}'])


def in_slice(case, part, parts):
    digest = hashlib.blake2b(case.ident.encode(), digest_size=4).digest()
    return int.from_bytes(digest, 'big') % parts == part


def selected(args):
    part, parts = (int(n) for n in args.slice.split('/'))
    for case in all_cases():
        if args.cases:
            if case.ident in args.cases or case.row in args.cases:
                yield case
        elif in_slice(case, part, parts):
            yield case


def run_cases(args, bench, root):
    failures = n = 0
    for case in selected(args):
        directory = os.path.join(root, case.ident)
        os.mkdir(directory)
        found = Run(bench, case, directory).all()
        n += 1
        failures += bool(found)
        for f in found:
            print(f)
        if args.verbose and not found:
            print('ok  ', case.ident)
        if not args.keep:
            shutil.rmtree(directory)
    print(f'{n} images, {bench.n_runs} runs: {n - failures} passed, '
          f'{failures} failed')
    return failures


def main():
    ap = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--command', required=True)
    ap.add_argument('--libread', required=True)
    ap.add_argument('--slice', default='0/1')
    ap.add_argument('--sanitized', action='store_true')
    ap.add_argument('--keep', metavar='DIR')
    ap.add_argument('-v', '--verbose', action='store_true')
    ap.add_argument('cases', nargs='*')
    args = ap.parse_args()
    sample = Sample(share=1 if args.cases else None)
    print(sample, flush=True)
    bench = Bench(args, sample)
    if not bench.runner.strace:
        print('strace cannot be used here: opens are watched by inotify only')
    if args.keep:
        os.makedirs(args.keep)
        return 1 if run_cases(args, bench, args.keep) else 0
    with tempfile.TemporaryDirectory(prefix='hostile-') as tmp:
        return 1 if run_cases(args, bench, tmp) else 0


if __name__ == '__main__':
    sys.exit(main())
