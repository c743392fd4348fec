"""Images of every kind, made by the system's qemu-img and then damaged."""

import os
import struct
import subprocess

from case import QEMU_IMG, QEMU_IO

SECRET = ["--object", "secret,id=key,data=passphrase"]
LUKS = "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10"


def qemu_img(*args):
    subprocess.run([QEMU_IMG, *args], check=True, capture_output=True)


def qemu_io(path, *commands):
    args = [word for c in commands for word in ("-c", c)]
    subprocess.run([QEMU_IO, *args, path], check=True, capture_output=True)


class Copies:
    """Images that were made before.  A copy takes a hundredth of the time of
    the two programs that make an image."""

    ROOM = 64 << 20
    # Images of one file, whose holes are not what is tested.
    UNSUITABLE = ("-b", "data_file", "encrypt", "prealloc")

    def __init__(self):
        self.kept = {}
        self.room = self.ROOM

    def may_keep(self, options):
        return not any(word in option for option in options
                       for word in self.UNSUITABLE)

    def keep(self, key, path):
        """Keeps the ranges that are no holes, while there is room."""
        ranges, end = [], 0
        with open(path, "rb", buffering=0) as f:
            size = os.fstat(f.fileno()).st_size
            self.room -= os.fstat(f.fileno()).st_blocks * 512
            while self.room > 0 and end < size:
                try:
                    at = os.lseek(f.fileno(), end, os.SEEK_DATA)
                except OSError:
                    break
                end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
                ranges.append((at, os.pread(f.fileno(), end - at, at)))
        if self.room > 0:
            self.kept[key] = size, ranges

    def put(self, key, path):
        """Writes a copy; returns whether there was one."""
        if key not in self.kept:
            return False
        size, ranges = self.kept[key]
        with open(path, "wb", buffering=0) as f:
            for at, data in ranges:
                os.pwrite(f.fileno(), data, at)
            f.truncate(size)
        return True


copies = Copies()


def make(path, *options, size="4M", io=()):
    """A new qcow2 image; `io` is written into it."""
    key = options, size, tuple(io)
    if copies.put(key, path):
        return path
    qemu_img("create", "-q", "-f", "qcow2", *options, path, size)
    if io:
        qemu_io(path, *io)
    if copies.may_keep(options):
        copies.keep(key, path)
    return path


MIXED = ("write -P 5 0 1M", "write -z 1M 64k", "write -c -P 6 1216k 64k",
         "write -P 7 3M 4k")
PLAIN = ("write -P 5 0 1M", "write -z 1M 64k", "write -P 7 3M 4k")


class Header:
    """The bytes of an image, patched and written to another file."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.bytes = bytearray(f.read())

    def get(self, fmt, off):
        return struct.unpack_from(fmt, self.bytes, off)[0]

    def put(self, fmt, off, value):
        struct.pack_into(fmt, self.bytes, off, value)
        return self

    def save(self, path):
        with open(path, "wb") as f:
            f.write(self.bytes)
        return path

    @property
    def refcount_block(self):
        return self.get(">Q", self.get(">Q", 48))

    @property
    def l1(self):
        return self.get(">Q", 40)

    @property
    def l2(self):
        return self.get(">Q", self.l1) & 0x00fffffffffffe00

    @property
    def snapshot_table(self):
        return self.get(">Q", 64)

    def set_refcount(self, cluster, value):
        return self.put(">H", self.refcount_block + 2 * cluster, value)

    def incompatible(self, bit):
        return self.put(">Q", 72, self.get(">Q", 72) | 1 << bit)


def make_plain():
    """One image of every feature that needs no second file."""
    names = [
        make("plain.qcow2", io=PLAIN),
        make("mixed.qcow2", io=MIXED),
        make("empty.qcow2"),
        make("nothing.qcow2", size="0"),
        make("odd.qcow2", size="1234567", io=["write -P 1 1000k 200k"]),
        make("v2.qcow2", "-o", "compat=0.10", io=PLAIN),
        make("v2-4k.qcow2", "-o", "compat=0.10,cluster_size=4k", io=MIXED),
        make("512.qcow2", "-o", "cluster_size=512", io=MIXED),
        make("2m.qcow2", "-o", "cluster_size=2M", size="64M", io=PLAIN),
        make("zstd.qcow2", "-o", "compression_type=zstd", io=MIXED),
        make("ext.qcow2", "-o", "extended_l2=on",
             io=("write -P 3 10k 6k", "write -z 40k 8k", "write 1M 128k")),
        make("lazy.qcow2", "-o", "lazy_refcounts=on", io=PLAIN),
        make("rc1.qcow2", "-o", "refcount_bits=1", io=PLAIN),
        make("rc64.qcow2", "-o", "refcount_bits=64", io=PLAIN),
        make("pre.qcow2", "-o", "preallocation=metadata"),
        make("full.qcow2", "-o", "preallocation=full"),
        make("large.qcow2", size="1.5T", io=["write 1T 64k"]),
    ]
    return names


def make_snapshots():
    make("snap.qcow2", io=PLAIN)
    qemu_img("snapshot", "-c", "one", "snap.qcow2")
    qemu_io("snap.qcow2", "write -P 9 512k 1M")
    qemu_img("snapshot", "-c", "a name that is longer than its column",
             "snap.qcow2")
    h = Header("snap.qcow2")
    at = h.snapshot_table
    h.put(">I", at + 16, 630720000)
    h.put(">Q", at + 24, (123 * 3600 + 45 * 60 + 6) * 10**9 + 789012345)
    h.put(">Q", at + 40, 5381054798)
    h.put(">Q", at + 56, 987654321)
    h.save("snap-vm.qcow2")
    h.put(">Q", at + 40, 1023488).put(">Q", at + 56, 2**64 - 1)
    h.save("snap-no-icount.qcow2")
    return ["snap.qcow2", "snap-vm.qcow2", "snap-no-icount.qcow2"]


def make_bitmaps():
    make("bitmaps.qcow2", io=PLAIN)
    qemu_img("bitmap", "--add", "bitmaps.qcow2", "tracks writes")
    qemu_img("bitmap", "--add", "-g", "32k", "--disable", "bitmaps.qcow2",
             "b1")
    h = Header("bitmaps.qcow2")
    h.put(">I", find_bitmap_directory(h) + 12, 3).save("in-use.qcow2")
    return ["bitmaps.qcow2", "in-use.qcow2"]


def find_extension(h, magic):
    """The place where the contents of a header extension begin."""
    off = 104
    while h.get(">I", off) != magic:
        off += 8 + (h.get(">I", off + 4) + 7) // 8 * 8
    return off + 8


def find_bitmap_directory(h):
    return h.get(">Q", find_extension(h, 0x23852875) + 16)


def make_data_files():
    return [
        make("data.qcow2", "-o", "data_file=data.raw",
             io=("write -P 5 0 1M", "write -P 6 2M 64k")),
        make("data-raw.qcow2", "-o",
             "data_file=data-raw.raw,data_file_raw=on", io=["write 1M 1M"]),
    ]


def make_chains():
    os.makedirs("sub/dir")
    qemu_img("create", "-q", "-f", "raw", "base.raw", "3M")
    qemu_io("base.raw", "write -P 1 1M 128k")
    names = [
        make("on-raw.qcow2", "-b", "base.raw", "-F", "raw",
             io=["write -P 2 2M 64k"]),
        make("on-raw-larger.qcow2", "-b", "base.raw", "-F", "raw",
             size="8M", io=["write -P 2 5M 64k"]),
        make("on-raw-smaller.qcow2", "-b", "base.raw", "-F", "raw",
             size="2M", io=["write -P 2 0M 64k"]),
        make("on-qcow2.qcow2", "-b", "on-raw.qcow2", "-F", "qcow2",
             io=["write -z 1M 64k"]),
        make("absolute.qcow2", "-b", os.path.abspath("base.raw"), "-F", "raw"),
        make("zeros.qcow2", io=["write -z 128k 64k"]),
        make("zeros-on-zeros.qcow2", "-b", "zeros.qcow2", "-F", "qcow2",
             io=["write -z 64k 64k"]),
        make("sub/up.qcow2", "-b", "../base.raw", "-F", "raw"),
        make("sub/dir/up.qcow2", "-b", "../up.qcow2", "-F", "qcow2",
             io=["write -P 4 64k 64k"]),
    ]
    qemu_img("snapshot", "-c", "x", "on-raw.qcow2")
    return names


def make_broken_chains():
    """Images whose backing files are not there, or not to be followed."""
    names = []
    for number, backing in enumerate(["gone.raw", "/gone/gone.raw",
                                      "nbd://gone/x", "json:{bad",
                                      "file:base.raw"]):
        names.append(make(f"sub/broken{number}.qcow2", "-u", "-b", backing,
                          "-F", "raw"))
    return names


def make_luks(path, *options, more=""):
    """qemu-img measures the processor for seconds to choose the iterations,
    and gives up on a busy machine: then it is asked again."""
    for _ in range(50):
        try:
            return make(path, *SECRET, *options, "-o", LUKS + more)
        except subprocess.CalledProcessError as failure:
            if b"CPU usage" not in failure.stderr:
                raise
    raise RuntimeError("qemu-img makes no LUKS image")


def change_cipher(source, target, cipher, mode, hash_name, key_bytes):
    """Changes the names in the LUKS header; only a holder of the key would
    notice."""
    h = Header(source)
    luks = h.get(">Q", find_extension(h, 0x0537be77))
    for off, text in [(8, cipher), (40, mode), (72, hash_name)]:
        h.bytes[luks + off:luks + off + 32] = text.ljust(32, b"\0")
    return h.put(">I", luks + 108, key_bytes).save(target)


def make_encrypted():
    luks = make_luks("luks.qcow2", more=",data_file=luks-data.raw")
    aes = "encrypt.format=aes,encrypt.key-secret=key"
    return [
        luks,
        change_cipher(luks, "luks-essiv.qcow2", b"aes", b"cbc-essiv:sha256",
                      b"sha512", 16),
        change_cipher(luks, "luks-cast5.qcow2", b"cast5", b"cbc-plain",
                      b"sha1", 16),
        change_cipher(luks, "luks-serpent.qcow2", b"serpent", b"xts-plain64",
                      b"sha256", 64),
        make("aes.qcow2", *SECRET, "-o", aes),
        make("aes-v2.qcow2", *SECRET, "-o", "compat=0.10," + aes),
        make("aes-backing.qcow2", *SECRET, "-u", "-b", "gone.raw", "-F",
             "raw", "-o", aes),
    ]


def make_flagged():
    """Header bits that an interrupted or a failed writer leaves."""
    return [
        Header("plain.qcow2").incompatible(0).save("dirty.qcow2"),
        Header("plain.qcow2").incompatible(1).save("corrupt.qcow2"),
    ]


def make_refused():
    """Images that nobody opens."""
    short = Header("plain.qcow2")
    short.bytes = short.bytes[:100]
    return [
        Header("plain.qcow2").incompatible(40).save("unknown.qcow2"),
        short.save("short.qcow2"),
        Header("plain.qcow2").put(">I", 20, 30).save("bits.qcow2"),
    ]


def make_raw():
    with open("small.raw", "wb") as f:
        f.write(b"x" * 512)
    with open("holes.raw", "wb") as f:
        f.truncate(3 << 20)
        f.seek(1 << 18)
        f.write(os.urandom(1 << 17))
    open("zero.raw", "wb").close()
    return ["small.raw", "holes.raw", "zero.raw", "base.raw"]


def make_inconsistent():
    """Images that `check` reports something about."""
    h = Header("mixed.qcow2")
    end = len(h.bytes) // 65536
    leak = Header("mixed.qcow2").set_refcount(end + 3, 1)
    leak.bytes += bytes(5 * 65536)
    entry = h.get(">Q", h.l2 + 24)
    return [
        leak.save("leak.qcow2"),
        Header("mixed.qcow2").set_refcount(5, 3).save("too-high.qcow2"),
        Header("mixed.qcow2").set_refcount(5, 0).set_refcount(7, 0)
        .save("too-low.qcow2"),
        Header("mixed.qcow2").set_refcount(5, 0).set_refcount(8, 2)
        .save("both.qcow2"),
        Header("mixed.qcow2").put(">Q", h.l2 + 24, entry + 512)
        .save("unaligned.qcow2"),
    ]
