"""Compressed payloads, good and bad, and the LUKS header: built by hand so
that a test can place each defect."""

import struct
import zlib

from image import put, up


def pattern(n, seed=1):
    """`n` bytes that depend on `seed`; compressible, never zero."""
    unit = bytes((seed * 7 + i * 13) % 255 + 1 for i in range(256))
    return (unit * (n // 256 + 1))[:n]


def noise(n, seed=1):
    """`n` bytes that do not compress."""
    out, x = bytearray(), (seed * 2654435761 + 1) & 0xffffffff
    for _ in range(n):
        x = (x * 1664525 + 1013904223) & 0xffffffff
        out.append(x >> 24)
    return bytes(out)


def deflate(data, wbits=-12, level=9, strategy=zlib.Z_DEFAULT_STRATEGY):
    c = zlib.compressobj(level, zlib.DEFLATED, wbits, 9, strategy)
    return c.compress(data) + c.flush()


def deflate_stored(data):
    """Stored blocks only."""
    out, step = b'', 0xffff
    for i in range(0, len(data) or 1, step):
        part = data[i:i + step]
        last = i + step >= len(data)
        out += bytes([1 if last else 0])
        out += struct.pack('<HH', len(part), len(part) ^ 0xffff) + part
    return out


def deflate_unended(data):
    """Every byte of the cluster, and then no end of stream."""
    c = zlib.compressobj(9, zlib.DEFLATED, -12)
    return c.compress(data) + c.flush(zlib.Z_SYNC_FLUSH)


def deflate_empty_blocks(n):
    """`n` empty stored blocks: input without output."""
    return b'\x00\x00\x00\xff\xff' * n


def zstd_frame(blocks, size=None, window_log=None, checksum=None, dict_id=None,
               magic=0xfd2fb528):
    """One zstd frame.  `blocks`: ('raw', bytes), ('rle', byte, n), or
    ('bad', type, size, bytes).  `size`: the content size field."""
    fcs = 0 if size is None else 3
    single = window_log is None and size is not None
    did = 0 if dict_id is None else 3
    out = struct.pack('<I', magic)
    out += bytes([fcs << 6 | single << 5 | (checksum is not None) << 2 | did])
    if not single:
        out += bytes([((window_log or 12) - 10) << 3])
    if did:
        out += struct.pack('<I', dict_id)
    if fcs:
        out += struct.pack('<Q', size)
    for i, b in enumerate(blocks):
        out += _zstd_block(b, i == len(blocks) - 1)
    if checksum is not None:
        out += struct.pack('<I', checksum)
    return out


def _zstd_block(block, last):
    if block[0] == 'raw':
        kind, n, data = 0, len(block[1]), block[1]
    elif block[0] == 'rle':
        kind, n, data = 1, block[2], bytes([block[1]])
    else:
        kind, n, data = block[1:]
    return struct.pack('<I', n << 3 | kind << 1 | last)[:3] + data


def zstd(data):
    """A good frame, raw blocks of at most 64 KiB."""
    parts = [data[i:i + 65536] for i in range(0, len(data), 65536)]
    return zstd_frame([('raw', p) for p in parts], size=len(data))


def zstd_rle(byte, n):
    blocks = []
    while n:
        step = min(n, 1 << 16)
        blocks.append(('rle', byte, step))
        n -= step
    return zstd_frame(blocks, window_log=21)


def zstd_skippable(data):
    return struct.pack('<II', 0x184d2a50, len(data)) + data


LUKS_SLOT_FIELDS = ('state', 'iterations', 'salt', 'key_offset', 'stripes')


class Luks:
    """A LUKS1 header of AES-128-XTS with one active slot.  The key material is
    noise: no passphrase opens it."""

    def __init__(self):
        self.magic = b'LUKS\xba\xbe'
        self.version = 1
        self.cipher_name, self.cipher_mode = b'aes', b'xts-plain64'
        self.hash_spec = b'sha256'
        self.key_bytes = 32
        self.digest_iterations = 1000
        self.uuid = b'11111111-2222-3333-4444-555555555555'
        sectors = up(self.key_bytes * 4000, 4096) // 512
        self.slots = [{
            'state': 0x00ac71f3 if i == 0 else 0x0000dead,
            'iterations': 1000 if i == 0 else 0, 'salt': noise(32, i),
            'key_offset': 8 + i * sectors, 'stripes': 4000}
            for i in range(8)]
        self.payload_offset = 8 + 8 * sectors
        self.area = self.payload_offset * 512
        self.fixed = {}            # offset -> bytes put over the result

    def header(self):
        out = self.magic[:6] + put(2, self.version)
        for text in (self.cipher_name, self.cipher_mode, self.hash_spec):
            out += text[:32].ljust(32, b'\0')
        out += put(4, self.payload_offset) + put(4, self.key_bytes)
        out += noise(20, 99) + noise(32, 98) + put(4, self.digest_iterations)
        out += self.uuid[:40].ljust(40, b'\0')
        for s in self.slots:
            out += put(4, s['state']) + put(4, s['iterations'])
            out += s['salt'] + put(4, s['key_offset']) + put(4, s['stripes'])
        return out

    def to_bytes(self):
        out = bytearray(self.area)
        out[:592] = self.header()
        first = self.slots[0]['key_offset'] * 512
        if 592 <= first < self.area:
            data = noise(4096, 5)[:self.area - first]
            out[first:first + len(data)] = data
        return bytes(out)
