"""Row V: every reserved bit of every kind of entry, alone in an entry that
says something and in one that says nothing.  A decoder that tests the raw
entry in one place and its offset in another takes the two for different
things.

A reader may refuse such an entry or ignore the bit; check sees it, and nothing
hangs, grows or loses what is beside it: run.py holds readers, repairs and the
writers of ALL_STEPS to that."""

import bases
from case import ALL_STEPS, ANY, BENT, OK, REJ, Case, both, header
from image import EXT_BITMAPS, EXT_FEATURE_NAMES, put

READ = BENT(check=(2,))


def bits(*ranges):
    return [b for first, last in ranges for b in range(first, last + 1)]


def case(ident, base, mutate, expect=READ):
    return Case(ident, base, mutate, expect, content=expect is not READ,
                steps=ALL_STEPS)


# Tables ------------------------------------------------------------------

def l1_entries():
    def flip(index, bit):
        def mutate(m):
            m.l1[index] ^= 1 << bit
        return mutate

    def four():
        im = bases.plain()
        im.l1_size = 4
        return im
    for bit in bits((0, 8), (56, 62)):
        yield case(f'V1.l1-{bit}', bases.plain, flip(0, bit))
        yield case(f'V1.l1-empty-{bit}', four, flip(3, bit))


def l2_flip(index, word, bit):
    def mutate(m):
        table = m.l2[m.place['active.l2.0']]
        pair = list(table[index])
        pair[word] ^= 1 << bit
        table[index] = tuple(pair)
    return mutate


def l2_entries():
    kinds = (('data', 0), ('zero', 3), ('zero-alloc', 4), ('empty', 9))
    for name, index in kinds:
        for bit in bits((1, 8), (56, 61)):
            yield case(f'V2.{name}-{bit}', bases.plain,
                       l2_flip(index, 0, bit))
        yield Case(f'V2.{name}-copied', bases.plain, l2_flip(index, 0, 63),
                   BENT(check=(0, 2)), content=False, steps=ALL_STEPS)
    for index in (0, 9):
        yield case(f'V2.zero-v2-{index}', lambda: bases.plain(version=2),
                   l2_flip(index, 0, 0))


def extended_entries():
    kinds = (('data', 0), ('zero', 1), ('part', 2), ('no-place', 3),
             ('empty', 9))
    for name, index in kinds:
        for bit in bits((0, 8), (56, 61)):
            yield case(f'V3.{name}-{bit}', bases.extended,
                       l2_flip(index, 0, bit))
    # The bitmap of a compressed cluster is reserved as a whole.
    for bit in (0, 31, 32, 63):
        yield case(f'V3.compressed-{bit}', bases.extended,
                   l2_flip(5, 1, bit))


def refcount_entries():
    def flip(index, bit):
        def mutate(m):
            m.reftable += [0] * (index + 1 - len(m.reftable))
            m.reftable[index] ^= 1 << bit
        return mutate

    for bit in bits((0, 8)):
        yield case(f'V4.block-{bit}', bases.plain, flip(0, bit))
        yield case(f'V4.empty-{bit}', bases.plain, flip(1, bit))


# Bitmaps -----------------------------------------------------------------

def bitmap_entries():
    def flip(which, bit):
        def mutate(m):
            m.bitmaps[which]['entries'][0] ^= 1 << bit
        return mutate

    for bit in bits((1, 8), (56, 63)):
        yield case(f'V5.stored-{bit}', bases.bitmapped, flip(0, bit),
                   OK(check=(2,)))
        yield case(f'V5.zeros-{bit}', bases.bitmapped, flip(1, bit),
                   OK(check=(2,)))
    # A place and "all ones" exclude each other.
    yield case('V5.stored-ones', bases.bitmapped, flip(0, 0), OK(check=(2,)))


def bitmap_directory():
    def flip(field, bit):
        def mutate(m):
            m.bitmaps[1][field] ^= 1 << bit
        return mutate

    for bit in bits((3, 31)):
        yield case(f'V6.flags-{bit}', bases.bitmapped, flip('flags', bit),
                   OK(check=(2,)))
    for bit in range(1, 8):
        yield case(f'V6.type-{bit}', bases.bitmapped, flip('type', bit),
                   OK(check=(2,)))


def bitmaps_extension():
    for bit in range(32):
        yield case(f'V6.extension-{bit}', bases.bitmapped,
                   lambda m, b=bit: m.bitmap_ext.update(reserved=1 << b),
                   OK(check=(2,)))


# Header ------------------------------------------------------------------

def feature_bits():
    for bit in bits((5, 63)):
        yield Case(f'V7.incompatible-{bit}', bases.plain,
                   header(incompatible_features=1 << bit),
                   REJ('incompatible feature'))
    for bit in bits((1, 63)):
        yield case(f'V7.compatible-{bit}', bases.plain,
                   header(compatible_features=1 << bit), OK())
    for bit in bits((2, 63)):
        yield case(f'V7.autoclear-{bit}', bases.plain,
                   header(autoclear_features=1 << bit), OK())


def padding():
    def poke(off, bit):
        return lambda m: m.blobs.append([off, put(1, 1 << bit)])

    for off in range(105, 112):
        yield case(f'V8.padding-{off}', bases.plain, poke(off, off % 8), OK())
    for bit in bits((1, 7)):
        yield Case(f'V8.compression-{bit}', bases.plain,
                   header(compression_type=1 << bit), REJ('compression'))

    # Bytes that make extensions multiples of 8.
    def padded(m):
        m.ext_raw = (put(4, EXT_FEATURE_NAMES) + put(4, 0) +
                     put(4, 0x0badcafe) + put(4, 3) + b'abc' + b'\xff' * 5 +
                     bytes(8))
    yield case('V8.extension', bases.plain, padded, OK())


def snapshots():
    def extra(data):
        return lambda m: m.snaps[0].update(extra=data)

    size = put(8, 0) + put(8, 4 << 20)
    for n in range(1, 9):
        yield case(f'V9.extra-{n}', bases.snapshotted,
                   extra(size + b'\xff' * (8 + n)), OK())
    # The small field of the VM state's size where the large one counts.
    for bit in range(0, 32, 5):
        yield case(f'V9.vm-state-{bit}', bases.snapshotted,
                   lambda m, b=bit: m.snaps[0].update(vm_state_size_32=1 << b),
                   OK())


# Two at once -------------------------------------------------------------

def crossed():
    """One structure says that there is something, and another does not."""
    def no_block(m):
        m.reftable = [1 << b for b in range(9)]
    yield case('V10.no-blocks', bases.plain, no_block)

    def no_tables(m):
        m.l1[:] = [1 << 56 | 1 for _ in m.l1]
    yield case('V10.no-tables', bases.plain, no_tables)
    yield Case('V10.unused-bitmaps', bases.bitmapped,
               both(header(autoclear_features=0),
                    lambda m: m.bitmap_ext.update(reserved=1)),
               OK(check=(0, 3)), steps=ALL_STEPS)
    yield Case('V10.no-extension', bases.plain,
               header(autoclear_features=1), OK(check=(0,)), steps=ALL_STEPS)

    def twice(m):
        m.exts.append([EXT_BITMAPS, put(4, 1) + put(4, 1) + put(8, 32) +
                       put(8, m.place['bitmap_directory']), None])
    yield Case('V10.second-extension', bases.bitmapped, twice, ANY,
               steps=ALL_STEPS)


def cases():
    for part in (l1_entries, l2_entries, extended_entries, refcount_entries,
                 bitmap_entries, bitmap_directory, bitmaps_extension,
                 feature_bits, padding, snapshots, crossed):
        yield from part()
