"""Rows L and C: L1, L2, and compressed clusters."""

import bases
import payload
from case import BENT, EIO, FREE, OK, OVERWRITE, SNAPSHOT, USED, Case
from image import COMPRESSED, COPIED, Image, ZERO
from payload import deflate, noise, pattern, zstd, zstd_frame

# A disk that reads; it has metadata that only the check complains about.
SEEN = OK(check=(2,))


def plain():
    return bases.plain()


def l2_of(m, index=0):
    """The active L2 table that L1 entry `index` names, as a list."""
    return m.l2[m.l1[index] & ~COPIED]


def entry(index, fn):
    """Changes the L2 entry of guest cluster `index` (in the first table)."""
    def mutate(m):
        table = l2_of(m)
        e, bits = table[index]
        new = fn(m, e)
        table[index] = new if isinstance(new, tuple) else (new, bits)
    return mutate


def l1_entry(fn):
    def mutate(m):
        m.l1[0] = fn(m, m.l1[0])
    return mutate


def l1_rows():
    for bit in range(0, 9):
        yield Case(f'L1.bit-{bit}', plain, l1_entry(lambda m, e, b=bit: e | 1 << b),
                   BENT())
    for bit in range(56, 63):
        yield Case(f'L1.bit-{bit}', plain, l1_entry(lambda m, e, b=bit: e | 1 << b),
                   BENT())
    for bit in range(9, 12):
        yield Case(f'L1.unaligned-{bit}', plain,
                   l1_entry(lambda m, e, b=bit: e | 1 << b), EIO())
    everything = bases.Image(
        cluster_bits=12, size=4 << 20, guest=bases.some_guest(4096, 512))
    everything.snapshots = bases.snapshotted().snapshots
    everything.bitmaps = bases.bitmapped().bitmaps
    for place in ('header', 'l1', 'refcount_table', 'refcount_block.0',
                  'snapshots', 'snapshot.0.l1', 'bitmap_directory',
                  'bitmap.0.table', 'bitmap.0.data'):
        yield Case(f'L2.{place}', lambda: everything,
                   l1_entry(lambda m, e, p=place: place_of(m, p) | COPIED),
                   BENT())
    yield Case('L2.luks', bases.encrypted,
               l1_entry(lambda m, e: m.place['luks'] | COPIED),
               BENT(compare='rej', convert='rej', read='rej'))
    yield Case('L2.data', plain, l1_entry(
        lambda m, e: m.data_clusters[('active', 0)] | COPIED), BENT())
    far = {'eof': lambda m: m.size_bytes(), 'eof-far': lambda m: 1 << 40,
           'last': lambda m: (1 << 56) - 4096}
    for tag, off in far.items():
        yield Case(f'L2.{tag}', plain,
                   l1_entry(lambda m, e, f=off: f(m) | COPIED), EIO())
    for bit in (56, 60, 62):
        yield Case(f'L2.2e{bit}', plain,
                   l1_entry(lambda m, e, b=bit: 1 << b | COPIED), BENT())


def place_of(m, name):
    if name == 'bitmap.0.data':
        return m.bitmaps[0]['entries'][0]
    return m.place[name]


def shared_l2(n, refcount):
    def base():
        im = Image(size=n * (2 << 20), guest={1: ('data', pattern(4096))})
        return im

    def mutate(m):
        m.l1 = [m.l1[0] if refcount == 1 else m.l1[0] & ~COPIED] * n
        m.refer(m.l1[0] & ~COPIED, refcount - 1)
        m.refer(m.data_clusters[('active', 1)], refcount - 1)
        if refcount > 1:
            table = l2_of(m)
            table[1] = (table[1][0] & ~COPIED, 0)
    return base, mutate


def sharing():
    yield Case('L3.refcount-1', *shared_l2(2, 1), SEEN, content=False)
    yield Case('L3.refcount-2', *shared_l2(2, 2), OK(check=(0, 2)),
               content=False)
    for n in (1000, 8000):
        yield Case(f'L4.{n}', *shared_l2(n, 1), SEEN, content=False)
        yield Case(f'L4.{n}-counted', *shared_l2(n, n), OK(check=(0, 2)),
                   content=False)
    yield Case('L4.full', *full_shared(1000), SEEN, content=False,
               only=('info', 'check', 'map'))
    # 32 MiB of L1: the file is large, so it may take longer.
    yield Case('L4.cap', *shared_l2(4 << 20, 1), SEEN, content=False,
               only=('info', 'check'), cpu=10)


def full_shared(n):
    """Every L1 entry names one L2 table, whose every entry names one
    cluster."""
    def base():
        return Image(size=n * (2 << 20), guest={0: ('data', pattern(4096))})

    def mutate(m):
        table = l2_of(m)
        table[:] = [table[0]] * len(table)
        m.l1 = [m.l1[0]] * n
    return base, mutate


def crossed():
    own = lambda m: m.l1[0] & ~COPIED
    for tag, fn in (('own-l2', own), ('l1', lambda m: m.place['l1']),
                    ('reftable', lambda m: m.place['refcount_table']),
                    ('refblock', lambda m: m.place['refcount_block.0'])):
        yield Case(f'L5.{tag}', plain,
                   entry(0, lambda m, e, f=fn: f(m) | COPIED), BENT())
    # Offset 0 means unallocated: with COPIED it is a broken rule of its own.
    yield Case('L11.copied', plain, entry(7, lambda m, e: COPIED), BENT())
    yield Case('L11.data-file', bases.data_filed,
               entry(7, lambda m, e: COPIED), BENT(check='any'),
               files={'box/data.raw': ('sparse', 4 << 20)}, content=False)
    yield Case('L6.copied', plain, entry(1, lambda m, e: l2_of(m)[0][0]), SEEN,
               content=False)

    def twice(m):
        table = l2_of(m)
        table[0] = (table[0][0] & ~COPIED, 0)
        table[1] = table[0]
        m.refer(table[0][0])
    yield Case('L6.counted', plain, twice, OK(check=(0, 2, 3)), content=False)


def refer_data(delta):
    return lambda m: m.refer(m.data_clusters[('active', 0)], delta)


def flags():
    yield Case('L7.refcount-0', plain, refer_data(-1), SEEN)
    yield Case('L7.refcount-2', plain, refer_data(1), OK(check=(2, 3)))
    yield Case('L7.missing', plain, entry(0, lambda m, e: e & ~COPIED), SEEN)
    yield Case('L7.l1-missing', plain, l1_entry(lambda m, e: e & ~COPIED), SEEN)
    v2 = lambda: bases.plain(version=2)
    yield Case('L8.v2', v2, entry(0, lambda m, e: e | ZERO), EIO())
    yield Case('L8.v2-plain', v2, entry(7, lambda m, e: ZERO), EIO())
    yield Case('L8.unaligned', plain, entry(4, lambda m, e: e | 0x200), EIO())
    yield Case('L8.extended', bases.extended, entry(0, lambda m, e: e | ZERO),
               BENT())


def extended():
    full = 0xffffffff

    def bits(index, value, desc=None):
        return entry(index, lambda m, e: (e if desc is None else desc, value))

    ext = bases.extended
    yield Case('L9.both', ext, bits(0, full | full << 32), EIO())
    yield Case('L9.both-one', ext, bits(2, 1 | 1 << 32), EIO())
    yield Case('L9.no-offset', ext, bits(3, 1), EIO())
    yield Case('L9.no-offset-all', ext, bits(3, full), EIO())
    yield Case('L9.no-offset-both', ext, bits(3, full | full << 32), EIO())
    yield Case('L9.compressed', ext, bits(5, full), BENT())
    yield Case('L9.compressed-zero', ext, bits(5, full << 32), BENT())


def cut_tail(shrink):
    """A guest cluster is the last thing in the file, which lacks its last
    `shrink` bytes."""
    def mutate(m):
        end = m.take('tail')
        l2_of(m)[10] = (end | COPIED, 0)
        m.blobs.append([end, pattern(m.cs, 7)])
        m.file_size = end + m.cs - shrink
    return mutate


def offsets():
    yield Case('L10.tail', plain, cut_tail(100), OK(), content=False)
    yield Case('L10.tail-1', plain, cut_tail(4095), OK(), content=False)

    def beyond(delta):
        return entry(0, lambda m, e: (m.size_bytes() + delta) | COPIED)
    for tag, d in (('eof', 0), ('one', 4096), ('far', 1 << 32),
                   ('huge', (1 << 55)), ('pb', 32 << 50)):
        yield Case(f'L10.{tag}', plain, beyond(d & ~4095), EIO())

    def extra(m):
        table = l2_of(m, 1)
        off = m.take('beyond')
        table[500] = (off | COPIED, 0)
    yield Case('L12.past-size', lambda: bases.plain(size=(2 << 20) + 65536),
               extra, OK(), content=False)
    for bit in range(56, 62):
        yield Case(f'L13.bit-{bit}', plain,
                   entry(0, lambda m, e, b=bit: e | 1 << b), BENT())
    for bit in range(1, 9):
        yield Case(f'L13.low-{bit}', plain,
                   entry(0, lambda m, e, b=bit: e | 1 << b), BENT())
    for bit in (9, 11):
        yield Case(f'L13.unaligned-{bit}', plain,
                   entry(0, lambda m, e, b=bit: e | 1 << b), EIO())


# Compressed clusters ----------------------------------------------------

def z(data=None, bits=12, kind=0):
    return lambda: bases.one_compressed(
        deflate(pattern(1 << bits)) if data is None else data, bits, kind)


def point(off, length=512, sectors=None):
    """Points the compressed cluster elsewhere."""
    return entry(0, lambda m, e: m.descriptor(
        off(m) if callable(off) else off, length, sectors))


def places():
    end = lambda m: m.size_bytes()
    yield Case('C1.past', z(), point(end), EIO())
    yield Case('C1.far', z(), point(1 << 40), EIO())
    yield Case('C1.top', z(), point((1 << 58) - 512), EIO())
    yield Case('C1.header', z(), point(0), EIO())
    yield Case('C1.l2', z(), point(lambda m: m.l1[0] & ~COPIED), EIO())
    yield Case('C1.refblock', z(), point(lambda m: m.place['refcount_block.0']),
               EIO())
    yield Case('C1.end', z(), point(lambda m: m.size_bytes() - 512, 512, 15),
               EIO())

    def tail(m):
        """Good data whose last sector the file does not have in full."""
        off = m.take('late')
        data = deflate(pattern(m.cs))
        m.blobs.append([off, data])
        m.refer(m.data_clusters[('active', 0)], -1)
        l2_of(m)[0] = (m.descriptor(off, len(data)), 0)
        m.file_size = off + len(data)
    yield Case('C1.tail', z(), tail, OK(check=(0, 3)))
    at = lambda m: m.data_clusters[('active', 0)]
    long = deflate(noise(3000) + bytes(1096))
    yield Case('C2.small', z(long), point(at, 1, 0), EIO(check='any'))
    yield Case('C2.maximal', z(long), point(at, 1, 15), OK(check=(0, 2)))
    yield Case('C2.more', z(long), point(at, 1, 7), OK(check=(0, 2)))


def streams():
    cs = 4096
    data = pattern(cs)
    good = deflate(data)
    ok = OK()
    bad = EIO(check='any')
    yield Case('C3.truncated', z(noise_cut(cs)), None, bad)
    yield Case('C3.garbage', z(noise(2000, 3)), None, bad)
    yield Case('C3.ones', z(b'\xff' * 512), None, bad)
    yield Case('C3.zeros', z(bytes(512)), None, bad)
    yield Case('C3.short', z(deflate(data[:-1])), None, bad)
    yield Case('C3.empty', z(deflate(b'')), None, bad)
    yield Case('C3.long', z(deflate(data * 2)), None, OK(), content=False)
    yield Case('C3.bomb', z(deflate(bytes(1 << 20))), None, OK(), content=False)
    # The bytes that happen to follow decide whether this reads.
    yield Case('C3.unended', z(payload.deflate_unended(data)), None,
               BENT(check='any'))
    yield Case('C3.zlib-header', z(deflate(data, 12)), None, bad)
    yield Case('C3.gzip-header', z(deflate(data, 31)), None, bad)
    yield Case('C3.stored', z(payload.deflate_stored(data[:4000]) + b''), None,
               bad)
    yield Case('C3.empty-blocks', z(payload.deflate_empty_blocks(800)), None,
               bad)
    yield Case('C3.good-then-garbage', z(good + noise(200)), None, ok)
    for tag, blob in dynamic_trees().items():
        yield Case(f'C3.tree-{tag}', z(blob), None, bad)
    wide = noise(20000, 4) + noise(20000, 4) + noise(25536, 4)
    yield Case('C3.window-15', z(deflate(wide, -15), 16), None, ok,
               content=False)
    yield Case('C3.distance', z(b'\x4b\x04\x32' + b'\x00' * 509), None, bad)


def noise_cut(n):
    return deflate(noise(n // 2) + bytes(n // 2))[:700]


def dynamic_trees():
    """Headers of dynamic blocks with impossible code lengths."""
    return {'all-ones': b'\xfd' + b'\xff' * 600,
            'zero': b'\x05' + bytes(600),
            'over': b'\xed\xfd' + b'\x24\x49\x92' * 200,
            'repeat': b'\xe5\xc0\x81\x00' + b'\x00\x00\x80\x10' * 100,
            'reserved': b'\x07' + bytes(511)}


def zstd_streams():
    cs = 4096
    data = pattern(cs)
    raw = ('raw', data)
    half = ('raw', data[:2048])
    ok, bad = OK(), EIO(check='any')

    def zs(blob, bits=12):
        return z(blob, bits, 1)
    yield Case('C3.zstd-sized', zs(zstd_frame([raw], size=cs)), None, ok)
    yield Case('C3.zstd-unsized', zs(zstd_frame([raw], window_log=12)), None,
               ok)
    for log in (28, 31, 41):
        yield Case(f'C3.zstd-window-{log}',
                   zs(zstd_frame([raw], window_log=log)), None, bad)
    yield Case('C3.zstd-window-20', zs(zstd_frame([raw], window_log=20)), None,
               ok)
    two = zstd_frame([half], size=2048) + zstd_frame(
        [('raw', data[2048:])], size=2048)
    yield Case('C3.zstd-frames', zs(two), None, OK(convert='any', compare='any',
                                                   read='any', check='any'))
    skip = payload.zstd_skippable(b'x' * 40)
    yield Case('C3.zstd-skippable', zs(skip + zstd(data)), None,
               OK(convert='any', compare='any', read='any', check='any'))
    yield Case('C3.zstd-skip-only', zs(skip * 8), None, bad)
    yield Case('C3.zstd-skip-huge', zs(b'\x50\x2a\x4d\x18\xff\xff\xff\xff'),
               None, bad)
    yield Case('C3.zstd-dict', zs(zstd_frame([raw], size=cs, dict_id=7)), None,
               bad)
    yield Case('C3.zstd-checksum', zs(zstd_frame([raw], size=cs,
                                                 checksum=0x12345678)), None,
               BENT(check='any'))
    for tag, n in (('more', cs + 1), ('less', cs - 1), ('huge', 1 << 62),
                   ('max', (1 << 64) - 1), ('zero', 0)):
        yield Case(f'C3.zstd-size-{tag}', zs(zstd_frame([raw], size=n)), None,
                   BENT(check='any'))
    yield Case('C3.zstd-long', zs(zstd_frame([raw, half], window_log=13)), None,
               BENT(check='any'))
    yield Case('C3.zstd-short', zs(zstd_frame([half], window_log=12)), None,
               bad)
    yield Case('C3.zstd-cut', zs(zstd_frame([raw], size=cs)[:900]), None, bad)
    yield Case('C3.zstd-magic', zs(zstd_frame([raw], size=cs,
                                              magic=0xfd2fb527)), None, bad)
    yield Case('C3.zstd-block-3', zs(zstd_frame(
        [('bad', 3, 64, b'x' * 64)], size=cs)), None, bad)
    yield Case('C3.zstd-block-2', zs(zstd_frame(
        [('bad', 2, 64, b'\xff' * 64)], size=cs)), None, bad)
    yield Case('C3.zstd-block-big', zs(zstd_frame(
        [('bad', 0, (1 << 21) - 1, b'x' * 64)], size=cs)), None, bad)
    yield Case('C3.zstd-rle-big', zs(zstd_frame(
        [('rle', 1, 1 << 20)], window_log=20)), None, BENT(check='any'))
    yield Case('C3.zstd-rle-flood', zs(zstd_frame(
        [('rle', 1, 0)] * 900, window_log=12)), None, bad)
    yield Case('C3.zlib-in-zstd', zs(deflate(data)), None, bad)
    yield Case('C3.zstd-in-zlib', z(zstd(data)), None, bad)


def descriptors():
    # 2 MiB clusters: bits 49 and up are the sector count, 9 bits hold 512
    # sectors; 512-byte clusters: the offset reaches bit 61.
    big = lambda: Image(cluster_bits=21, size=4 << 20, guest={
        0: ('comp', deflate(pattern(1 << 21)))})
    yield Case('C4.21-offset', big, point((1 << 49) - 512, 512, 4095), EIO())
    small = lambda: bases.compressed(9)
    for bit in (56, 57, 58, 59, 60):
        yield Case(f'C4.9-bit-{bit}', small, point(1 << bit, 512, 0), EIO())
    yield Case('C4.9-sectors', small, entry(
        0, lambda m, e: e | 1 << 61), BENT())

    def shared(n, bits=12, size=None):
        cs = 1 << bits

        def base():
            return Image(cluster_bits=bits, size=n * cs if size is None else
                         size, guest={0: ('comp', deflate(bytes([65]) * cs))})

        def mutate(m):
            first = l2_of(m)[0]
            missing = [i for i, e in enumerate(m.l1) if not e]
            tables = [l2_of(m)]
            for i in missing:
                off = m.take(f'more.{i}')
                m.l2[off] = [(0, 0)] * m.per_l2
                m.l1[i] = off | COPIED
                tables.append(m.l2[off])
            for t in tables:
                t[:] = [first] * len(t)
        return base, mutate
    yield Case('C5.8192', *shared(8192), BENT(check=(2,), convert='ok',
                                              compare='ok', read='ok'),
               content=False)
    yield Case('C5.64k', *shared(8192, 16), BENT(check=(2,), convert='ok',
                                                 compare='ok', read='ok'),
               content=False)
    for order in (0, 1):
        base = lambda o=order: with_order(bases.compressed(), o)
        yield Case(f'C6.saturated-{1 << order}', base, None,
                   OK(check=(2,)))

    def miscount(delta):
        return lambda m: m.refer(m.data_clusters[('active', 0)], delta)
    yield Case('C6.low', bases.compressed, miscount(-1), SEEN)
    yield Case('C6.zero', bases.compressed, miscount(-100), SEEN)
    yield Case('C6.high', bases.compressed, miscount(100), OK(check=(3,)))
    yield Case('C7.copied', z(), entry(0, lambda m, e: e | COPIED), SEEN)

    def odd(m):
        """Data at an odd byte: bit 0 is a part of the offset."""
        off = m.take('odd') + 1
        data = deflate(pattern(m.cs))
        m.blobs.append([off, data])
        m.refer(m.data_clusters[('active', 0)], -1)
        l2_of(m)[0] = (m.descriptor(off, len(data)), 0)
        assert l2_of(m)[0][0] & ZERO
    yield Case('C7.odd', z(), odd, OK(check=(0, 3)))

    def late(sectors):
        """At the end of the file, and said to go on behind it (S8)."""
        def mutate(m):
            off = m.take('late')
            data = deflate(pattern(m.cs, 2))
            m.blobs.append([off, data])
            m.refer(m.data_clusters[('active', 1)], -1)
            l2_of(m)[1] = (m.descriptor(off, len(data), sectors), 0)
        return mutate
    more = 2 * FREE
    steps = [(argv, 'ok') for argv in (
        ['io', '-c', f'write -P 7 {FREE} 64k', '-c', f'discard {USED} 4k',
         '-c', 'flush', '-c', f'write -P 9 {more} 128k'],
        ['io', '-c', f'read -P 7 {FREE} 64k', '-c', f'read -P 9 {more} 128k'],
        SNAPSHOT, OVERWRITE)]

    def large():
        im = bases.compressed(12)
        im.size = 8 << 20
        return im
    for n in (7, 8, 15):
        yield Case(f'C8.late-{n}', large, late(n),
                   OK(check=(2,) if n > 7 else (0,)), steps=steps)
    yield Case('C7.all-bits', z(), entry(0, lambda m, e: (1 << 63) - 1), EIO())
    yield Case('C7.bare', z(), entry(0, lambda m, e: COMPRESSED), EIO())


def with_order(im, order):
    im.order = order
    return im


def cases():
    for part in (l1_rows, sharing, crossed, flags, extended, offsets, places,
                 streams, zstd_streams, descriptors):
        yield from part()
