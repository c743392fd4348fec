"""A qcow2 image as symbols.

Image describes a disk: which guest clusters hold what, which snapshots,
bitmaps and extensions there are.  lay_out() gives everything a valid place and
returns a Layout, whose fields are the numbers that will stand in the file: a
test changes one of them and the rest stays valid.  Layout.pieces() turns the
numbers into bytes.

Nothing here shares code with the library: it was written from the format's
specification, so that a common mistake would show.
"""

import sys
from array import array

COPIED = 1 << 63
COMPRESSED = 1 << 62
ZERO = 1

DIRTY, CORRUPT, DATA_FILE, COMPRESSION, EXTENDED_L2 = (1 << i for i in range(5))
AUTOCLEAR_BITMAPS, AUTOCLEAR_RAW = 1, 2

EXT_END = 0
EXT_BACKING_FORMAT = 0xe2792aca
EXT_FEATURE_NAMES = 0x6803f857
EXT_BITMAPS = 0x23852875
EXT_CRYPTO = 0x0537be77
EXT_DATA_FILE = 0x44415441

# name, offset, width: the header as the specification tabulates it.
HEADER_FIELDS = (
    ('magic', 0, 4), ('version', 4, 4), ('backing_file_offset', 8, 8),
    ('backing_file_size', 16, 4), ('cluster_bits', 20, 4), ('size', 24, 8),
    ('crypt_method', 32, 4), ('l1_size', 36, 4), ('l1_table_offset', 40, 8),
    ('refcount_table_offset', 48, 8), ('refcount_table_clusters', 56, 4),
    ('nb_snapshots', 60, 4), ('snapshots_offset', 64, 8),
    ('incompatible_features', 72, 8), ('compatible_features', 80, 8),
    ('autoclear_features', 88, 8), ('refcount_order', 96, 4),
    ('header_length', 100, 4), ('compression_type', 104, 1),
)


def put(width, value):
    """`value` in big-endian bytes, reduced to `width` of them."""
    return (value & ((1 << 8 * width) - 1)).to_bytes(width, 'big')


def be64(values):
    """A table of 64-bit entries."""
    out = array('Q', values)
    if sys.byteorder == 'little':
        out.byteswap()
    return out.tobytes()


def up(n, unit):
    return (n + unit - 1) // unit * unit


def pad8(data):
    return data + bytes(-len(data) % 8)


class Snapshot:
    """One internal snapshot; `guest` is its disk, None to share the active
    disk's L2 tables."""

    def __init__(self, ident=b'1', name=b'first', guest=None):
        self.ident, self.name, self.guest = ident, name, guest


class Bitmap:
    def __init__(self, name=b'b0', granularity_bits=16, flags=0, stored=True):
        self.name, self.granularity_bits = name, granularity_bits
        self.flags, self.stored = flags, stored


class Image:
    """The contents of the disk.  `guest` maps a cluster index to ('data',
    bytes), ('zero',), ('zero-alloc', bytes), ('comp', payload), or, with
    extended L2, ('sub', alloc_bits, zero_bits, bytes or None)."""

    def __init__(self, version=3, cluster_bits=12, size=4 << 20, order=4,
                 ext_l2=False, compression=0, guest=None):
        self.version, self.cluster_bits, self.size = version, cluster_bits, size
        self.order, self.ext_l2, self.compression = order, ext_l2, compression
        self.guest = dict(guest or {})
        self.l1_size = None        # None: what the size needs
        self.reftable_clusters = 1
        self.backing = None
        self.extensions = []       # (type, data), in file order
        self.snapshots, self.bitmaps = [], []
        self.luks = None           # bytes of the LUKS area
        self.data_file = False
        self.feature_names = None
        self.incompat = self.compat = self.autoclear = 0

    def lay_out(self):
        return Layout(self)


class Layout:
    """The numbers of the file.  Every public field may be changed."""

    def __init__(self, image):
        self.image = image
        self.cs = 1 << image.cluster_bits
        self.entry = 16 if image.ext_l2 else 8
        self.per_l2 = self.cs // self.entry
        self.n_used = 0
        self.owners = {}           # cluster index -> references
        self.place = {}            # name -> host offset
        self.blobs = []            # [offset, bytes]: whatever is not a table
        self.l2 = {}               # host offset -> [(entry, bitmap)]
        self.data_clusters = {}    # (disk, guest cluster) -> host offset
        self.data_len = 0          # of the external data file
        self.data_blobs = []
        self.min_size = 0
        self.file_size = None      # None: the end of the last cluster
        self.ext_raw = None        # bytes of the whole extension area
        self.end_mark = True
        self.header_tail = b''
        self.refcount_delta = {}
        self._header()
        self._tables()
        self._luks()
        self.l1 = self._disk('active', image.guest, self.l1_entries)
        self._snapshots()
        self._bitmaps()
        self._refcounts()
        self._extensions()

    # Allocation ----------------------------------------------------------

    def take(self, name, clusters=1):
        """Gives `name` a run of clusters with one reference each."""
        off = self.n_used * self.cs
        for i in range(clusters):
            self.owners[self.n_used + i] = self.owners.get(self.n_used + i, 0) + 1
        self.n_used += clusters
        if name is not None:
            self.place[name] = off
        return off

    def refer(self, off, delta=1):
        """One more (or less) reference than the layout knows of."""
        idx = off >> self.image.cluster_bits
        self.refcount_delta[idx] = self.refcount_delta.get(idx, 0) + delta

    # The parts -----------------------------------------------------------

    def _header(self):
        im = self.image
        self.take('header')
        per_l1 = self.per_l2 * self.cs
        self.l1_entries = im.l1_size
        if self.l1_entries is None:
            self.l1_entries = up(im.size, per_l1) // per_l1
        incompat = im.incompat
        incompat |= EXTENDED_L2 if im.ext_l2 else 0
        incompat |= COMPRESSION if im.compression else 0
        incompat |= DATA_FILE if im.data_file else 0
        self.h = dict.fromkeys((f[0] for f in HEADER_FIELDS), 0)
        self.h.update(
            magic=0x514649fb, version=im.version, cluster_bits=im.cluster_bits,
            size=im.size, l1_size=self.l1_entries, refcount_order=im.order,
            incompatible_features=incompat, compatible_features=im.compat,
            autoclear_features=im.autoclear,
            header_length=112 if im.version >= 3 else 72,
            compression_type=im.compression,
            crypt_method=2 if im.luks is not None else 0)

    def _tables(self):
        n = self.image.reftable_clusters
        self.h['refcount_table_offset'] = self.take('refcount_table', n)
        self.h['refcount_table_clusters'] = n
        clusters = up(self.l1_entries * 8, self.cs) // self.cs
        self.h['l1_table_offset'] = self.take('l1', max(clusters, 1))

    def _luks(self):
        if self.image.luks is None:
            return
        data = self.image.luks
        off = self.take('luks', up(len(data), self.cs) // self.cs)
        self.blobs.append([off, data])

    def _disk(self, name, guest, n_l1):
        """L2 tables and data of one disk; the L1 table as a list."""
        l1 = [0] * n_l1
        for idx in sorted({c // self.per_l2 for c in guest}):
            off = self.take(f'{name}.l2.{idx}')
            self.l2[off] = [(0, 0)] * self.per_l2
            l1[idx] = off | COPIED
        packed = [0, 0]            # next place for compressed data, its end
        for c in sorted(guest):
            off = l1[c // self.per_l2] & ~COPIED
            self.l2[off][c % self.per_l2] = self._cluster(name, c, guest[c],
                                                          packed)
        return l1

    def _cluster(self, name, c, what, packed):
        kind = what[0]
        if kind == 'zero':
            return (0, 0xffffffff << 32) if self.image.ext_l2 else (ZERO, 0)
        if kind == 'comp':
            return (self._compressed(name, c, what[1], packed), 0)
        if kind == 'sub':
            off = 0
            if what[3] is not None:
                off = self._data(name, c, what[3])
            return (off | (COPIED if off else 0), what[1] | what[2] << 32)
        off = self._data(name, c, what[1])
        if kind == 'zero-alloc':
            if self.image.ext_l2:
                return (off | COPIED, 0xffffffff << 32)
            return (off | COPIED | ZERO, 0)
        return (off | COPIED, 0xffffffff if self.image.ext_l2 else 0)

    def _data(self, name, c, data):
        if self.image.data_file:
            off = c * self.cs
            self.data_blobs.append([off, data])
            self.data_len = max(self.data_len, off + self.cs)
        else:
            off = self.take(None)
            self.blobs.append([off, data])
        self.data_clusters[(name, c)] = off
        return off

    def _compressed(self, name, c, payload, packed):
        """Packs payloads one behind the other, as writers do."""
        start, end = packed
        if start + len(payload) > end or start % self.cs == 0:
            n = max(1, up(len(payload), self.cs) // self.cs)
            start = self.take(None, n)
            end = start + n * self.cs
        else:
            self.owners[start >> self.image.cluster_bits] += 1
            last = (start + len(payload) - 1) >> self.image.cluster_bits
            for i in range((start >> self.image.cluster_bits) + 1, last + 1):
                self.owners[i] += 1
        packed[:] = [start + len(payload), end]
        self.blobs.append([start, payload])
        self.data_clusters[(name, c)] = start
        return self.descriptor(start, len(payload))

    def descriptor(self, off, length, sectors=None):
        """The compressed cluster descriptor for `length` bytes at `off`."""
        shift = 62 - (self.image.cluster_bits - 8)
        if sectors is None:
            sectors = (off + max(length, 1) - 1) // 512 - off // 512
        return COMPRESSED | sectors << shift | off

    def _snapshots(self):
        self.snaps = []
        for i, s in enumerate(self.image.snapshots):
            n = self.l1_entries
            clusters = max(1, up(n * 8, self.cs) // self.cs)
            off = self.take(f'snapshot.{i}.l1', clusters)
            if s.guest is None:
                l1 = [e & ~COPIED for e in self.l1]
                self._share()
            else:
                l1 = self._disk(f'snapshot.{i}', s.guest, n)
            self.snaps.append({
                'l1_table_offset': off, 'l1_size': n, 'id': s.ident,
                'name': s.name, 'date_sec': 1600000000 + i, 'date_nsec': i,
                'vm_clock': 0, 'vm_state_size_32': 0,
                'extra': put(8, 0) + put(8, self.image.size), 'l1': l1,
                'extra_len': None, 'id_len': None, 'name_len': None,
                'pad': None})
        self.snapshot_raw = None
        if self.snaps:
            n = up(len(self.snapshot_table()), self.cs) // self.cs
            self.h['snapshots_offset'] = self.take('snapshots', n)
            self.h['nb_snapshots'] = len(self.snaps)

    def _share(self):
        """The active disk's clusters get one more reference each."""
        for i, e in enumerate(self.l1):
            off = e & ~COPIED
            if not off:
                continue
            self.owners[off >> self.image.cluster_bits] += 1
            self.l1[i] = off
            for j, (entry, bits) in enumerate(self.l2[off]):
                self.l2[off][j] = (self._share_entry(entry), bits)

    def _share_entry(self, entry):
        bits = self.image.cluster_bits
        if entry & COMPRESSED:
            shift = 62 - (bits - 8)
            off = entry & ((1 << shift) - 1)
            n = (entry & ~COMPRESSED) >> shift
            end = (off & ~511) + (n + 1) * 512
            for i in range(off >> bits, (end - 1 >> bits) + 1):
                self.owners[i] += 1
            return entry
        off = entry & 0x00fffffffffffe00
        if off and not self.image.data_file:
            self.owners[off >> bits] += 1
        return entry & ~COPIED

    def snapshot_table(self):
        out = b''
        for s in self.snaps:
            extra_len = s['extra_len']
            id_len, name_len = s['id_len'], s['name_len']
            out += put(8, s['l1_table_offset']) + put(4, s['l1_size'])
            out += put(2, len(s['id']) if id_len is None else id_len)
            out += put(2, len(s['name']) if name_len is None else name_len)
            out += put(4, s['date_sec']) + put(4, s['date_nsec'])
            out += put(8, s['vm_clock']) + put(4, s['vm_state_size_32'])
            out += put(4, len(s['extra']) if extra_len is None else extra_len)
            out += s['extra'] + s['id'] + s['name']
            out = pad8(out) if s['pad'] is None else out + s['pad']
        return out

    def _bitmaps(self):
        self.bitmaps = []
        self.bitmap_ext = None
        for i, b in enumerate(self.image.bitmaps):
            n = up(max(1, self.image.size >> b.granularity_bits), 8) // 8
            n = up(n, self.cs) // self.cs
            table = self.take(f'bitmap.{i}.table',
                              up(n * 8, self.cs) // self.cs)
            entries = [0] * n
            if b.stored:
                entries[0] = self.take(f'bitmap.{i}.data')
                self.blobs.append([entries[0], b'\x01'])
            self.bitmaps.append({
                'table_offset': table, 'table_size': n, 'flags': b.flags,
                'type': 1, 'granularity_bits': b.granularity_bits,
                'name': b.name, 'extra': b'', 'extra_len': None,
                'name_len': None, 'entries': entries})
        self.directory_raw = None
        if self.bitmaps:
            size = len(self.bitmap_directory())
            off = self.take('bitmap_directory', up(size, self.cs) // self.cs)
            self.bitmap_ext = {'nb_bitmaps': len(self.bitmaps), 'reserved': 0,
                               'directory_size': None, 'directory_offset': off}
            self.h['autoclear_features'] |= AUTOCLEAR_BITMAPS

    def bitmap_directory(self):
        out = b''
        for b in self.bitmaps:
            name_len, extra_len = b['name_len'], b['extra_len']
            out += put(8, b['table_offset']) + put(4, b['table_size'])
            out += put(4, b['flags']) + put(1, b['type'])
            out += put(1, b['granularity_bits'])
            out += put(2, len(b['name']) if name_len is None else name_len)
            out += put(4, len(b['extra']) if extra_len is None else extra_len)
            out = pad8(out + b['extra'] + b['name'])
        return out

    def _refcounts(self):
        """Refcount blocks come last: their number depends on all the rest."""
        per_block = self.cs * 8 >> self.image.order
        n = 0
        while n * per_block < self.n_used + n:
            n += 1
        self.reftable = [self.take(f'refcount_block.{i}') for i in range(n)]
        assert n * 8 <= self.cs * self.image.reftable_clusters

    def _extensions(self):
        im = self.image
        self.exts = [[t, d, None] for t, d in im.extensions]
        if im.luks is not None:
            data = put(8, self.place['luks']) + put(8, len(im.luks))
            self.exts.append([EXT_CRYPTO, data, None])
        if im.feature_names is not None:
            data = b''.join(bytes([t, b]) + name[:46].ljust(46, b'\0')
                            for t, b, name in im.feature_names)
            self.exts.append([EXT_FEATURE_NAMES, data, None])
        if self.bitmap_ext:
            self.exts.append([EXT_BITMAPS, None, None])
        self.backing = im.backing
        if im.backing is not None:
            self.h['backing_file_size'] = len(im.backing)
            self.h['backing_file_offset'] = (self.h['header_length'] +
                                             len(self.extension_area()))

    def ext(self, kind):
        """The extension of type `kind`, as a [type, data, length] list."""
        return next(e for e in self.exts if e[0] == kind)

    def extension_area(self):
        if self.ext_raw is not None:
            return self.ext_raw
        out = b''
        for kind, data, length in self.exts:
            if kind == EXT_BITMAPS and data is None:
                b = self.bitmap_ext
                size = b['directory_size']
                if size is None:
                    size = len(self.bitmap_directory())
                data = (put(4, b['nb_bitmaps']) + put(4, b['reserved']) +
                        put(8, size) + put(8, b['directory_offset']))
            length = len(data) if length is None else length
            out += put(4, kind) + put(4, length) + pad8(data)
        return out + (bytes(8) if self.end_mark else b'')

    # Bytes ---------------------------------------------------------------

    def header_bytes(self):
        out = bytearray(112)
        for name, off, width in HEADER_FIELDS:
            out[off:off + width] = put(width, self.h[name])
        if self.image.version < 3:
            return bytes(out[:72])
        n = self.h['header_length']
        out += self.header_tail
        if 104 <= n < 112:
            return bytes(out[:104])
        return bytes(out)

    def refcount(self, idx):
        n = self.owners.get(idx, 0) + self.refcount_delta.get(idx, 0)
        return max(0, min(n, (1 << (1 << self.image.order)) - 1))

    def refcount_block(self, i):
        bits = 1 << self.image.order
        per_block = self.cs * 8 >> self.image.order
        first = i * per_block
        out = bytearray(self.cs)
        for c in range(first, min(first + per_block, self.n_used)):
            n, at = self.refcount(c), c - first
            if bits >= 8:
                w = bits // 8
                out[at * w:at * w + w] = put(w, n)
            else:
                shift = at * bits % 8
                byte = at * bits // 8
                out[byte] &= ~(((1 << bits) - 1) << shift) & 0xff
                out[byte] |= n << shift
        return bytes(out)

    def l2_bytes(self, entries):
        if self.image.ext_l2:
            return be64([word for pair in entries for word in pair])
        return be64([e for e, _ in entries])

    def pieces(self):
        """[(offset, bytes)]; later ones win over earlier ones.  Data first,
        header last, so that a header field that was moved does not destroy
        what others use."""
        out = [(off, data) for off, data in self.blobs]
        for off, entries in self.l2.items():
            out.append((off, self.l2_bytes(entries)))
        for b, i in zip(self.bitmaps, range(len(self.bitmaps))):
            out.append((self.place[f'bitmap.{i}.table'],
                        be64(b['entries'])))
        if self.bitmaps:
            raw = self.directory_raw
            out.append((self.place['bitmap_directory'],
                        self.bitmap_directory() if raw is None else raw))
        for i, s in enumerate(self.snaps):
            out.append((self.place[f'snapshot.{i}.l1'],
                        be64(s['l1'])))
        if self.snaps:
            raw = self.snapshot_raw
            out.append((self.place['snapshots'],
                        self.snapshot_table() if raw is None else raw))
        for i in range(len(self.reftable)):
            off = self.place.get(f'refcount_block.{i}')
            if off is not None:
                out.append((off, self.refcount_block(i)))
        out.append((self.place['refcount_table'],
                    be64(self.reftable)))
        out.append((self.place['l1'], be64(self.l1)))
        out += self._header_pieces()
        return out

    def _header_pieces(self):
        header = self.header_bytes()
        area = self.extension_area()
        start = min(max(len(header), 72), self.cs)
        out = [(start, area[:self.cs - start])] if area else []
        if self.backing is not None:
            off = self.h['backing_file_offset']
            if off + len(self.backing) <= self.cs:
                out.append((off, self.backing))
        out.append((0, header[:self.cs]))
        return out

    def size_bytes(self):
        if self.file_size is not None:
            return self.file_size
        return max(self.n_used * self.cs, self.min_size)

    def write(self, path):
        write_pieces(path, self.pieces(), self.size_bytes())

    def to_bytes(self):
        """The whole file; for small ones."""
        out = bytearray(self.size_bytes())
        for off, data in self.pieces():
            data = data[:max(0, len(out) - off)]
            out[off:off + len(data)] = data
        return bytes(out)


def write_pieces(path, pieces, size):
    with open(path, 'wb') as f:
        f.truncate(size)
        for off, data in pieces:
            if off < size and data:
                f.seek(off)
                f.write(data[:size - off])
