"""Rows H: the header."""

import bases
from bases import FEATURES
from case import (ANY, BENT, EIO, HEAD, NODATA, OK, REJ, Case, both,
                  header)
from image import (AUTOCLEAR_BITMAPS, AUTOCLEAR_RAW, COMPRESSION, CORRUPT,
                   DATA_FILE, DIRTY, EXT_BITMAPS, EXT_DATA_FILE, Image, put)
from payload import deflate, pattern

U32, U64 = (1 << 32) - 1, (1 << 64) - 1


def plain():
    return bases.plain()


def fields(row, name, values, expect=None, base=plain):
    """One case for each value of a header field."""
    for v in values:
        e = expect(v) if expect else REJ(name, v)
        yield Case(f'{row}.{name}-{v:x}', base, header(**{name: v}), e)


def lengths():
    for n in (0, 1, 3, 4, 8, 71, 72, 103, 104, 105, 111, 511, 4095):
        yield Case(f'H1.{n}', plain, None, HEAD() if n >= 104 else REJ(),
                   size=n)
    for n in (71, 72, 511):
        yield Case(f'H1.v2-{n}', lambda: bases.plain(version=2), None,
                   HEAD() if n >= 72 else REJ(), size=n)


def numbers():
    yield from fields('H2', 'version', (0, 1, 4, U32), lambda v: REJ('version'))
    yield from fields('H3', 'cluster_bits',
                      (0, 8, 22, 31, 32, 40, 63, 64, U32))
    for size in (0, 1, 511, 513, 4096 * 3 + 1):
        yield Case(f'H4.{size}', lambda s=size: bases.plain(size=s), None,
                   OK(check=(0,) if size else (0, 3)), content=False)
    # QEMU makes a disk of no size in this way.
    yield Case('H4.no-l1', lambda: bases.plain(size=0),
               header(l1_table_offset=0), OK(check=(0, 3)), content=False)
    yield from fields('H5', 'size', ((1 << 63) - 1, 1 << 63, U64, U64 - 511),
                      lambda v: REJ('size'))
    yield Case('H6.one', plain, header(size=(4 << 20) + 1), REJ('l1_size'))
    yield Case('H6.l1', plain, header(l1_size=1), REJ('l1_size'))
    yield Case('H6.none', plain, header(l1_size=0), REJ('l1_size'))
    yield Case('H6.exact', lambda: bases.plain(size=4 << 20), None, OK())
    yield Case('H6.64t', plain, header(size=1 << 46), REJ('l1_size'))


def big_l1(entries):
    im = bases.plain()
    im.l1_size = entries
    return im


def l1_tables():
    yield from fields('H7', 'l1_size', (U32, 0x7fffffff, (32 << 20) // 8 + 1))
    yield Case('H8.eof', plain, header(l1_size=(32 << 20) // 8),
               HEAD('l1'), content=False)
    yield Case('H8.more', lambda: big_l1(512), None, OK())
    yield Case('H8.cap', lambda: big_l1((32 << 20) // 8), None, OK(), cpu=6)
    offsets = {'unaligned': 0x3100, 'odd': 0x3001, 'zero': 0, 'inside': 0x800,
               'eof': 1 << 40, 'wrap': 0x7fffffffffff0000,
               'top': (1 << 63), 'all': U64 & ~4095}
    for name, v in offsets.items():
        what = HEAD if name == 'eof' else REJ
        yield Case(f'H9.{name}', plain, header(l1_table_offset=v),
                   what('l1_table_offset'))
        yield Case(f'H10.{name}', plain, header(refcount_table_offset=v),
                   what('refcount_table_offset', check=(2,)))
    yield Case('H9.reftable', plain, header(l1_table_offset=0x1000),
               REJ('table', check=(2,)))
    yield Case('H10.l1', plain, header(refcount_table_offset=0x2000),
               REJ('table', check=(2,)))


def refcount_tables():
    yield Case('H11.0', plain, header(refcount_table_clusters=0),
               OK(check=(1, 2)))
    for v in (U32, 0x00020001, 1 << 23, 1 << 20, 2049):
        yield Case(f'H11.{v:x}', plain, header(refcount_table_clusters=v),
                   REJ('refcount_table_clusters', v, check=(2,)))
    # 2 MiB clusters: the count times the cluster size passes 32 bits.
    yield Case('H11.shift', lambda: Image(cluster_bits=21, size=5 << 20),
               header(refcount_table_clusters=0x00000801),
               REJ('refcount_table_clusters', check=(2,)))
    yield Case('H11.eof', plain, header(refcount_table_clusters=2048),
               BENT(check=(1, 2), info='any'))


def snapshot_tables():
    def base():
        return bases.snapshotted()

    for v in (U32, 0x7fffffff, 65537):
        yield Case(f'H12.count-{v:x}', base, header(nb_snapshots=v),
                   REJ('nb_snapshots', v, check=(1, 2)))
    # A structure that nobody asks for is no reason to refuse the disk (S8).
    yield Case('H12.count-65536', base, header(nb_snapshots=65536),
               OK(check=(1, 2)))
    offsets = {'unaligned': 0x100, 'odd': 1, 'wrap': 0x7fffffffffff0000,
               'eof': 1 << 40, 'top': U64 & ~4095, 'zero': 0}
    for name, v in offsets.items():
        yield Case(f'H12.off-{name}', base, header(snapshots_offset=v),
                   OK(check=(2,)) if name in ('eof', 'zero') else
                   REJ('snapshots_offset', check=(1, 2)))
    yield Case('H12.off-l1', base, header(snapshots_offset=0x2000),
               BENT(info='any', check=(1, 2)), content=False)
    yield Case('H12.none', plain, header(snapshots_offset=1 << 40), OK())


def header_lengths():
    yield from fields('H13', 'header_length',
                      (0, 71, 72, 103, 105, 107, 4104, U32, 0x7fffffff))
    yield Case('H13.cluster', plain, header(header_length=4096), ANY)
    # Version 2 stops at byte 72: the bytes after it are extensions.
    garbage = bytes(range(1, 41))
    yield Case('H14.end', lambda: bases.plain(version=2),
               lambda m: setattr(m, 'ext_raw', bytes(8) + garbage), OK())

    def unknown(m):
        m.ext_raw = put(4, 0x12345678) + put(4, 40) + garbage + bytes(8)
    yield Case('H14.unknown', lambda: bases.plain(version=2), unknown, OK())
    yield from fields('H15', 'refcount_order', (7, 8, 31, 63, 255, U32))


def crypt_methods():
    def crypto(m):
        m.exts.append([0x0537be77, put(8, 0x4000) + put(8, 4096), None])

    yield Case('H16.1', plain, header(crypt_method=1),
               OK(convert='rej', compare='rej', read='rej', check=(0,),
                  map='any', chain='any'), content=False)
    yield Case('H16.1-ext', plain, both(header(crypt_method=1), crypto),
               REJ('crypt_method'))
    yield Case('H16.2', plain, header(crypt_method=2), REJ('crypt_method'))
    yield Case('H16.0-ext', plain, crypto, REJ('crypt_method'))
    for v in (3, 4, U32):
        yield Case(f'H16.{v:x}', plain, header(crypt_method=v),
                   REJ('crypt_method', v))


HOSTILE_NAMES = {
    'esc': b'a\x1b[31mred', 'rtl': 'x\u202eabc'.encode(), 'bad': b'\xff\xfe\x80',
    'nl': b'two\nlines', 'full': b'n' * 46, 'quote': b'q"\\q',
    'c1': 'x\u0085y\u009bz'.encode(), 'empty': b'', 'cut': b'\xe2\x82' * 23}


def unknown_feature(bit, name, table=True):
    im = bases.plain()
    im.incompat = 1 << bit
    if table:
        im.feature_names = FEATURES + [(0, bit, name)]
    return im


def features():
    for bit in range(5, 64):
        name = b'future feature %d' % bit
        yield Case(f'H17.{bit}', lambda b=bit, n=name: unknown_feature(b, n),
                   None, REJ(name.decode()))
    yield Case('H17.nameless', lambda: unknown_feature(40, b'', False), None,
               REJ('40'))
    for key, name in HOSTILE_NAMES.items():
        yield Case(f'H17.name-{key}',
                   lambda n=name: unknown_feature(33, n), None, REJ())
    for bits in (5, 33):
        yield Case(f'H17.all-{bits}', plain,
                   header(incompatible_features=U64 << bits & U64), REJ())


def flag_bits():
    def dirty(m):
        m.h['incompatible_features'] |= DIRTY

    def bad_l1(m):
        m.l1[0] = 1 << 55 | 1 << 63

    def no_refcounts(m):
        m.reftable = [0] * 8

    dirty_check = (0, 2, 3)
    yield Case('H18.clean', plain, dirty, OK(check=dirty_check))
    yield Case('H18.l1', plain, both(dirty, bad_l1), EIO())
    yield Case('H18.refcounts', plain, both(dirty, no_refcounts),
               OK(check=(2,)))
    yield Case('H19.ro', plain, header(incompatible_features=CORRUPT),
               OK(check=(0, 2)))
    yield Case('H23.bits', plain, header(autoclear_features=U64 & ~3), OK())
    yield Case('H23.table', lambda: bases.plain(features=True),
               header(autoclear_features=1 << 40), OK())
    yield Case('H24.bit', plain, header(autoclear_features=AUTOCLEAR_BITMAPS),
               OK(check=(0, 2)))
    yield Case('H24.ext', bases.bitmapped, header(autoclear_features=0),
               OK(check=(0, 2, 3)))
    yield Case('H25.all', plain, header(compatible_features=U64), OK())

    def tail(m):
        m.h['header_length'] = 136
        m.header_tail = bytes(range(100, 124))
    yield Case('H26.tail', plain, tail, OK())
    yield Case('H26.pad', plain, lambda m: m.blobs.append([105, b'\x07' * 7]),
               OK())


def data_file_bits():
    data = {'box/data.raw': ('sparse', 4 << 20)}

    # The specification lets a caller know the name better than the image.
    yield Case('H20.nameless', lambda: bases.data_filed(name=None), None,
               NODATA(info='any'), trace=True, content=False)
    yield Case('H20.bitless', plain,
               lambda m: m.exts.append([EXT_DATA_FILE, b'data.raw', None]),
               OK(check=(0, 2)), files=data, trace=True)
    yield Case('H20.raw-bit', plain, header(autoclear_features=AUTOCLEAR_RAW),
               OK(check=(2,)))

    def raw_backed():
        im = bases.data_filed(raw=True)
        im.backing = b'base.raw'
        im.extensions.append((0xe2792aca, b'raw'))
        return im
    yield Case('H20.raw-backing', raw_backed, None, REJ(), files=data)

    def snapshots():
        im = bases.snapshotted()
        im.data_file = True
        im.extensions.append((EXT_DATA_FILE, b'data.raw'))
        return im
    yield Case('H20.snapshots', snapshots, None, REJ(), files=data)
    yield Case('S8.snapshots', snapshots, None, REJ(), files=data)

    def comp():
        im = bases.data_filed()
        im.guest[2] = ('comp', deflate(pattern(4096)))
        return im
    yield Case('H20.compressed', comp, None, EIO(check=(2,)), files=data)

    def move(m):
        off = m.l1[0] & ~(1 << 63)
        m.l2[off][1] = (0x5000 | 1 << 63, 0)
    yield Case('H20.moved', lambda: bases.data_filed(raw=True), move,
               EIO(check=(2,)), files=data)
    yield Case('H20.moved-cooked', bases.data_filed, move,
               BENT(check=(0, 2, 3)),
               files=data, content=False)


def compression_bits():
    def z():
        return bases.compressed(kind='zstd')

    yield Case('H21.bit-zlib', plain, header(incompatible_features=COMPRESSION),
               REJ('compression'))
    yield Case('H21.type-no-bit', plain, header(compression_type=1),
               REJ('compression'))
    for t in (2, 255):
        yield Case(f'H21.type-{t}', z, header(compression_type=t),
                   REJ('compression'))
    yield Case('H21.short', z, header(header_length=104), REJ('compression'))
    for bits in range(9, 14):
        yield Case(f'H22.{bits}', lambda b=bits: bases.plain(b, size=64 << b),
                   header(incompatible_features=16), REJ('cluster'))


def polyglots():
    def stamp(*blobs):
        return lambda m: m.blobs.extend([list(b) for b in blobs])

    big = lambda: bases.plain(16, size=1 << 20)
    yield Case('H27.mbr', big, stamp((510, b'\x55\xaa'), (446, b'\x80' * 16)),
               OK())
    yield Case('H27.gpt', big, stamp((512, b'EFI PART')), OK())
    yield Case('H27.iso', big, stamp((0x8001, b'CD001')), OK())
    yield Case('H27.tar', big, stamp((257, b'ustar\x0000')), OK())
    yield Case('H27.vmdk', big, stamp((1024, b'# Disk DescriptorFile\n')), OK())
    raw = b'QFI\xfb' + b'\xff' * 4092
    yield Case('H27.raw', lambda: raw, None, REJ())
    yield Case('H27.qed', lambda: b'QED\0' + bytes(4092), None, REJ())
    yield Case('H27.text', lambda: b'\x1b[31m' * 200, None, REJ())


def wraps():
    """Sums of offset and length that pass 2^63 or 2^64."""
    points = {'63': (1 << 63) - 4096, '63b': 1 << 63, '64': (1 << 64) - 4096,
              '64b': (1 << 64) - 8192}
    for name, off in points.items():
        yield Case(f'H29.l1-{name}', plain,
                   header(l1_table_offset=off, l1_size=1024), REJ('l1'))
        yield Case(f'H29.rt-{name}', plain,
                   header(refcount_table_offset=off,
                          refcount_table_clusters=2),
                   REJ('refcount_table', check=(2,)))
        yield Case(f'H29.snap-{name}', bases.snapshotted,
                   header(snapshots_offset=off, nb_snapshots=300),
                   REJ('snapshots_offset', check=(1, 2)))
        yield Case(f'H29.back-{name}', bases.backed,
                   header(backing_file_offset=off, backing_file_size=1000),
                   REJ('backing_file'))

        def bitmaps(m, off=off):
            m.bitmap_ext.update(directory_offset=off, directory_size=8192)
        yield Case(f'H29.bitmap-{name}', bases.bitmapped, bitmaps,
                   OK(check=(1, 2)))

        def l1(m, off=off):
            m.snaps[1].update(l1_table_offset=off, l1_size=1024)
        yield Case(f'H29.snapl1-{name}', bases.snapshotted, l1,
                   OK(check=(1, 2), read='any'))


def cases():
    for part in (lengths, numbers, l1_tables, refcount_tables, snapshot_tables,
                 header_lengths, crypt_methods, features, flag_bits,
                 data_file_bits, compression_bits, polyglots, wraps):
        yield from part()
