"""Rows R: refcount tables, blocks and refcounts that are wrong, and the work
of writers on them.  Nobody needs them for reading; a writer must neither
overwrite clusters in use nor count beyond the limit of a refcount.

R9 and R10, where files end at the limits of the format, are in
tests/unit/counts: no file system has such files."""

import bases
from case import (ALL_STEPS, DISCARD, FREE, OK, OVERWRITE, SNAPSHOT, WRITE,
                  Case, rw)
from image import COPIED, Image, put
from payload import deflate, pattern

# The check sees it, or says that it cannot count.
WRONG = OK(check=(1, 2))


# Only a walk through all tables can tell that a cluster of guest data is not
# counted, or is a refcount block too: a writer trusts, the check finds out.
def first_data(m):
    return m.data_clusters[('active', 0)]


def table_entry(value, index=0):
    def mutate(m):
        m.reftable += [0] * (index + 1 - len(m.reftable))
        m.reftable[index] = value(m) if callable(value) else value
    return mutate


def tables():
    values = {
        'unaligned': lambda m: m.reftable[0] + 512,
        'eof': 1 << 40, '63': 1 << 63, 'max': (1 << 64) - 512,
        'reserved': lambda m: m.reftable[0] | 0x1fe,
        'reserved-alone': 1,
        'hole': 0,
        'itself': lambda m: m.place['refcount_table'],
        'l1': lambda m: m.place['l1'],
        'l2': lambda m: m.place['active.l2.0']}
    for tag, value in values.items():
        yield Case(f'R1.{tag}', bases.plain, table_entry(value), WRONG,
                   steps=ALL_STEPS)
    yield Case('R1.data', bases.plain, table_entry(first_data), WRONG,
               steps=ALL_STEPS, ways=(True,))
    yield Case('R1.duplicate', bases.plain,
               table_entry(lambda m: m.reftable[0], 1), WRONG,
               steps=ALL_STEPS)


def blocks():
    def of_nothing(m):
        off = m.take('spare')
        m.reftable += [0] * 7 + [off]
        m.blobs.append([off, bytes(m.cs)])
        m.refer(off, 0)
    yield Case('R2.covers-nothing', bases.plain, of_nothing, OK(),
               steps=ALL_STEPS)

    def far(m):
        of_nothing(m)
        m.reftable = m.reftable[:1] + [0] * 510 + m.reftable[-1:]
    yield Case('R2.far', bases.plain, far, OK(), steps=ALL_STEPS)

    def outside(m):
        """A block behind the end of the range that the block at 0
        describes."""
        per_block = m.cs * 8 >> m.image.order
        off = per_block * m.cs
        m.blobs.append([off, put(2, 0) * per_block])
        m.reftable.append(off)
        m.file_size = off + m.cs
    yield Case('R2.not-itself', bases.plain, outside, WRONG, steps=ALL_STEPS)


def zero_at(place):
    def mutate(m):
        m.refer(place(m), -1)
    return mutate


def zeros():
    named = ('header', 'refcount_table', 'l1', 'active.l2.0',
             'refcount_block.0')
    for name in named:
        yield Case(f'R3.{name}', bases.plain,
                   zero_at(lambda m, n=name: m.place[n]), WRONG,
                   steps=ALL_STEPS)
    others = {'snapshots': bases.snapshotted,
              'snapshot.1.l1': bases.snapshotted,
              'bitmap_directory': bases.bitmapped,
              'bitmap.0.table': bases.bitmapped,
              'bitmap.0.data': bases.bitmapped}
    for name, base in others.items():
        yield Case(f'R3.{name}', base,
                   zero_at(lambda m, n=name: m.place[n]), WRONG,
                   steps=ALL_STEPS)
    yield Case('R3.luks', bases.encrypted, zero_at(lambda m: m.place['luks']),
               OK(check=(2,), map='rej', compare='rej', convert='rej',
                  read='rej'))
    yield Case('R3.data', bases.plain, zero_at(first_data), WRONG,
               steps=ALL_STEPS, ways=(True,))
    yield Case('R3.compressed',
               lambda: bases.one_compressed(deflate(pattern(4096, 1))),
               zero_at(first_data), WRONG, steps=rw(OVERWRITE, SNAPSHOT),
               ways=(True,))

    def all_zero(m):
        for i in range(m.n_used):
            m.refer(i * m.cs, -1)
    yield Case('R3.all', bases.plain, all_zero, WRONG,
               steps=ALL_STEPS)


def data_image(order):
    return lambda: Image(order=order, guest={
        0: ('data', pattern(4096, 1)), 1: ('data', pattern(4096, 2)),
        3: ('comp', deflate(pattern(4096, 3)))})


def saturated():
    def most(m):
        m.refer(first_data(m), 1 << 64)
    for order in range(7):
        yield Case(f'R4.{1 << order}', data_image(order), most,
                   OK(check=(2,) if order else (0,)),
                   steps=[(SNAPSHOT, 'rej'), (OVERWRITE, 'any'),
                          (WRITE, 'any')])
    for order in (0, 1):
        n = 1 << order
        yield Case(f'R4.compressed-{n}', data_image(order), None, OK(),
                   steps=[(['io', *compressed_writes(8)], 'ok'),
                          (DISCARD, 'any')])


def narrow():
    """More references than a refcount can say (S9)."""
    for order, n in ((0, 2), (0, 3), (1, 4), (2, 16), (3, 256)):
        def share(m, n=n):
            at = m.place['active.l2.0']
            m.l2[at] = [m.l2[at][0]] * n + [(0, 0)] * (512 - n)
        yield Case(f'R4.narrow-{order}-{n}', data_image(order), share,
                   OK(check=(2,)), content=False, steps=ALL_STEPS)


def compressed_writes(n):
    """Eight in one host cluster would need refcounts up to 8."""
    return [word for i in range(n)
            for word in ('-c', f'write -c -P {i} {FREE + i * 4096} 4k')]


def underflow():
    yield Case('R5.data', bases.plain,
               zero_at(lambda m: m.data_clusters[('active', 1)]), WRONG,
               steps=rw(DISCARD, WRITE, DISCARD))
    yield Case('R5.l2', bases.plain,
               zero_at(lambda m: m.place['active.l2.0']), WRONG,
               steps=rw(SNAPSHOT, OVERWRITE, ['snapshot', '-d', 'new']))
    yield Case('R5.snapshot', bases.snapshotted,
               lambda m: m.refer(m.data_clusters[('active', 1)], -2), WRONG,
               steps=rw(['snapshot', '-d', 'shared'], WRITE))


def wide():
    for tag, n in (('63', 1 << 63), ('63-1', (1 << 63) - 1),
                   ('top', (1 << 64) - 3)):
        yield Case(f'R6.{tag}', data_image(6),
                   lambda m, n=n: m.refer(first_data(m), n - 1), WRONG,
                   steps=[(SNAPSHOT, 'ok'), (OVERWRITE, 'ok'),
                          (WRITE, 'ok')])


def claims():
    def all_far(m):
        m.reftable = [(i + 1) << 40 for i in range(512)]
    yield Case('R7.blocks', bases.plain, all_far, WRONG, steps=ALL_STEPS)

    def long_table(m):
        m.h['refcount_table_clusters'] = 8 << 20 >> 12
    yield Case('R7.table', bases.plain, long_table,
               OK(check=(1, 2), info='any', chain='any', map='any',
                  compare='any', convert='any', read='any'))

    def far_data(m):
        table = m.l2[m.l1[0] & ~COPIED]
        for i in range(16, 64):
            table[i] = (i << 48 | COPIED, 0)
    yield Case('R7.data', bases.plain, far_data,
               OK(check=(2,), map='any', compare='any', convert='any',
                  read='any'), content=False, steps=rw(WRITE, SNAPSHOT))


def cases():
    for part in (tables, blocks, zeros, saturated, narrow, underflow, wide,
                 claims):
        yield from part()
