"""Valid images, one for each family of features.  tests/hostile/generate.py
--validate holds every one against qemu-img."""

from image import (AUTOCLEAR_RAW, Bitmap, EXT_BACKING_FORMAT, EXT_DATA_FILE,
                   Image, Snapshot)
from payload import Luks, deflate, pattern, zstd, zstd_rle

FEATURES = [(0, 0, b'dirty bit'), (0, 1, b'corrupt bit'),
            (0, 2, b'external data file'), (0, 3, b'compression type'),
            (0, 4, b'extended L2 entries'), (1, 0, b'lazy refcounts'),
            (2, 0, b'bitmaps'), (2, 1, b'raw external data')]


def some_guest(cs, per_l2):
    """Data, zeros, preallocated zeros and holes, in two L2 tables."""
    return {0: ('data', pattern(cs, 1)), 1: ('data', pattern(cs, 2)),
            3: ('zero',), 4: ('zero-alloc', pattern(cs, 3)),
            per_l2 + 5: ('data', pattern(cs, 4))}


def v2_guest(cs, per_l2):
    return {0: ('data', pattern(cs, 1)), 1: ('data', pattern(cs, 2)),
            per_l2 + 5: ('data', pattern(cs, 4))}


def plain(bits=12, version=3, order=4, size=None, features=False):
    cs = 1 << bits
    per_l2 = cs // 8
    size = 2 * per_l2 * cs if size is None else size
    guest = (some_guest if version >= 3 else v2_guest)(cs, per_l2)
    guest = {c: what for c, what in guest.items() if c * cs < size}
    im = Image(version=version, cluster_bits=bits, order=order, size=size,
               guest=guest)
    if features:
        im.feature_names = list(FEATURES)
    return im


def extended(bits=14):
    cs = 1 << bits
    guest = {0: ('data', pattern(cs, 1)), 1: ('zero',),
             2: ('sub', 0x0000ffff, 0x00ff0000, pattern(cs, 2)),
             3: ('sub', 0, 0xff, None),
             5: ('comp', deflate(pattern(cs, 3)))}
    return Image(cluster_bits=bits, size=1 << 20, ext_l2=True, guest=guest)


def compressed(bits=12, kind='zlib', version=3):
    cs = 1 << bits
    pack = deflate if kind == 'zlib' else zstd
    guest = {i: ('comp', pack(pattern(cs, i + 1))) for i in range(6)}
    if kind == 'zstd':
        guest[6] = ('comp', zstd_rle(0x5a, cs))
    guest[8] = ('data', pattern(cs, 9))
    return Image(version=version, cluster_bits=bits, size=1 << 20,
                 compression=0 if kind == 'zlib' else 1, guest=guest)


def one_compressed(payload, bits=12, compression=0):
    """Cluster 0 is compressed to `payload`, cluster 1 is plain."""
    cs = 1 << bits
    return Image(cluster_bits=bits, size=1 << 20, compression=compression,
                 guest={0: ('comp', payload), 1: ('data', pattern(cs, 2))})


def backed(name=b'base.raw', fmt=b'raw', bits=12, version=3, size=None):
    im = plain(bits, version, size=size)
    im.backing = name
    if fmt is not None:
        im.extensions.append((EXT_BACKING_FORMAT, fmt))
    return im


def data_filed(name=b'data.raw', raw=False, bits=12):
    im = plain(bits)
    im.data_file = True
    if name is not None:
        im.extensions.append((EXT_DATA_FILE, name))
    if raw:
        im.autoclear |= AUTOCLEAR_RAW
        im.guest = {c: w for c, w in im.guest.items() if w[0] == 'data'}
    return im


def snapshotted(bits=12, version=3, features=False):
    im = plain(bits, version, features=features)
    cs = 1 << bits
    im.snapshots = [Snapshot(b'1', b'shared'),
                    Snapshot(b'2', b'own', {7: ('data', pattern(cs, 8))})]
    return im


def bitmapped(bits=12):
    im = plain(bits)
    im.bitmaps = [Bitmap(b'alpha', 16), Bitmap(b'beta', 12, stored=False)]
    return im


def encrypted(bits=16, luks=None):
    im = Image(cluster_bits=bits, size=1 << 20,
               guest={0: ('data', pattern(1 << bits, 1))})
    im.luks = (luks or Luks()).to_bytes()
    return im


def tiny(bits=9):
    """A few 512-byte clusters: many table levels in few bytes."""
    return plain(bits, size=3 * 64 * 512)


ALL = {
    'v3': plain, 'v2': lambda: plain(version=2), 'v3-512': tiny,
    'v3-64k': lambda: plain(16, size=1 << 20 | 512),
    'v3-2m': lambda: Image(cluster_bits=21, size=5 << 20,
                           guest={1: ('zero',)}),
    'features': lambda: plain(features=True),
    'refcount-1': lambda: plain(order=0), 'refcount-2': lambda: plain(order=1),
    'refcount-8': lambda: plain(order=3), 'refcount-64': lambda: plain(order=6),
    'extended': extended, 'extended-64k': lambda: extended(16),
    'zlib': compressed, 'zlib-64k': lambda: compressed(16),
    'zlib-v2': lambda: compressed(version=2),
    'zlib-512': lambda: compressed(9),
    'zstd': lambda: compressed(kind='zstd'),
    'zstd-64k': lambda: compressed(16, 'zstd'),
    'snapshots': snapshotted, 'snapshots-v2': lambda: snapshotted(version=2),
    'bitmaps': bitmapped, 'luks': encrypted,
    'backing': backed, 'backing-v2': lambda: backed(version=2),
    'data-file': data_filed, 'data-file-raw': lambda: data_filed(raw=True),
}
