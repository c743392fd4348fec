"""Jobs that change an image in place: snapshots, repair, resize, amend.

Every run works on a copy of its own of the same image.  qemu-img takes minutes
for some of them, so it is stopped after `limit` seconds, which then count as
its time.  Its settings are the default and refcounts cached as we do (4 MiB;
the 32 MiB for tables are the same).  With caches that hold all tables of the
disk it is much faster; rows without a goal show that."""

import subprocess
from collections import namedtuple

from measure import Case

# `needs`: a word that `qcow2 help` knows, or an option of such a word.
# `settings`: options of qemu-img's driver, by name.
Job = namedtuple("Job", "name goal image needs arguments settings")

OUR_CACHES = {"default": "", "4 MiB of refcounts": "refcount-cache-size=4M"}
LARGE_CACHES = {"160 MiB of caches":
                "l2-cache-size=128M,refcount-cache-size=32M"}


def knows(qcow2, needs):
    """Returns whether our command has a subcommand, and options of it."""
    subcommand, *options = needs.split()
    process = subprocess.run([qcow2, subcommand, "--help"], check=False,
                             capture_output=True, text=True)
    return process.returncode == 0 and all(o in process.stdout
                                           for o in options)


def jobs(data, n_clusters):
    """Returns the jobs on an image with so many scattered clusters."""
    def plain():
        return data.scattered(n_clusters)

    def with_snapshot():
        return data.scattered(n_clusters, 1)

    def leaking():
        return data.scattered(n_clusters, n_leaked=n_clusters)

    where = f"1 TiB, {n_clusters:,} scattered"
    return [Job(*words, OUR_CACHES) for words in (
        (f"snapshot create {where}", 0.03, plain, "snapshot",
         ("snapshot", "-c", "new")),
        (f"snapshot delete {where}", 0.03, with_snapshot, "snapshot",
         ("snapshot", "-d", "snapshot-0")),
        (f"snapshot apply {where}", 0.05, with_snapshot, "snapshot",
         ("snapshot", "-a", "snapshot-0")),
        (f"check -r leaks {where}, as many leaked", 0.2, leaking,
         "check --repair", ("check", "-r", "leaks")),
        (f"shrink to 100 GiB, {where}", 0.1, plain, "resize --shrink",
         ("resize", "--shrink", "SIZE")),
        (f"amend refcount_bits 16 → 64, {where}", 0.1, plain, "amend",
         ("amend", "-o", "refcount_bits=64")))]


def snapshot_jobs(data):
    """Returns the jobs on the image with many snapshots."""
    where = f"{data.n_snapshots} snapshots"
    return [Job(*words, OUR_CACHES) for words in (
        (f"snapshot create, {where}", 0.03, data.snapshots, "snapshot",
         ("snapshot", "-c", "new")),
        (f"snapshot delete, {where}", 0.03, data.snapshots, "snapshot",
         ("snapshot", "-d", "snapshot-1")),
        (f"snapshot apply, {where}", 0.05, data.snapshots, "snapshot",
         ("snapshot", "-a", "snapshot-1")),
        (f"check -r all, {where}", 0.02, data.snapshots, "check --repair",
         ("check", "-r", "all")),
        (f"shrink to 100 GiB, {where}", None, data.snapshots,
         "resize --shrink", ("resize", "--shrink", "SIZE")),
        (f"amend refcount_bits 16 → 64, {where}", 0.1, data.snapshots,
         "amend", ("amend", "-o", "refcount_bits=64")))]


def with_large_caches(job):
    return job._replace(name=f"{job.name}, all tables cached", goal=None,
                        settings=LARGE_CACHES)


def command(program, job, image, options=()):
    """The image comes last, or before the size."""
    words = [image if w == "SIZE" else w for w in job.arguments]
    words += ["100G" if "SIZE" in job.arguments else image]
    return [program, words[0], *options, *words[1:]]


def theirs(job, image, setting):
    if not setting:
        return command("qemu-img", job, image)
    return command("qemu-img", job,
                   f"driver=qcow2,{setting},file.filename={image}",
                   ["--image-opts"])


def case(qcow2, data, job, limit):
    work = data.where / "job.qcow2"

    def prepare():
        subprocess.run(["cp", "--sparse=auto", data.made(job.image()), work],
                       check=True)

    return Case(job.name, command(qcow2, job, work),
                {name: theirs(job, work, setting)
                 for name, setting in job.settings.items()},
                job.goal, target=work, prepare=prepare, limit=limit)


def wanted(data, clusters):
    """Returns all jobs for every number of clusters, and with larger caches
    those that such caches help, for the middle number."""
    found = [j for n in clusters for j in jobs(data, n)]
    found += [with_large_caches(j) for j in jobs(data, data.clusters[1])
              if "snapshot" in j.name or "shrink" in j.name]
    return found + snapshot_jobs(data)


def cases(qcow2, data, clusters, only, limit):
    found = wanted(data, clusters)
    missing = {j.needs for j in found if not knows(qcow2, j.needs)}
    for needs in sorted(missing):
        print(f"qcow2 {needs}: skipped, not in this version\n")
    for job in found:
        if job.needs not in missing and only in job.name:
            yield case(qcow2, data, job, limit)
