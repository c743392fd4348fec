"""Rows X and N: header extensions, and the names of other files."""

import bases
from case import (ALL_STEPS, ANY, BENT, NODATA, NOEXT, OK, REJ, Case, Expect,
                  header)
from image import (EXT_BACKING_FORMAT, EXT_BITMAPS, EXT_CRYPTO, EXT_DATA_FILE,
                   EXT_FEATURE_NAMES, Image, put)
from payload import pattern

U32, U64 = (1 << 32) - 1, (1 << 64) - 1
UNKNOWN = 0x0badcafe
RAW = ('sparse', 4 << 20)


def plain():
    return bases.plain()


def add_ext(kind, data, length=None):
    return lambda m: m.exts.append([kind, data, length])


def extension_lengths():
    for n in (4096 - 112 - 8 + 1, 4096, 65536, 0x7fffffff, 0x80000000,
              *range(0xfffffff9, 0x100000000)):
        yield Case(f'X1.len-{n:x}', plain, add_ext(UNKNOWN, b'x' * 16, n),
                   REJ('extension'))
    for n in range(1, 8):
        def area(m, n=n):
            m.ext_raw = put(4, UNKNOWN) + put(4, 0) + bytes([1] * n)
            m.h['backing_file_offset'] = 112 + 8 + n
        yield Case(f'X1.left-{n}', bases.backed, area, REJ('extension'))
    # An end mark needs no length, but other software refuses one (T4).
    for name, n in (('fits', 4096 - 112 - 8), ('long', 4096 - 112 - 7),
                    ('max', 0xffffffff)):
        yield Case(f'X1.end-{name}', plain,
                   lambda m, n=n: setattr(m, 'ext_raw', put(8, n)),
                   OK(check=(0,) if name == 'fits' else (2,)),
                   steps=ALL_STEPS)
    rest = 4096 - 112 - 8

    def full(m):
        m.end_mark = False
        m.exts.append([UNKNOWN, b'y' * rest, None])
    yield Case('X2.full', plain, full, OK())

    def short(m):
        m.end_mark = False
        m.exts.append([UNKNOWN, b'y' * (rest - 8), None])
        m.exts.append([UNKNOWN, b'', 1])
    yield Case('X2.over', plain, short, REJ('extension'))

    def many(n):
        def mutate(m):
            m.ext_raw = (put(4, UNKNOWN) + put(4, 0)) * n + bytes(8)
        return mutate
    big = lambda: Image(cluster_bits=21, size=5 << 20)
    yield Case('X3.262130', big, many(262130), REJ('extension'), cpu=4)
    yield Case('X3.1025', big, many(1025), REJ('extension'), cpu=4)
    yield Case('X3.1000', big, many(1000), OK(), cpu=4)


def twice():
    def again(kind):
        return lambda m: m.exts.append(list(m.ext(kind)))

    # The last one counts, as for QEMU (S8).
    yield Case('X4.format', bases.backed, again(EXT_BACKING_FORMAT), ANY,
               files={'box/base.raw': RAW})
    yield Case('X4.features', lambda: bases.plain(features=True),
               again(EXT_FEATURE_NAMES), OK(), steps=ALL_STEPS)
    yield Case('X4.bitmaps', bases.bitmapped, again(EXT_BITMAPS), OK(),
               steps=ALL_STEPS)
    yield Case('X4.crypto', bases.encrypted, again(EXT_CRYPTO), ANY)
    yield Case('X4.data', bases.data_filed, again(EXT_DATA_FILE), ANY,
               files={'box/data.raw': RAW})
    yield Case('X4.unknown', plain,
               lambda m: m.exts.extend([[UNKNOWN, b'1', None]] * 2), OK())




def backing_formats():
    base = {'box/base.raw': RAW}
    bad = {'16': b'f' * 16, '17': b'f' * 17, '4000': b'f' * 3000,
           'nul': b'raw\0qcow2'}
    for name, fmt in bad.items():
        yield Case(f'X5.{name}', lambda f=fmt: bases.backed(fmt=f), None,
                   REJ(), files=base, trace=True)
    odd = {'15': b'f' * 15, 'unknown': b'frobnicate', 'nbd': b'nbd',
           'luks': b'luks', 'upper': b'RAW', 'space': b'raw ', 'file': b'file',
           'empty': b'', 'only-nul': b'\0'}
    for name, fmt in odd.items():
        yield Case(f'X5.{name}', lambda f=fmt: bases.backed(fmt=f), None,
                   NOEXT('format'), files=base, trace=True)
    yield Case('X5.escape', lambda: bases.backed(fmt=b'r\x1b[1m'), None,
               ANY, files=base)
    yield Case('X5.none', lambda: plain(), add_ext(EXT_BACKING_FORMAT, b'nbd'),
               OK())
    yield Case('X6.raw', lambda: bases.backed(fmt=None), None,
               NOEXT('format'), files=base, trace=True)
    yield Case('X6.v2', lambda: bases.backed(fmt=None, version=2), None,
               NOEXT('format'), files=base, trace=True)




def feature_tables():
    tables = {'47': b'\0' * 47, '49': b'\0' * 49, '1': b'x', 'empty': b'',
              'type': b'\x03\x05' + b'n' * 46, 'bit': b'\x00\x40' + b'n' * 46,
              'bit255': b'\x00\xff' + b'n' * 46,
              'full': b'\x00\x05' + b'n' * 46,
              'esc': b'\x00\x05' + b'\x1b[2J'.ljust(46, b'\0'),
              'rtl': b'\x00\x05' + '\u202ex'.encode().ljust(46, b'\0'),
              'bad': b'\x00\x05' + b'\xc3(\xff'.ljust(46, b'\0'),
              'same': (b'\x00\x05' + b'n' * 46) * 60}
    for name, data in tables.items():
        yield Case(f'X7.{name}', plain, add_ext(EXT_FEATURE_NAMES, data),
                   OK(check=(0, 2)))
        yield Case(f'X7.{name}-bit', plain,
                   lambda m, d=data: (m.exts.append([EXT_FEATURE_NAMES, d, None]),
                                      m.h.update(incompatible_features=32)),
                   REJ('incompatible feature'))


def bitmap_extensions():
    def put_ext(**kw):
        return lambda m: m.bitmap_ext.update(kw)

    def resize(n):
        def mutate(m):
            e = m.ext(EXT_BITMAPS)
            m.exts.remove(e)
            m.exts.append([EXT_BITMAPS, bytes(n), None])
        return mutate

    changes = {'reserved': dict(reserved=1), 'nb-0': dict(nb_bitmaps=0),
               'nb-65536': dict(nb_bitmaps=65536), 'nb-max': dict(nb_bitmaps=U32),
               'nb-3': dict(nb_bitmaps=3), 'nb-1': dict(nb_bitmaps=1),
               'size-0': dict(directory_size=0), 'size-1': dict(directory_size=1),
               'size-8': dict(directory_size=8),
               'size-63': dict(directory_size=1 << 63),
               'size-max': dict(directory_size=U64),
               'size-cap': dict(directory_size=1024 * 65535 + 1),
               'off-odd': dict(directory_offset=0x4001),
               'off-sector': dict(directory_offset=0x4200),
               'off-eof': dict(directory_offset=1 << 40),
               'off-63': dict(directory_offset=1 << 63),
               'off-l1': dict(directory_offset=0x2000),
               'off-header': dict(directory_offset=0)}
    for name, kw in changes.items():
        yield Case(f'X8.{name}', bases.bitmapped, put_ext(**kw),
                   BENT(check=(1, 2), compare='ok', convert='ok', read='ok',
                        map='ok', chain='ok'))
    for n in (0, 8, 23, 25, 32):
        yield Case(f'X8.len-{n}', bases.bitmapped, resize(n),
                   BENT(check=(2,), compare='ok', convert='ok', read='ok'))
        # Nobody asks for the bitmaps, and yet QEMU refuses (T3).
        yield Case(f'X8.unused-{n}', plain,
                   lambda m, n=n: m.exts.append([EXT_BITMAPS, bytes(n), None]),
                   OK(check=(2,)), steps=ALL_STEPS)


def crypto_extensions():
    def pointer(off, length, size=16):
        def mutate(m):
            data = (put(8, off) + put(8, length) + bytes(16))[:size]
            m.ext(EXT_CRYPTO)[1] = data
        return mutate

    at, ok = 0x30000, 4096 + 8 * 131072
    for n in (0, 8, 15, 17, 24):
        yield Case(f'X9.len-{n}', bases.encrypted, pointer(at, ok, n), REJ())
    for name, off, n in (
            ('off-odd', at + 1, ok), ('off-sector', at + 512, ok),
            ('off-0', 0, ok), ('off-eof', 1 << 40, ok), ('off-63', 1 << 63, ok),
            ('off-max', U64 & ~65535, ok), ('len-zero', at, 0),
            ('len-591', at, 591), ('len-eof', at, 1 << 40),
            ('len-63', at, 1 << 63), ('len-max', at, U64)):
        yield Case(f'X9.{name}', bases.encrypted, pointer(off, n),
                   Expect('any', 'any', 'rej', (1,), 'rej', 'rej', 'rej')
                   if name.endswith('-eof') else REJ())


def big_unknown():
    yield Case('X11.60k', lambda: bases.plain(17, size=1 << 20),
               add_ext(UNKNOWN, pattern(60 << 10)), OK())


def name_places():
    base = {'box/base.raw': RAW}

    def name(off=None, length=None, expect=None):
        kw = {}
        if off is not None:
            kw['backing_file_offset'] = off
        if length is not None:
            kw['backing_file_size'] = length
        tag = f'{kw.get("backing_file_offset", "x")}-{length}'
        return Case(f'N1.{tag}', bases.backed, header(**kw),
                    expect or REJ('backing'), files=base, trace=True)

    for off in (8, 72, 104, 4096, 4095, 1 << 40, 1 << 63, U64):
        yield name(off=off)
    for n in (1024, 4096, U32, 0x80000000):
        yield name(length=n)
    # A place without a name is no backing file, as for QEMU (F13).
    yield name(length=0, expect=OK())
    # This is undefined without a backing file, so no rule is broken.
    yield name(0, 8, OK())
    yield name(off=120, expect=REJ())
    for n in (1022, 1023):
        yield Case(f'N5.long-{n}', lambda k=n: bases.backed(b'n' * k), None,
                   NOEXT())


OUTSIDE = {'out/secret.raw': RAW, 'box/x.raw': RAW, 'cwd/x.raw': RAW,
           'box/link.raw': ('symlink', '../out/secret.raw'),
           'box/linkdir': ('symlink', '../out'),
           'box/sub/keep.raw': RAW, 'box/here.raw': ('symlink', 'x.raw')}


def both_kinds(ident, name, expect=None, files=None, oracle=None, **kw):
    """The name as backing file, raw and qcow2, and as data file."""
    e = expect or NOEXT()
    f = {**OUTSIDE, **(files or {})}
    yield Case(f'{ident}-backing', lambda *d: bases.backed(encode(name, d)),
               None, e, files=f, trace=True, oracle=oracle, **kw)
    yield Case(f'{ident}-data',
               lambda *d: bases.data_filed(encode(name, d)), None, NODATA(), files=f, trace=True, oracle=oracle,
               content=False, **kw)


def encode(name, directory):
    return name(directory[0]) if callable(name) else name


def outside():
    here = 'out/secret.raw'
    absolute = lambda d: (d + '/out/secret.raw').encode()
    yield from both_kinds('N2.absolute', absolute, absolute=True, oracle=here)
    for tag, name in (('up', b'../out/secret.raw'),
                      ('down-up', b'sub/../../out/secret.raw'),
                      ('missing-up', b'a/../../out/secret.raw'),
                      ('symlink', b'link.raw'),
                      ('symlink-dir', b'linkdir/secret.raw')):
        yield from both_kinds(f'N2.{tag}', name, oracle=here)
    yield from both_kinds('N10.absent', b'../out/never.raw')
    yield Case('N2.sub-backing', lambda: bases.backed(b'sub/keep.raw'), None,
               OK(), files=OUTSIDE, content=False)
    schemes = (
        b'json:{"driver":"file","filename":"../out/secret.raw"}',
        b'json:{"driver":"nbd","host":"127.0.0.1","port":"10809"}',
        b'json:{"driver":"null-co"}',
        b'json:{"driver":"blkdebug","image":{"driver":"null-co"}}',
        b'json:{"driver":"quorum","vote-threshold":1,"children":[]}',
        b'nbd:127.0.0.1:10809', b'nbd://127.0.0.1/x',
        b'nbd+unix:///x?socket=../out/sock', b'http://127.0.0.1/x',
        b'ssh://root@127.0.0.1/x', b'rbd:pool/x', b'file:../out/secret.raw',
        b'file:x.raw', b'fd:0', b'fat:rw:.', b'blkdebug::x.raw',
        b'host_device:/dev/zero', b'vvfat:.', b'raw:x.raw')
    for i, name in enumerate(schemes):
        yield from both_kinds(f'N3.{i:02}', name)


def special_files():
    # This is a regular file of sorts, which a caller who allows any name gets.
    for c in both_kinds('N4.environ', b'/proc/self/environ'):
        c.expect.verdict['convert-any'] = 'any'
        yield c
    for tag, name in (('fd0', b'/dev/fd/0'), ('self', b'/proc/self/fd/0'),
                      ('zero', b'/dev/zero'), ('sda', b'/dev/sda'),
                      ('dash', b'-'), ('dot', b'.'), ('slash', b'/'),
                      ('dots', b'..')):
        yield from both_kinds(f'N4.{tag}', name)
    for kind in ('fifo', 'socket', 'dir'):
        yield from both_kinds(f'N4.{kind}', kind.encode(),
                              files={f'box/{kind}': (kind,)})
    texts = {'nul': b'x\0.raw', 'nul-end': b'x.raw\0', 'newline': b'a\nb',
             'esc': b'\x1b]0;t\x07', 'max': b'n' * 1023,
             'path': b'd/' * 511, 'bad-utf8': b'\xff\xfe.raw',
             'rtl': 'a\u202eb'.encode(), 'c1': b'\xc2\x9b31m',
             'percent': b'%s%n%x', 'quote': b'"\\\'', 'space': b' x.raw'}
    # NULs fill a name up, as for QEMU (F13); inside they part it.
    for tag, name in texts.items():
        parted = b'\0' in name.rstrip(b'\0')
        e = REJ() if parted else ANY if b'\0' in name else NOEXT()
        yield Case(f'N5.{tag}-backing', lambda n=name: bases.backed(n), None,
                   e, files=OUTSIDE, trace=True)
        e = REJ() if parted else ANY if b'\0' in name else NODATA()
        yield Case(f'N5.{tag}-data', lambda n=name: bases.data_filed(n), None,
                   e, files=OUTSIDE, trace=True, content=False)
    yield Case('N5.empty-data', lambda: bases.data_filed(b''), None, REJ())


def q(name, fmt=b'qcow2'):
    return lambda: bases.backed(name, fmt)


def loops():
    loop = NOEXT()
    yield Case('N6.self', q(b'img.qcow2'), None, loop)
    yield Case('N6.dot', q(b'./img.qcow2'), None, loop)
    yield Case('N6.sub', q(b'sub/../img.qcow2'), None, loop,
               files={'box/sub/x': b''})
    yield Case('N6.pair', q(b'b.qcow2'), None, loop,
               files={'box/b.qcow2': q(b'img.qcow2')})
    yield Case('N6.triple', q(b'b.qcow2'), None, loop,
               files={'box/b.qcow2': q(b'c.qcow2'),
                      'box/c.qcow2': q(b'b.qcow2')})
    yield Case('N6.hardlink', q(b'hard.qcow2'), None, loop,
               files={'box/hard.qcow2': ('hardlink', 'box/img.qcow2')})
    yield Case('N6.symlink', q(b'soft.qcow2'), None, loop,
               files={'box/soft.qcow2': ('symlink', 'img.qcow2')})
    yield Case('N6.absolute', lambda d: bases.backed(
        (d + '/box/img.qcow2').encode(), b'qcow2'), None, loop, absolute=True)
    yield Case('N6.raw-self', q(b'img.qcow2', b'raw'), None, loop)
    yield Case('N6.data-self', lambda: bases.data_filed(b'img.qcow2'), None,
               NODATA(), content=False)

    def both_names():
        im = bases.data_filed(b'data.raw')
        im.backing = b'data.raw'
        im.extensions.append((EXT_BACKING_FORMAT, b'raw'))
        return im
    yield Case('N6.data-is-backing', both_names, None, NODATA(),
               files={'box/data.raw': RAW}, content=False)


def small(name=None, fmt=b'qcow2'):
    im = Image(cluster_bits=9, size=64 * 512)
    if name:
        im.backing = name
        im.extensions.append((EXT_BACKING_FORMAT, fmt))
    return im


def depth_case(depth, expect):
    """A chain of `depth` images, the top included."""
    files = {f'box/{i}.qcow2':
             lambda i=i: small(b'%d.qcow2' % (i + 1) if i + 1 < depth else None)
             for i in range(1, depth)}
    return Case(f'N7.{depth}', lambda: small(b'1.qcow2' if depth > 1 else None),
                None, expect, files=files, content=False)


def depths():
    for n in (1, 2, 8, 9, 64, 65, 200, 1000):
        yield depth_case(n, OK())
    for n in (1025, 1100):
        yield depth_case(n, NOEXT('1024'))


def neighbours():
    def on(base, expect=None, fmt=b'qcow2', tag='', top=None, **kw):
        return Case(f'N8.{tag}', lambda: bases.backed(b'base', fmt, **(top or {})),
                    None, expect or OK(), files={'box/base': base},
                    content=False, **kw)

    yield on(('sparse', 8192), fmt=b'raw', tag='shorter')
    yield on(('sparse', 64 << 20), fmt=b'raw', tag='longer')
    yield on(b'', fmt=b'raw', tag='empty')
    yield on(b'x' * 777, fmt=b'raw', tag='unaligned')
    yield on(b'x' * (1 << 20), fmt=b'raw', tag='half', top={'size': 777777})
    yield on(lambda: bases.plain(9, size=77777), tag='unaligned-qcow2')
    yield on(lambda: bases.plain(size=0), tag='empty-qcow2')

    def broken(mutate):
        def make():
            layout = bases.plain().lay_out()
            mutate(layout)
            return layout
        return make
    yield on(broken(header(incompatible_features=1)), tag='dirty')
    yield on(broken(header(incompatible_features=2)), tag='corrupt')
    yield on(broken(header(incompatible_features=1 << 33)), NOEXT(),
             tag='future')
    yield on(broken(header(cluster_bits=40)), NOEXT('cluster_bits'),
             tag='broken')
    yield on(broken(lambda m: m.l1.__setitem__(0, 1 << 55)),
             OK(map='any', chain='ok', compare='rej', convert='rej',
                read='eio'), tag='bad-l1', top={'size': 4 << 20})
    # A command can tell its metadata, and not its data.
    yield on(bases.encrypted, BENT(check=(0,), compare='rej', convert='rej',
                                   read='rej'), tag='encrypted')
    yield on(bases.data_filed, OK(), tag='data-file')
    yield on(lambda: bases.backed(b'../out/secret.raw'), NOEXT(), tag='outside')
    yield on(b'QFI\xfb' + b'\0' * 5000, fmt=b'raw', tag='magic-raw')

    def cooked():
        im = bases.data_filed()
        im.guest[9] = ('data', b'R' * 4096)
        return im
    yield Case('N9.cwd', cooked, None,
               OK(), files={'box/data.raw': pattern(4 << 20, 3),
                            'cwd/data.raw': b'DECOY' * 1000},
               trace=True, content=False)
    yield Case('N9.missing', cooked, None, NODATA(),
               files={'cwd/data.raw': b'DECOY' * 1000}, trace=True,
               content=False)


def cases():
    for part in (extension_lengths, twice, backing_formats, feature_tables,
                 bitmap_extensions, crypto_extensions, big_unknown,
                 name_places, outside, special_files, loops, depths,
                 neighbours):
        yield from part()
