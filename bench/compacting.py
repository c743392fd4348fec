"""Compaction in place, of images half of whose clusters were discarded.

qemu-img has nothing that works in place.  A second copy makes a file smaller
there: `convert` into a fresh image, which needs the space of both.  With
`-W -m 16` it uses all processors; compaction copies bytes as they are."""

import json
import subprocess

import measure
from measure import Case

MIB = 1 << 20
CLUSTER = 65536


def case(qcow2, data, packing):
    work = data.where / "compact.qcow2"
    fresh = data.where / "fresh.qcow2"
    packed = {"plain": [], "zlib": ["-c"],
              "zstd": ["-c", "-o", "compression_type=zstd"]}[packing]
    words = ["-O", "qcow2", *packed, work, fresh]

    def prepare():
        subprocess.run(["cp", "--sparse=auto", data.made(data.holes(packing)),
                        work], check=True)

    return Case(f"compact {packing}, half discarded", [qcow2, "compact", work],
                {"default": ["qemu-img", "convert", *words],
                 "-W -m 16": ["qemu-img", "convert", "-W", "-m", "16", *words]},
                None, target=fresh, prepare=prepare)


def cases(qcow2, data):
    return [case(qcow2, data, packing)
            for packing in ("plain", "zlib", "zstd")]


def moved(result):
    """Returns what one run says that it did."""
    result.case.prepare()
    out = subprocess.run([str(c) for c in result.case.ours[:2]]
                         + ["--output=json", str(result.case.ours[2])],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def report(results):
    rows = []
    for result in results:
        did = moved(result)
        mib = did["clusters-moved"] * CLUSTER / MIB
        rows.append([result.case.name, f"{mib:.0f} MiB",
                     f"{mib / result.ours.median:.0f} MiB/s",
                     f"{did['file-size-before'] / MIB:.0f} MiB",
                     f"{did['file-size-after'] / MIB:.0f} MiB"])
    if rows:
        measure.table(["case", "moved", "throughput", "file before",
                       "file after"], rows)
        print(flush=True)
