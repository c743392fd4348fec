"""The definition of a case: an image with one defect, and the answer that each
command must give about it."""

import os
import socket

from image import Layout, write_pieces

class Expect:
    """Per command a verdict: 'ok' (exit 0), 'rej' (a clean failure), 'eio'
    (for `read`: opens, but some reads fail) or 'any' (either, but clean).
    `check` may be a set of exit codes.  `msg`: the text that every failure
    must mention."""

    def __init__(self, info='ok', chain='ok', map='ok', check=(0,),
                 compare='ok', convert='ok', read='ok', msg=()):
        self.verdict = {
            'info': info, 'info-json': info, 'chain': chain, 'map': map,
            'check': check, 'compare': compare, 'convert': convert,
            'read': read, 'convert-any': 'rej'}
        self.msg = [str(m) for m in msg]


def OK(check=(0,), **kw):
    return Expect(check=check, **kw)


def REJ(*msg, check=(1,)):
    """Nothing opens it."""
    return Expect('rej', 'rej', 'rej', check, 'rej', 'rej', 'rej', msg)


def HEAD(*msg, check=(1,)):
    """Its header says what it is; the rest is not there (F07)."""
    return Expect('ok', 'rej', 'rej', check, 'rej', 'rej', 'rej', msg)


def EIO(*msg, check=(2,)):
    """The header is fine; reading the damaged range fails."""
    return Expect('ok', 'ok', 'any', check, 'rej', 'rej', 'eio', msg)


def BENT(check=(2,), info='ok', **kw):
    """Metadata that points at other metadata: it may be read or refused, but
    the check must see it."""
    v = {'chain': 'any', 'map': 'any', 'compare': 'any', 'convert': 'any',
         'read': 'any', **kw}
    return Expect(info=info, check=check, **v)


def NOEXT(*msg, map='rej', check=(0,)):
    """Names another file, which stays closed."""
    return Expect('ok', 'rej', map, check, 'rej', 'rej', 'rej', msg)


def NODATA(*msg, info='ok'):
    """Its guest data is in a file that stays closed: operations that need no
    guest data go on."""
    return Expect(info, info, 'any', 'any', 'rej', 'rej', 'rej', msg)


ANY = Expect('any', 'any', 'any', 'any', 'any', 'any', 'any')


# Changes of the disk, in an empty place; of its contents; of all of it.
FREE, USED = 1 << 20, 4096
WRITE = ['io', '-c', f'write -P 7 {FREE} 64k']
OVERWRITE = ['io', '-c', f'write -P 8 {USED} 4k']
DISCARD = ['io', '-d', 'unmap', '-c', f'discard {USED} 4k']
SNAPSHOT = ['snapshot', '-c', 'new']


def rw(*steps):
    return [(argv, 'any') for argv in steps]


ALL_STEPS = rw(WRITE, OVERWRITE, SNAPSHOT, DISCARD)


class Case:
    """`base`: makes an Image; `mutate`: changes its Layout; `files`: the other
    files, by path relative to the case's directory (the image is
    box/img.qcow2, commands run in cwd/)."""

    def __init__(self, ident, base, mutate, expect, files=None, content=True,
                 size=None, trace=False, only=None, cpu=None, oracle=None,
                 absolute=False, snapshots=None, steps=(),
                 ways=(False, True)):
        self.ident, self.base, self.mutate = ident, base, mutate
        self.expect, self.files = expect, files or {}
        self.content = content     # convert must give what the Image holds
        self.size = size           # cut or grow the file at the end
        self.trace = trace         # watch which files are opened
        self.only = only           # commands that make sense, None: all
        self.cpu = cpu             # seconds, where the file is large
        self.oracle = oracle       # file whose existence must not show
        # The operations on a copy, one after the other: (argv without the
        # image, verdict); `ways`: whether the copy was repaired first.
        self.steps, self.ways = steps, ways
        self.absolute = absolute   # base wants the case's directory
        self.image = None

    @property
    def row(self):
        return self.ident.split('.')[0]

    def write(self, directory):
        """Makes the case's files; returns the path of the image."""
        for sub in ('box', 'cwd', 'out'):
            os.makedirs(os.path.join(directory, sub), exist_ok=True)
        path = os.path.join(directory, 'box', 'img.qcow2')
        made = self.base(directory) if self.absolute else self.base()
        if isinstance(made, bytes):
            write_pieces(path, [(0, made)], len(made))
        else:
            layout = made if isinstance(made, Layout) else made.lay_out()
            if self.mutate:
                self.mutate(layout)
            if self.size is not None:
                layout.file_size = self.size
            layout.write(path)
            self.image = layout
        for name, what in self.files.items():
            write_extra(directory, name, what)
        return path

    def raw(self):
        """The contents of the disk, None when the case does not say."""
        if not self.content or not isinstance(self.image, Layout):
            return None
        im = self.image.image
        if self.image.h['size'] != im.size or im.size > 16 << 20:
            return None
        return guest_bytes(im)


def write_extra(directory, name, what):
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if callable(what):
        what = what()
        layout = what if isinstance(what, Layout) else what.lay_out()
        layout.write(path)
        write_data_file(layout, path)
    elif isinstance(what, bytes):
        write_pieces(path, [(0, what)], len(what))
    elif what[0] == 'fifo':
        os.mkfifo(path)
    elif what[0] == 'dir':
        os.mkdir(path)
    elif what[0] == 'socket':
        make_socket(path)
    elif what[0] == 'symlink':
        os.symlink(what[1], path)
    elif what[0] == 'hardlink':
        os.link(os.path.join(directory, what[1]), path)
    elif what[0] == 'sparse':
        write_pieces(path, [], what[1])
    else:
        raise ValueError(what)


def make_socket(path):
    """Binds by a short relative name: socket paths are limited."""
    here = os.open('.', os.O_RDONLY)
    try:
        os.chdir(os.path.dirname(path))
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(os.path.basename(path))
    finally:
        os.fchdir(here)
        os.close(here)


def write_data_file(layout, path):
    """The raw data file of a layout that has one, beside it."""
    if layout.image.data_file:
        write_pieces(os.path.join(os.path.dirname(path), 'data.raw'),
                     layout.data_blobs, layout.image.size)


def guest_bytes(image, payloads=None):
    """The contents of an Image without backing file; None when a cluster's
    content is not known."""
    cs = 1 << image.cluster_bits
    out = bytearray(up_to(image.size, cs))
    for c, what in image.guest.items():
        at = c * cs
        if what[0] == 'data':
            data = what[1]
        elif what[0] == 'sub' and what[3] is not None:
            data = subclusters(what, cs)
        elif what[0] == 'comp':
            return None
        else:
            continue
        if at < len(out):
            out[at:at + len(data)] = data[:len(out) - at]
    return bytes(out[:image.size])


def subclusters(what, cs):
    sub = cs // 32
    return b''.join(what[3][i * sub:i * sub + sub] if what[1] >> i & 1
                    else bytes(sub) for i in range(32))


def up_to(n, unit):
    return (n + unit - 1) // unit * unit


def header(**fields):
    """A mutation: header fields set."""
    def mutate(layout):
        layout.h.update(fields)
    return mutate


def both(*mutations):
    def mutate(layout):
        for m in mutations:
            m(layout)
    return mutate
