"""The command lines of create.py."""
import itertools

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

CLUSTER_SIZES = (512, KIB, 4 * KIB, 16 * KIB, 64 * KIB, MIB, 2 * MIB)
REFCOUNT_BITS = (1, 2, 4, 8, 16, 32, 64)
PREALLOCATIONS = ("off", "metadata", "falloc", "full")


class Case:
    """Arguments of create after the format, and the expected outcome.

    intended: whether we accept it, where that differs from qemu-img on
    purpose.
    """

    def __init__(self, args, *, preallocated=False, data_file=False,
                 has_backing=False, must_succeed=False, intended=None):
        self.args = [str(arg) for arg in args]
        self.preallocated = preallocated
        self.data_file = data_file
        self.has_backing = has_backing
        self.must_succeed = must_succeed
        self.intended = intended


def size_limit(cluster_size, extended):
    """The disk size at which the L1 table reaches its 32 MiB."""
    return cluster_size ** 2 // (16 if extended else 8) * 4 * MIB


def sizes(cluster_size, preallocation, options):
    """Sizes worth trying; disks that are filled or mapped stay small."""
    chosen = [0, 512, 3 * 512, MIB + 512, 4 * cluster_size + 512]
    mapped = preallocation != "off" or "data_file_raw=on" in options
    if not mapped:
        chosen += [GIB, size_limit(cluster_size, "extended_l2=on" in options)]
    elif preallocation in ("off", "metadata") and cluster_size >= 16 * KIB:
        chosen.append(GIB)
    return chosen


def shapes():
    """Version, data file, extended L2 and preallocation of every cluster
    size."""
    for cluster_size in CLUSTER_SIZES:
        for preallocation in PREALLOCATIONS:
            yield cluster_size, preallocation, ["compat=0.10"], False
            for data, extended in itertools.product(
                    ([], ["data_file=data"],
                     ["data_file=data", "data_file_raw=on"]),
                    ([], ["extended_l2=on"])):
                if extended and cluster_size < 16 * KIB:
                    continue
                yield (cluster_size, preallocation, data + extended,
                       bool(data))


def matrix(full):
    """All shapes.  Widths of refcounts, sizes and the small switches take
    turns, unless everything is asked for."""
    widths = itertools.cycle(REFCOUNT_BITS)
    rest = itertools.cycle(([], ["lazy_refcounts=on"],
                            ["compression_type=zstd"]))
    turn = 0
    for cluster_size, preallocation, options, data_file in shapes():
        old = options == ["compat=0.10"]
        choices = sizes(cluster_size, preallocation, options)
        if full:
            picks = list(itertools.product(
                REFCOUNT_BITS if not old else (16,), choices))
        else:
            picks = [(next(widths) if not old else 16,
                      choices[(turn + i * 2) % len(choices)])
                     for i in range(2)]
        turn += 1
        for bits, size in picks:
            text = ["cluster_size=%d" % cluster_size,
                    "preallocation=" + preallocation,
                    "refcount_bits=%d" % bits, *options]
            if not old:
                text += next(rest)
            raw = "data_file_raw=on" in options
            yield Case(["-o", ",".join(text), "image", size],
                       preallocated=preallocation != "off" or raw,
                       data_file=data_file, must_succeed=True)


def plain(options, size="1M", **more):
    return Case((["-o", options] if options else []) + ["image", size], **more)


def backed(options, name="base", fmt="raw", size="1M", **more):
    return Case(["-u", "-b", name] + (["-F", fmt] if fmt is not None else []) +
                (["-o", options] if options else []) + ["image", size],
                has_backing=True, **more)


def numbers():
    for bits in (0, 1, 3, 5, 16, 63, 65, 128, "16k", "x", -1):
        yield plain("refcount_bits=%s" % bits)
        yield plain("refcount_bits=%s,compat=0.10" % bits)
    for size in (0, 1, 256, 511, 512, 513, 1000, 3000, "48k", "2M", "3M", "4M",
                 "1G", "4G", "8E", "x", -512):
        yield plain("cluster_size=%s" % size)
    for compat in ("0.10", "1.1", "v2", "v3", "2", "3", "0.9", "1.0", ""):
        yield plain("compat=%s" % compat)
    for mode in (*PREALLOCATIONS, "none", "OFF", ""):
        yield plain("preallocation=%s" % mode, preallocated=mode != "off")
    for kind in ("zlib", "zstd", "lzo", "Zlib", ""):
        yield plain("compression_type=%s" % kind)
        yield plain("compression_type=%s,compat=0.10" % kind)


def contradictions():
    for options in ("lazy_refcounts=on", "lazy_refcounts=off",
                    "extended_l2=on", "extended_l2=off", "data_file_raw=off"):
        yield plain(options)
        yield plain(options + ",compat=0.10")
    for cluster_size in CLUSTER_SIZES:
        yield plain("extended_l2=on,cluster_size=%d" % cluster_size)
    yield plain("data_file=data", data_file=True)
    yield plain("data_file=data,compat=0.10")
    yield plain("data_file_raw=on")
    yield plain("data_file_raw=on,compat=0.10")
    yield backed("data_file=data", data_file=True)
    yield backed("data_file=data,data_file_raw=on")
    yield backed("data_file=data,data_file_raw=on,extended_l2=on")
    for mode in PREALLOCATIONS:
        yield backed("preallocation=" + mode)
        yield backed("preallocation=%s,extended_l2=on" % mode)
        yield backed("preallocation=%s,data_file=data" % mode)
        yield backed("preallocation=%s,data_file=data,extended_l2=on" % mode)


def names():
    yield backed("", fmt=None)
    yield backed("compat=0.10", fmt=None)
    yield Case(["-F", "raw", "image", "1M"])
    yield backed("", name="")
    for fmt in ("raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "vhdx",
                "luks", "parallels", "dmg", "bochs", "cloop", "file",
                "host_device", "", "nonexistent", "RAW"):
        yield backed("", fmt=fmt)
        yield backed("compat=0.10", fmt=fmt)
    yield backed("", name="dir/../base")
    yield backed("", name="/absolute/base")
    yield backed("", name="caf\u00e9 \u4e2d")
    yield plain("data_file=")
    yield plain("data_file=image")
    yield plain("data_file=./image")
    yield plain("data_file=nowhere/data")
    # A name with a colon is a name, unless QEMU has such a protocol: see F09.
    yield Case(["-o", "data_file=unknown:data", "image", "1M"], intended=True)
    yield plain("data_file=./data", data_file=True)


def name_lengths():
    """The first cluster holds header, extensions and name, or the image is
    refused: one byte to either side of the largest that fits."""
    for options, longest in (
            ("cluster_size=512", 376), ("cluster_size=512,compat=0.10", 416),
            ("cluster_size=512,data_file=data", 360),
            ("cluster_size=1k", 888), ("cluster_size=2k", 1023),
            ("cluster_size=64k", 1023), ("cluster_size=8k", 1023)):
        for length in (longest - 1, longest, longest + 1):
            yield backed(options, name="b" * length,
                         must_succeed=length <= longest)
    for cluster_size, longest in ((512, 384), (1024, 896)):
        for length in (longest - 1, longest, longest + 1):
            name = "./" * 600
            name = name[:length // 2 * 2 - 4] + "data"
            if length % 2:
                name = "/".join((name[:-5], "/data"))[-length:]
            yield plain("data_file=%s,cluster_size=%d" % (name, cluster_size),
                        data_file=True)


def limits():
    # qemu-img takes seconds for a disk of the largest size; sizes that are
    # rounded to it and the size itself take turns.
    largest = itertools.cycle((-511, 0))
    for cluster_size in CLUSTER_SIZES:
        for extended in (False, True):
            if extended and cluster_size < 16 * KIB:
                continue
            limit = size_limit(cluster_size, extended)
            options = "cluster_size=%d" % cluster_size
            if extended:
                options += ",extended_l2=on"
            for size in (limit + next(largest), limit + 1, limit + 512):
                yield plain(options, size)
    for size in (1, 511, 513, 1000, "1k", "0.5k", "1.5G", "7E", "8E", "16E",
                 (1 << 63) - 1, 1 << 63, 1 << 64, -1, "", "x", "1x"):
        yield plain("", size)
        yield plain("cluster_size=2M", size)


def intended():
    """The cases that we judge otherwise than qemu-img, with the reasons."""
    # A table beyond its limit is refused at once; qemu-img writes tables for
    # minutes before it is in the way.
    yield plain("cluster_size=512,refcount_bits=64,preallocation=metadata",
                "32G", intended=False)
    yield plain("cluster_size=2M,preallocation=metadata", 1 << 56,
                intended=False)
    # Names in images are paths, so protocols are no formats of backing files.
    yield backed("", fmt="nbd", intended=False)


def odd():
    return itertools.chain(numbers(), contradictions(), names(),
                           name_lengths(), limits(), intended())
