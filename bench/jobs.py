"""Jobs that change an image in place: snapshots, repair, resize, amend.

Every run works on a fresh copy.  qemu-img takes minutes for some of them, so
it is stopped after `limit` seconds; its time is then what it had."""

import subprocess
from collections import namedtuple

from measure import Case

# `needs`: a word that `qcow2 help` knows, or an option of such a word.
Job = namedtuple("Job", "name goal image needs arguments")


def knows(qcow2, needs):
    """Whether our command has a subcommand, and an option of it."""
    subcommand, *options = needs.split()
    process = subprocess.run([qcow2, subcommand, "--help"], check=False,
                             capture_output=True, text=True)
    return process.returncode == 0 and all(o in process.stdout
                                           for o in options)


def jobs(data, n_clusters):
    """For an image with so many scattered clusters."""
    def plain():
        return data.scattered(n_clusters)

    def with_snapshot():
        return data.scattered(n_clusters, 1)

    def leaking():
        return data.scattered(n_clusters, n_leaked=n_clusters)

    where = f"1 TiB, {n_clusters:,} scattered"
    return [
        Job(f"snapshot create {where}", 0.03, plain, "snapshot",
            ("snapshot", "-c", "new")),
        Job(f"snapshot delete {where}", 0.03, with_snapshot, "snapshot",
            ("snapshot", "-d", "snapshot-0")),
        Job(f"snapshot apply {where}", 0.05, with_snapshot, "snapshot",
            ("snapshot", "-a", "snapshot-0")),
        Job(f"check -r leaks {where}, as many leaked", 0.2, leaking,
            "check --repair", ("check", "-r", "leaks")),
        Job(f"shrink to 100 GiB, {where}", 0.1, plain, "resize --shrink",
            ("resize", "--shrink", "SIZE")),
        Job(f"amend refcount_bits 16 → 64, {where}", 0.1, plain, "amend",
            ("amend", "-o", "refcount_bits=64")),
    ]


def snapshot_jobs(data):
    """For the image with many snapshots."""
    where = f"{data.n_snapshots} snapshots"
    return [
        Job(f"snapshot create, {where}", 0.03, data.snapshots, "snapshot",
            ("snapshot", "-c", "new")),
        Job(f"snapshot delete, {where}", 0.03, data.snapshots, "snapshot",
            ("snapshot", "-d", "snapshot-1")),
        Job(f"snapshot apply, {where}", 0.05, data.snapshots, "snapshot",
            ("snapshot", "-a", "snapshot-1")),
        Job(f"check -r all, {where}", 0.02, data.snapshots, "check --repair",
            ("check", "-r", "all")),
        Job(f"shrink to 100 GiB, {where}", None, data.snapshots,
            "resize --shrink", ("resize", "--shrink", "SIZE")),
        Job(f"amend refcount_bits 16 → 64, {where}", 0.1, data.snapshots,
            "amend", ("amend", "-o", "refcount_bits=64")),
    ]


def command(program, job, image):
    """The image comes last, or before the size."""
    words = [image if w == "SIZE" else w for w in job.arguments]
    return [program, *words, "100G" if "SIZE" in job.arguments else image]


def case(qcow2, data, job, limit):
    work = data.where / "job.qcow2"

    def prepare():
        subprocess.run(["cp", "--sparse=auto", job.image(), work], check=True)

    return Case(job.name, command(qcow2, job, work),
                {"default": command("qemu-img", job, work)}, job.goal,
                target=work, prepare=prepare, limit=limit)


def cases(qcow2, data, only, limit):
    wanted = [j for n in data.clusters for j in jobs(data, n)]
    wanted += snapshot_jobs(data)
    missing = {j.needs for j in wanted if not knows(qcow2, j.needs)}
    for needs in sorted(missing):
        print(f"qcow2 {needs}: skipped, not in this version\n")
    for job in wanted:
        if job.needs not in missing and only in job.name:
            yield case(qcow2, data, job, limit)
