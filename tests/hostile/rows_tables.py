"""Rows S, B, K and the D rows that are images: snapshots, bitmaps, LUKS
headers, and images that cost time."""

import bases
from case import ANY, BENT, OK, Case, Expect
from image import COPIED, Bitmap, Image, be64, put
from payload import Luks, deflate, pattern

U16, U32, U64 = (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1

# The active disk reads; programs that look at the rest find the defect.
DISK_OK = BENT(check=(1, 2), chain='ok', map='ok', compare='ok', convert='ok',
               read='any')


# The contents of the disk survive any operation on the snapshots.
DROP = [(['snapshot', '-d', 'own'], 'any'), (['snapshot', '-c', 'new'], 'any'),
        (['snapshot', '-d', 'shared'], 'any'),
        (['io', '-c', 'write -P 7 1M 64k'], 'any')]


def apply(want):
    return [(['snapshot', '-a', '2'], want)]


def snap(index=1, **fields):
    return lambda m: m.snaps[index].update(fields)


def snapshots():
    base = bases.snapshotted
    for n in (0, 8, 15):
        yield Case(f'S1.extra-{n}', base, snap(extra=bytes(n)),
                   OK(check=(2,), read='any'))
    size = put(8, 4 << 20)
    for n in (16, 23, 24, 25, 32, 1024):
        extra = (bytes(8) + size + bytes(2000))[:n]
        yield Case(f'S1.extra-{n}', base, snap(extra=extra), OK())
    for n in (0, 8):
        yield Case(f'S1.v2-extra-{n}', lambda: bases.snapshotted(version=2),
                   snap(extra=bytes(n)), OK())
    refused = OK(check=(1, 2))
    yield Case('S1.extra-1025', base, snap(extra=bytes(1032), extra_len=1025),
               refused)
    for n in (0x80000000, U32, 1 << 20):
        yield Case(f'S1.extra-{n:x}', base, snap(extra_len=n), refused)
    yield Case('S2.empty', base, snap(id=b'', name=b''), OK())
    yield Case('S2.id-65535', base, snap(id_len=U16), BENT((1, 2), 'any'))
    yield Case('S2.name-65535', base, snap(name_len=U16),
               BENT((1, 2), 'any'))
    yield Case('S2.both-65535', base, snap(name_len=U16, id_len=U16),
               BENT((1, 2), 'any'))
    yield Case('S2.long', base, long_names, OK(check=(0, 3)))
    yield Case('S2.padding', base, snap(0, pad=b'\0\0\0\0'),
               BENT((0, 1, 2), 'any'))
    yield Case('S2.cut', base,
               lambda m: setattr(m, 'file_size', cut_table(m)), ANY)


def cut_table(m):
    return m.place['snapshots'] + 60


def long_names(m):
    """The longest texts there are, in a table that has room for them."""
    m.snaps[1].update(name=b'n' * U16, id=b'i' * U16)
    n = (len(m.snapshot_table()) + m.cs - 1) // m.cs
    m.h['snapshots_offset'] = m.take('snapshots', n)


def snapshot_tables():
    base = bases.snapshotted
    changes = {
        'size-max': dict(l1_size=U32), 'size-cap': dict(l1_size=(4 << 20) + 1),
        'size-0': dict(l1_size=0), 'size-1': dict(l1_size=1),
        'size-file': dict(l1_size=100000),
        'off-odd': dict(l1_table_offset=0x5001),
        'off-sector': dict(l1_table_offset=0x5200),
        'off-eof': dict(l1_table_offset=1 << 40),
        'off-63': dict(l1_table_offset=1 << 63),
        'off-0': dict(l1_table_offset=0),
        'off-l1': dict(l1_table_offset=0x2000),
        'off-header': dict(l1_table_offset=0x800)}
    for tag, kw in changes.items():
        # A short table maps less than the disk, and readers do not agree
        # whether that is wrong.
        short = tag in ('size-0', 'size-1')
        yield Case(f'S3.{tag}', base, snap(**kw),
                   OK(check=(0, 2, 3), read='any') if short else DISK_OK,
                   steps=DROP)

    def same_l1(m):
        m.snaps[1]['l1_table_offset'] = m.snaps[0]['l1_table_offset']
    yield Case('S3.off-other', base, same_l1, DISK_OK, steps=DROP)
    names = {
        'same-ids': (dict(id=b'1'), dict(id=b'1')),
        'same-names': (dict(name=b'x'), dict(name=b'x')),
        'crossed': (dict(id=b'1', name=b'2'), dict(id=b'2', name=b'1')),
        'nul': (dict(name=b'a\0b'), dict(id=b'\0')),
        'esc': (dict(name=b'\x1b[2J'), dict(id=b'\x1b]0;t\x07')),
        'bad': (dict(name=b'\xff\xfe'), dict(id=b'\xc3')),
        'rtl': (dict(name='\u202eabc'.encode()), dict(id='\u2066'.encode())),
        'nl': (dict(name=b'a\nb\tc'), dict(id=b'1\r2')),
        'quote': (dict(name=b'"\\'), dict(id=b"';--"))}
    for tag, (first, second) in names.items():
        def rename(m, a=first, b=second):
            m.snaps[0].update(a)
            m.snaps[1].update(b)
        yield Case(f'S4.{tag}', base, rename, OK(), steps=DROP)
    for tag, n in (('0', 0), ('63', 1 << 63), ('max', U64),
                   ('over', 1 << 50), ('odd', 777)):
        yield Case(f'S5.size-{tag}', base, snap(extra=bytes(8) + put(8, n)),
                   OK(check='any', read='any'), ways=(False,),
                   steps=apply('rej') if n >= 1 << 50 else DROP)
    for tag, n in (('max', U64), ('63', 1 << 63), ('pb', 1 << 50)):
        yield Case(f'S5.vm-{tag}', base,
                   snap(extra=put(8, n) + put(8, 4 << 20)),
                   OK(check='any'), steps=DROP)

    def uncounted(m):
        off = m.l1[0]
        m.refer(off, -1)
    yield Case('S6.shared', base, uncounted, OK(check=(2,)), steps=DROP)

    def broken_l1(value):
        def mutate(m):
            m.snaps[1]['l1'] = [value] + m.snaps[1]['l1'][1:]
        return mutate
    for tag, v in (('unaligned', 0x5200), ('far', 1 << 50),
                   ('reftable', COPIED | 0x1000), ('self', 0x5000)):
        yield Case(f'S6.l1-{tag}', base, broken_l1(v), DISK_OK, steps=DROP)


def many_snapshots():
    def base(n, ids=True):
        def make():
            return Image(size=1 << 20, guest={0: ('data', pattern(4096))})

        def mutate(m):
            names = [b'%d' % i if ids else b'' for i in range(n)]
            table = b''.join(entry(m, ident) for ident in names)
            off = m.take('snapshots', (len(table) + 4095) // 4096)
            m.blobs.append([off, table])
            m.h.update(nb_snapshots=n, snapshots_offset=off)
        return make, mutate

    def entry(m, ident):
        out = put(8, m.place['l1']) + put(4, 0) + put(2, len(ident))
        out += put(2, 1) + bytes(20) + put(4, 16)
        out += bytes(8) + put(8, 1 << 20) + ident + b'n'
        return out + bytes(-len(out) % 8)
    e = Expect(check='any', read='any')
    yield Case('S7.65536', *base(65536), e, cpu=6)
    yield Case('S7.65536-same', *base(65536, False), e, cpu=6)
    yield Case('S7.1000', *base(1000), e)


def bitmap(index=0, **fields):
    return lambda m: m.bitmaps[index].update(fields)


def bitmaps():
    base = bases.bitmapped
    broken = BENT(check=(1, 2), chain='ok', map='ok', compare='ok',
                  convert='ok', read='ok')
    maybe = OK(check=(0, 1, 2, 3))
    for v in (0, 2, 255):
        yield Case(f'B1.type-{v}', base, bitmap(type=v), broken)
    for v in (0, 8, 32, 63, 64, 255):
        yield Case(f'B1.granularity-{v}', base, bitmap(granularity_bits=v),
                   broken)
    for bit in (3, 16, 31):
        yield Case(f'B1.flag-{bit}', base, bitmap(flags=1 << bit), broken)
    yield Case('B1.name-0', base, bitmap(name=b''), broken)
    yield Case('B1.name-1024', base, bitmap(name=b'n' * 1024), broken)
    yield Case('B1.name-1023', base, bitmap(name=b'n' * 1023), OK())
    yield Case('B1.name-65535', base, bitmap(name_len=U16), broken)
    for n in (8, 64, 1 << 20, 1 << 31, U32, U32 - 7):
        yield Case(f'B1.extra-{n:x}', base, bitmap(extra_len=n), broken)
    yield Case('B1.same', base, bitmap(1, name=b'alpha'), broken)
    names = {'esc': b'\x1b[2J', 'nul': b'a\0b', 'bad': b'\xff\xfe',
             'rtl': '\u202ex'.encode(), 'nl': b'a\nb', 'quote': b'"\\'}
    for tag, name in names.items():
        yield Case(f'B1.text-{tag}', base, bitmap(name=name), maybe)
    for n in (0, 2, U32, 1 << 27, (1 << 27) + 1):
        yield Case(f'B2.size-{n:x}', base, bitmap(table_size=n), broken)
    for tag, v in (('odd', 0x5001), ('sector', 0x5200), ('eof', 1 << 40),
                   ('63', 1 << 63), ('max', U64 & ~4095), ('0', 0),
                   ('l1', 0x2000)):
        yield Case(f'B2.off-{tag}', base, bitmap(table_offset=v), broken)
    yield Case('B3.ones', base, entries(1), OK(check=(0, 3)))
    for tag, v in (('reserved-1', 2), ('reserved-8', 0x100),
                   ('reserved-56', 1 << 56), ('reserved-63', 1 << 63),
                   ('unaligned', 0x6200), ('ones-offset', 0x6001),
                   ('l1', 0x2000), ('header', 0x1000), ('eof', 1 << 40),
                   ('far', (1 << 56) - 4096)):
        yield Case(f'B3.{tag}', base, entries(v), broken)

    def itself(m):
        m.bitmaps[0]['entries'][0] = m.bitmaps[0]['table_offset']
    yield Case('B3.self', base, itself, broken)

    def tail(m):
        off = m.bitmaps[0]['entries'][0]
        m.blobs.append([off, b'\xff' * m.cs])
    yield Case('B4.tail', base, tail, OK(check=(0, 2)))
    yield Case('B4.in-use', base, bitmap(flags=1), OK())
    yield Case('B4.auto', base, bitmap(flags=2), OK())
    yield Case('B4.both', base, bitmap(flags=3), OK())
    # convert would need a file larger than hosts offer.
    fast = ('info', 'info-json', 'map', 'check', 'read')
    yield Case('B5.shift', lambda: huge_bitmap(31), None, maybe, only=fast)
    yield Case('B5.shift-64', lambda: huge_bitmap(31),
               bitmap(granularity_bits=64), broken, only=fast)
    for flag, tag in ((0, 'unknown'), (4, 'compatible')):
        yield Case(f'B6.{tag}', base,
                   bitmap(flags=flag, extra=b'extradat'), maybe)


def entries(value):
    def mutate(m):
        m.bitmaps[0]['entries'][0] = value
    return mutate


def huge_bitmap(bits):
    im = Image(cluster_bits=21, size=1 << 55)
    im.bitmaps = [Bitmap(b'huge', bits, stored=False)]
    return im


# Encryption -------------------------------------------------------------

LOCKED = Expect(info='ok', chain='any', map='any', check=(0,), compare='rej',
                convert='rej', read='rej')
BROKEN = Expect(info='any', chain='any', map='any', check=(1, 2),
                compare='rej', convert='rej', read='rej')


def luks_case(ident, expect=BROKEN, change=None, after=None):
    def base():
        luks = Luks()
        if change:
            change(luks)
        return bases.encrypted(luks=luks)
    return Case(ident, base, after, expect)


def luks():
    yield luks_case('K0.good', LOCKED)

    def attr(**kw):
        return lambda l: [setattr(l, k, v) for k, v in kw.items()]

    def slot(index=0, **kw):
        return lambda l: l.slots[index].update(kw)
    fields = {
        'magic': attr(magic=b'LUKX\xba\xbe'), 'magic-0': attr(magic=bytes(6)),
        'version-0': attr(version=0), 'version-2': attr(version=2),
        'version-max': attr(version=U16),
        'cipher-full': attr(cipher_name=b'a' * 32),
        'mode-full': attr(cipher_mode=b'm' * 32),
        'hash-full': attr(hash_spec=b'h' * 32),
        'key-0': attr(key_bytes=0), 'key-65': attr(key_bytes=65),
        'key-2g': attr(key_bytes=1 << 31), 'key-max': attr(key_bytes=U32)}
    for tag, change in fields.items():
        yield luks_case(f'K1.{tag}', change=change)
    odd = {
        'cipher-unknown': attr(cipher_name=b'rot13'),
        'mode-unknown': attr(cipher_mode=b'xyz-plain'),
        'hash-unknown': attr(hash_spec=b'md0'),
        'cipher-esc': attr(cipher_name=b'\x1b[31m'),
        'uuid-full': attr(uuid=b'u' * 40),
        'uuid-esc': attr(uuid=b'\x1b]0;x\x07\xff'),
        'payload-0': attr(payload_offset=0),
        'payload-1': attr(payload_offset=1),
        'payload-max': attr(payload_offset=U32)}
    for tag, change in odd.items():
        yield luks_case(f'K1.{tag}', LOCKED_OR_BROKEN, change)
    slots = {
        'stripes-0': slot(stripes=0), 'stripes-1': slot(stripes=1),
        'stripes-2g': slot(stripes=1 << 31), 'iterations-0': slot(iterations=0),
        'iterations-1': slot(iterations=1),
        'iterations-max': slot(iterations=U32),
        'key-header': slot(key_offset=0), 'key-1': slot(key_offset=1),
        'key-other': slot(1, key_offset=8), 'key-end': slot(key_offset=2055),
        'key-max': slot(key_offset=U32), 'state': slot(state=0x12345678),
        'state-0': slot(7, state=0), 'none': slot(state=0xdead)}
    for tag, change in slots.items():
        yield luks_case(f'K2.{tag}', LOCKED_OR_BROKEN, change)
    for n in (0, U32):
        yield luks_case(f'K3.digest-{n:x}', LOCKED_OR_BROKEN,
                        attr(digest_iterations=n))

    def area(n):
        return lambda l: setattr(l, 'area', n)
    for n in (592, 4096, 100000):
        yield luks_case(f'K4.area-{n}', LOCKED_OR_BROKEN, area(n))
    yield from mixed()


LOCKED_OR_BROKEN = Expect(info='any', chain='any', map='any', check=(0, 1, 2),
                          compare='rej', convert='rej', read='rej')


def mixed():
    def locked(change):
        def base():
            im = bases.encrypted()
            change(im)
            return im
        return base
    cs = 1 << 16
    yield Case('K6.compressed', locked(
        lambda im: im.guest.update({2: ('comp', deflate(pattern(cs)))})), None,
        LOCKED_OR_BROKEN)
    yield Case('K6.extended', locked(lambda im: setattr(im, 'ext_l2', True)),
               None, LOCKED)

    def back(im):
        im.backing = b'base.raw'
        im.extensions.append((0xe2792aca, b'raw'))
    yield Case('K6.backing', locked(back), None, LOCKED,
               files={'box/base.raw': ('sparse', 1 << 20)})

    def raw_data(im):
        im.data_file = True
        im.autoclear |= 2
        im.extensions.append((0x44415441, b'data.raw'))
    yield Case('K6.data-raw', locked(raw_data), None, LOCKED_OR_BROKEN,
               files={'box/data.raw': ('sparse', 1 << 20)})


# Resources --------------------------------------------------------------

def far_image():
    return Image(cluster_bits=16, size=1 << 40,
                 guest={0: ('data', b'x' * 65536)})


def far(m):
    """Data and refcount blocks scattered over a sparse file of FAR_BYTES."""
    table = m.l2[m.l1[0] & ~COPIED]
    per_block = 65536 // 2
    step = 1 << 40
    for i in range(1, 16):
        cluster = i * step >> 16
        block = cluster // per_block
        m.reftable += [0] * (block + 1 - len(m.reftable))
        base = block * per_block
        m.reftable[block] = base << 16
        counts = bytearray(65536)
        for c in (0, cluster - base + 1):
            counts[2 * c:2 * c + 2] = put(2, 1)
        m.blobs.append([base << 16, bytes(counts)])
        m.blobs.append([cluster + 1 << 16, pattern(65536, i)])
        table[i * 7] = (cluster + 1 << 16 | COPIED, 0)
    m.file_size = FAR_BYTES


FAR_BYTES = (16 << 40) - (1 << 20)


def shared_table(n_l1, entry):
    """12 MiB that describe n_l1 times 512 MiB: every L1 entry points to the
    same table of 64 KiB, whose entry i is entry(i)."""
    def base():
        size = 1 << 16
        table, data, l1 = 3 * size, 5 * size, 32 * size
        header = (b'QFI\xfb' + put(4, 3) + bytes(12) + put(4, 16) +
                  put(8, n_l1 * 8192 * size) + put(4, 0) + put(4, n_l1) +
                  put(8, l1) + put(8, size) + put(4, 1) + bytes(12) +
                  bytes(24) + put(4, 4) + put(4, 104))
        used = 32 + -(-n_l1 * 8 // size)
        counts = [1, 1, 1, min(n_l1, U16), 0] + [U16] * 27 + [1] * used
        image = bytearray(192 * size)
        for off, what in (
                (0, header), (size, put(8, 2 * size)),
                (2 * size, b''.join(put(2, n) for n in counts[:used])),
                (table, be64(entry(i, data) for i in range(8192))),
                (l1, put(8, table) * n_l1)):
            image[off:off + len(what)] = what
        return bytes(image)
    return base


# T7.  A structure without an end is refused with a reason; nothing takes long.
SHARING = Expect(map='any', compare='any', convert='any', check=(0, 2, 3))
WALKS = [(['snapshot', '-c', 'new'], 'any'), (['snapshot', '-d', 'new'], 'any'),
         (['amend', '-o', 'compat=0.10'], 'any'), (['compact'], 'any'),
         (['io', '-c', 'discard 0 1T', '-c', 'write -z 0 1T'], 'any'),
         (['resize', '--shrink', '1G'], 'any')]


def shared_tables():
    fills = {
        'empty': lambda i, data: 0,
        'zero': lambda i, data: 1,
        'one': lambda i, data: 0 if i else data,
        'turns': lambda i, data: i & 1,
        'same': lambda i, data: data,
        'data': lambda i, data: data + (i * 7 % 27 << 16),
    }
    for n_l1 in (16384, 131072):
        for name, entry in fills.items():
            yield Case(f'T7.{name}-{n_l1}', shared_table(n_l1, entry), None,
                       SHARING, cpu=2, content=False, steps=WALKS,
                       ways=(False,),
                       only=('info', 'info-json', 'chain', 'map', 'check',
                             'compare'))


def resources():
    yield Case('D1.far', far_image, far, OK(), content=False)
    most = (32 << 20) // 8

    def wide(bits, size, reftable=1):
        def base():
            im = Image(cluster_bits=bits, size=size)
            im.reftable_clusters = reftable
            return im
        return base
    # convert of these would need a larger file than hosts offer.
    fast = ('info', 'info-json', 'chain', 'map', 'check', 'read')
    yield Case('D2.512', wide(9, most * (64 * 512), 8), None, OK(), cpu=6,
               content=False)
    yield Case('D2.4k', wide(12, 1 << 43), None, OK(), cpu=6, content=False,
               only=fast)
    yield Case('D2.2m', wide(21, 1 << 60), None, OK(), cpu=6, content=False,
               only=fast)
    yield Case('D2.2m-max', wide(21, most << 39), None, OK(), cpu=8,
               content=False, only=fast)


def cases():
    for part in (snapshots, snapshot_tables, many_snapshots, bitmaps, luks,
                 shared_tables, resources):
        yield from part()
