"""Persistent bitmaps as the image has them."""

import struct

import images

STORED = 0x00fffffffffffe00
AUTOCLEAR_BITMAPS = 1


class Bitmaps(images.Header):
    """The properties of an image's bitmaps, by name, and the end of them in
    the file."""

    def __init__(self, path):
        super().__init__(path)
        self.cluster = 1 << self.get(">I", 20)
        self.valid = bool(self.get(">Q", 88) & AUTOCLEAR_BITMAPS)
        self.said = {}
        self.end = 0
        extension = images.find_extension(self, 0x23852875)
        n, _, size, at = struct.unpack_from(">IIQQ", self.bytes, extension)
        self.reach(at + size)
        for _ in range(n):
            at = self.entry(at)

    def reach(self, end):
        self.end = max(self.end, end)

    def entry(self, at):
        table, n, flags, kind, bits, name_len, extra = struct.unpack_from(
            ">QIIBBHI", self.bytes, at)
        name = self.bytes[at + 24 + extra:][:name_len].decode()
        self.reach(table + n * 8)
        contents = b"".join(self.part(self.get(">Q", table + i * 8))
                            for i in range(n))
        self.said[name] = (flags, kind, bits, contents)
        return at + (24 + extra + name_len + 7) // 8 * 8

    def part(self, entry):
        if not entry & STORED:
            return (b"\xff" if entry & 1 else b"\0") * self.cluster
        self.reach((entry & STORED) + self.cluster)
        return self.bytes[entry & STORED:][:self.cluster]
