"""`io` speaks qemu-io's language: the same scripts give the same answers, and
the same disks."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import unittest

import case
import images
from io_answers import commands, explained, untimed
from io_scripts import KINDS, ODD_BUT_RIGHT, WRITES, WRONG


@unittest.skipUnless(case.QEMU_IO, "qemu-io is not installed")
class Same(case.Case):
    """Each test runs qemu-io in the directory `theirs` and us in `ours`, under
    its name."""

    @classmethod
    def prepare(cls):
        cls.beginnings = {}
        os.makedirs("template")
        os.chdir("template")
        images.make("base.qcow2", io=["write -P 1 64k 256k",
                                      "write -P 2 1M 1M", "write -z 3M 64k"])
        images.qemu_img("create", "-q", "-f", "raw", "base.raw", "2M")
        images.qemu_io("base.raw", "write -P 3 0 1M")
        images.qemu_img("create", "-q", "-f", "raw", "disk.raw", "4M")
        with open("chars", "wb") as f:
            f.write(bytes(range(256)))
        with open("f", "wb") as f:
            f.write(b"abc")
        open("empty", "wb").close()
        os.chdir("..")

    def beginning(self, options, size):
        """A directory with the template and a disk; made once."""
        made = self.beginnings.get((options, size))
        if not made:
            made = f"beginning-{len(self.beginnings)}"
            shutil.copytree("template", made)
            subprocess.run([case.QEMU_IMG, "create", "-q", "-f", "qcow2",
                            *options, "disk", size], cwd=made, check=True)
            length = os.stat(f"{made}/disk").st_size
            os.truncate(f"{made}/disk", (length + 65535) & ~65535)
            self.beginnings[options, size] = made
        return made

    def start(self, *options, size="4M"):
        for side in ["theirs", "ours"]:
            shutil.rmtree(side, ignore_errors=True)
            shutil.copytree(self.beginning(options, size), side)

    def run_in(self, side, args, **more):
        program = case.QEMU_IO if side == "theirs" else \
            f"{self.dir}/bin/qemu-io"
        if "input" not in more:
            more["stdin"] = subprocess.DEVNULL
        return case.Result(subprocess.run(
            [program, *args], cwd=side, capture_output=True, check=False,
            timeout=case.TIMEOUT, env=dict(os.environ, LC_ALL="C.UTF-8"),
            **more))

    def assert_same_answers(self, *args, order=True, **more):
        sides = [self.run_in(side, args, **more)
                 for side in ("theirs", "ours")]
        told = [untimed(side.out) for side in sides]
        if not order:
            told = [sorted(lines) for lines in told]
        self.assertEqual(*told, f"{args}\n{sides[0].err}\n{sides[1].err}")
        self.assertEqual(*[explained(side.err) for side in sides], args)
        self.assertEqual(*[side.status for side in sides],
                         f"{args}\n{sides[0].err}\n{sides[1].err}")
        return sides[1]

    def assert_same_disks(self, name="disk", fmt="qcow2"):
        contents = []
        for side in ["theirs", "ours"]:
            subprocess.run([case.QEMU_IMG, "convert", "-f", fmt, "-O", "raw",
                            name, "contents"], cwd=side, check=True)
            with open(f"{side}/contents", "rb") as f:
                contents.append(f.read())
        self.assertTrue(contents[0] == contents[1])
        if fmt == "raw":
            return
        done = subprocess.run([case.QEMU_IMG, "check", "disk"], cwd="ours",
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_kind_of_image(self):
        for name, options in KINDS.items():
            with self.subTest(name):
                self.start(*options)
                script = [line for line in WRITES
                          if "data" not in name or " -c" not in line]
                self.assert_same_answers(*commands(script), "disk")
                self.assert_same_disks()

    def test_raw_files(self):
        self.start()
        script = [line for line in WRITES if not line.startswith("write -c")]
        self.assert_same_answers("-f", "raw", *commands(script), "disk.raw")
        self.assert_same_disks("disk.raw", "raw")

    def test_every_cache_mode(self):
        for mode in ["none", "writeback", "writethrough", "directsync",
                     "unsafe"]:
            with self.subTest(mode):
                self.start()
                self.assert_same_answers("-t", mode, *commands(WRITES), "disk")
                self.assert_same_disks()
        self.start()
        self.assert_same_answers("-n", "-m", *commands(WRITES), "disk")

    def test_wrong_commands(self):
        for line in WRONG:
            with self.subTest(line):
                self.start()
                self.assert_same_answers("-c", line, "disk", order=False)

    def test_commands_that_look_wrong(self):
        self.start()
        self.assert_same_answers(*commands(ODD_BUT_RIGHT), "disk")
        self.assert_same_disks()

    def test_a_disk_that_is_only_read(self):
        self.start()
        script = ["write 0 1", "writev 0 1", "aio_write 0 1", "discard 0 1",
                  "truncate 1M", "write -z 0 1", "write -c 0 64k",
                  "write -b 0 512", "write x", "write 0 x", "flush",
                  "read 0 1k", "reopen -w", "write 0 64k", "reopen -r",
                  "write 0 64k", "reopen", "read -P 0xcd 0 64k"]
        self.assert_same_answers("-r", *commands(script), "disk")
        self.assert_same_answers(*commands(["open -r disk"] + script))
        self.assert_same_disks()

    def test_without_a_disk(self):
        self.start()
        for line in ["length 1", "read 1", "read 0 1", "close", "flush",
                     "reopen", "aio_flush", "sleep 0", "truncate 1", "open",
                     "open -r", "open nofile", "open disk", "quit", "length",
                     "open -x disk", "open -t x disk", "open -d x disk",
                     "open -U disk", "open -rU disk", "open -i x disk",
                     "open -k disk", "open -kn disk", "open -C -r disk"]:
            with self.subTest(line):
                self.assert_same_answers("-c", line, "-c", "length")

    def test_keys(self):
        self.start()
        for keys in ["driver=raw", "driver=qcow2", "driver=foo", "foo=1",
                     "read-only=on", "cache.direct=on", "cache.no-flush=on",
                     "discard=unmap", "discard=foo", "force-share=on",
                     "file.locking=off", "pass-discard-request=on",
                     "l2-cache-size=1M", "node-name=x", "auto-read-only=on",
                     "driver=qcow2,file.driver=file", "driver=",
                     "cache.direct=maybe", "file.filename=disk"]:
            with self.subTest(keys):
                self.assert_same_answers("-c", f"open -o {keys} disk", "-c",
                                         "length")
                self.assert_same_answers("-c", f"open -r -o {keys} disk",
                                         "-c", "length")
        for keys in ["file.filename=disk", "driver=qcow2",
                     "driver=qcow2,file.filename=disk", "driver=raw",
                     "file.filename=nofile",
                     "driver=qcow2,file.driver=file,file.filename=disk"]:
            with self.subTest(keys):
                self.assert_same_answers("-c", f"open -o {keys}", "-c",
                                         "length")
                self.assert_same_answers("--image-opts", "-c", "length", keys)

    def test_options_of_the_program(self):
        self.start()
        for args in [["nofile"], ["disk", "b"], ["-t", "foo", "disk"],
                     ["-d", "foo", "disk"], ["-d", "unmap", "disk"],
                     ["-d", "ignore", "disk"], ["-d", "off", "disk"],
                     ["-k", "disk"], ["-k", "-n", "disk"], ["."],
                     ["-i", "foo", "disk"], ["-i", "threads", "disk"],
                     ["-i", "io_uring", "disk"], ["-rs", "disk"],
                     ["-U", "disk"], ["-rU", "disk"], ["-C", "disk"],
                     ["-C", "-r", "disk"], ["-f", "raw", "base.raw"],
                     ["-f", "qcow2", "disk"], ["-f", "foo", "disk"],
                     ["--image-opts", "-f", "qcow2", "disk"], ["-m", "disk"],
                     ["disk.raw"], ["-r", "disk.raw"],
                     ["--read-only", "--cache=none", "disk"], []]:
            with self.subTest(args):
                ours = self.run_in("ours", ["-c", "length", *args])
                theirs = self.run_in("theirs", ["-c", "length", *args])
                self.assertEqual(theirs.status, ours.status, ours.err)
                if "Usage" not in theirs.out:
                    self.assertEqual(theirs.out, ours.out)

    def test_changes_to_a_temporary_image_are_lost(self):
        self.start(*KINDS["over"])
        self.assert_same_answers("-s", *commands(WRITES), "disk")
        self.assert_same_answers(*commands(
            ["open -s disk", "write -P 99 0 1k", "read -P 99 0 1k", "map",
             "close", "open -r disk", "read -P 99 0 1k", "map"]))
        self.assert_same_answers("-s", "-r", "-c", "write 0 1", "disk")
        self.assert_same_disks()

    def test_a_size_of_slices_that_suits_the_top_image_is_taken(self):
        """T5: the clusters of a backing file may be smaller."""
        self.start()
        for side in ["theirs", "ours"]:
            for args in [["-o", "cluster_size=512", "small", "1M"],
                         ["-b", "small", "-F", "qcow2", "disk"]]:
                subprocess.run([case.QEMU_IMG, "create", "-q", "-f", "qcow2",
                                *args], cwd=side, check=True)
        for size, status in [("64k", 0), ("512", 0), ("128k", 1)]:
            with self.subTest(size):
                opts = ["--image-opts", "driver=qcow2,file.filename=disk,"
                        f"l2-cache-entry-size={size}"]
                for side in ["theirs", "ours"]:
                    done = self.run_in(side, [*commands(
                        ["write -P 9 4k 512", "read -P 0 0 4k",
                         "read -P 9 4k 512"]), *opts])
                    self.assertEqual(done.status, status, done.err)

    def test_reads_that_copy(self):
        self.start(*KINDS["over"])
        self.assert_same_answers("-C", *commands(
            ["read 0 4k", "map", "read -P 2 1100k 4k", "map",
             "readv 3M 64k 1k", "map", "read 4095k 1k", "map"]), "disk")
        self.assert_same_disks()

    def test_reads_copy_the_subclusters_that_they_touch(self):
        """S6: qemu-io 7.2 copies the whole cluster, or does not survive it."""
        self.start(*KINDS["overext"])
        done = self.run_in("ours", ["-C", *commands(
            ["write -P 9 6k 2k", "write -z 12k 2k", "read 5k 8k", "map"]),
            "disk"])
        self.assertEqual(done.status, 0, done.err)
        there = [line for line in done.out.splitlines()
                 if " allocated at" in line and "not allocated" not in line]
        self.assertEqual(there, ["10 KiB (0x2800) bytes     allocated at "
                                 "offset 4 KiB (0x1000)"], done.out)
        self.assertEqual(*[self.run_in(side, commands(
            ["write -P 9 6k 2k", "write -z 12k 2k", "read -v 0 64k"]) +
            ["disk"]).out.count("09 09") for side in ("theirs", "ours")])

    def test_the_state_of_a_machine(self):
        for name in ["plain", "v2", "small", "ext"]:
            with self.subTest(name):
                self.start(*KINDS[name])
                self.assert_same_answers(*commands(
                    ["write -b -P 8 0 64k", "write -P 4 0 64k",
                     "read -b -P 8 0 64k", "write -b -P 9 1M 1k",
                     "read -b -P 0 64k 64k", "read -P 4 0 64k",
                     "read -bv 1M 512", "write -bc 2M 512"]), "disk")
                self.assert_same_answers("-c", "read -b -P 8 0 64k", "disk")
                self.assert_same_disks()

    def test_truncate(self):
        for args in [["disk"], ["-f", "raw", "disk.raw"]]:
            for line in ["truncate 8M", "truncate 1M", "truncate 0",
                         "truncate -m off 5M", "truncate -m falloc 5M",
                         "truncate -m full 5M", "truncate -m metadata 5M",
                         "truncate -m full 1M", "truncate 512"]:
                with self.subTest(args=args, line=line):
                    self.start()
                    self.assert_same_answers(
                        "-c", "write -P 3 0 4M", "-c", line, "-c", "length",
                        "-c", "read -P 3 0 1M", "-c", "map", *args)

    def test_standard_input(self):
        self.start()
        for text in ["length\nread 0 1\nfoo\nlength", "length", "",
                     "length\n\nquit\nlength\n", "foo\nlength\n", "\n\n",
                     "  length  \n", "len\0gth\nlength\n",
                     "open disk\nclose\nlength\nopen disk\nlength\n",
                     "aio_write 0 64k\naio_flush\n", "read 4M 1\nquit\n"]:
            with self.subTest(text):
                self.assert_same_answers("disk", input=text.encode())
                self.assert_same_answers(input=text.encode())

    def test_transfers_in_the_background(self):
        for name in ["plain", "ext", "over", "data"]:
            with self.subTest(name):
                self.start(*KINDS[name])
                script = []
                for i in range(32):
                    script.append(f"aio_write -P {i} {i * 100}k 100k")
                script += ["aio_flush"]
                for i in range(32):
                    script.append(f"aio_read -P {i} {i * 100}k 50k 50k")
                script += ["aio_flush", "aio_write -z 1M 1M",
                           "aio_write -zu 2M 64k", "aio_write -C 3M 1k 2k",
                           "aio_write -q 3500k 1k", "aio_flush",
                           "aio_read -v 3M 32", "aio_read -P 77 0 1",
                           "aio_read 5M 1", "aio_write 4M 1", "aio_flush"]
                self.assert_same_answers(*commands(script), "disk",
                                         order=False)
                self.assert_same_disks()

    def test_what_is_under_way_ends_with_the_disk(self):
        self.start()
        self.assert_same_answers("-c", "aio_write -P 3 0 64k", "disk")
        self.assert_same_answers("-c", "aio_write -P 4 64k 64k", "-c", "close",
                                 "-c", "open disk", "-c",
                                 "read -P 4 64k 64k", "disk")
        self.assert_same_answers("-c", "aio_write -P 5 0 64k", "-c", "quit",
                                 "disk")
        self.assert_same_disks()

    def test_a_disk_that_another_program_writes(self):
        self.start()
        for side in ["theirs", "ours"]:
            job = subprocess.Popen([case.QEMU_IO, f"{side}/disk"],
                                   stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
            job.stdout.read(1)
            answers = [self.run_in(side, [*args, "-c", "length", "disk"])
                       for args in ([], ["-r"], ["-r", "-U"])]
            job.communicate(b"quit\n")
            self.assertEqual([a.status for a in answers], [1, 1, 0])
            self.assertEqual([a.out for a in answers], ["", "", "4 MiB\n"])

    def test_a_crash_loses_what_was_not_flushed_and_no_more(self):
        for line, status in [("abort", -signal.SIGABRT),
                             ("sigraise 9", -signal.SIGKILL)]:
            self.start()
            script = commands(["write -P 6 0 64k", "flush",
                               "write -P 7 64k 64k", line, "length"])
            for side in ["theirs", "ours"]:
                self.assertEqual(self.run_in(side, [*script, "disk"]).status,
                                 status)
            result = self.run_in("ours", ["-r", "-c", "read -P 6 0 64k",
                                          "disk"])
            self.assertEqual(result.status, 0, result.out)


class Own(case.Case):
    @classmethod
    def prepare(cls):
        cls.new("disk")

    @classmethod
    def new(cls, name, *options, size="4M"):
        case.run(f"{cls.dir}/bin/qcow2", "create", "-q", "-f", "qcow2",
                 *options, name, size)

    def io(self, *script, args=("disk",), **more):
        return self.ours("io", *commands(script), *args, **more)

    def talk(self, *args):
        return subprocess.Popen([f"{self.dir}/bin/qcow2", "io", *args],
                                stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, bufsize=0)

    def wait_for(self, job, text, found=b""):
        end = time.monotonic() + 20
        while text not in found:
            self.assertLess(time.monotonic(), end, found)
            if select.select([job.stdout], [], [], 1)[0]:
                found += os.read(job.stdout.fileno(), 65536)
        return found

    def test_help_names_every_command(self):
        told = self.io("help").out
        for name in ["abort", "aio_flush", "aio_read", "aio_write", "alloc",
                     "close", "discard", "flush", "help", "info", "length",
                     "map", "open", "quit", "read", "readv", "reopen",
                     "sigraise", "sleep", "stats", "truncate", "write",
                     "writev"]:
            self.assertRegex(told, rf"(?m)^{name}( .*)? -- ")
            one = self.io(f"help {name}")
            self.assertEqual(one.status, 0)
            self.assertTrue(one.out.startswith(name))

    def test_under_the_other_name_there_is_no_subcommand(self):
        result = case.run(f"{self.dir}/bin/qemu-io", "-c", "length", "disk")
        self.assertEqual((result.status, result.out), (0, "4 MiB\n"))
        for option in ["-V", "--version"]:
            told = case.run(f"{self.dir}/bin/qemu-io", option).out
            self.assertRegex(told, r"^qemu-io version 7\.2\.")
        told = case.run(f"{self.dir}/bin/qemu-io", "--help").out
        self.assertIn("\n  qemu-io -c help", told)

    def test_the_format_of_what_is_written_is_not_guessed_to_be_raw(self):
        with open("plain.raw", "wb") as f:
            f.truncate(1 << 20)
        self.assert_refused(self.io("length", args=["plain.raw"]), "-f raw")
        self.assertEqual(self.io("length", args=["-r", "plain.raw"]).out,
                         "1 MiB\n")
        self.assertEqual(self.io("write 0 1k", args=["-f", "raw",
                                                     "plain.raw"]).status, 0)

    def test_a_guessed_raw_disk_does_not_become_qcow2(self):
        with open("guess.raw", "wb") as f:
            f.truncate(1 << 20)
        with open("disk", "rb") as f, open("head", "wb") as to:
            to.write(f.read(512))
        for script, said in [
                (["write -s head 0 512"], "Operation not permitted"),
                (["write -P 0x51 0 1", "write -P 0x46 1 1",
                  "write -P 0x49 2 1", "write -P 0xfb 3 1"],
                 "Operation not permitted"),
                (["write -s head 4096 512", "write -P 1 0 512"], None)]:
            result = case.run(f"{self.dir}/bin/qemu-io", *commands(script),
                              "guess.raw")
            self.assertIn("-f does not say", result.err)
            self.assertEqual(result.status, 1 if said else 0, result.out)
            if said:
                self.assertIn(said, result.out)
        result = self.io("write -s head 0 512",
                         args=["-f", "raw", "guess.raw"])
        self.assertEqual(result.status, 0)

    def test_nothing_is_opened_that_may_not(self):
        os.makedirs("away", exist_ok=True)
        self.new("away/base")
        self.new("over", "-b", os.path.abspath("away/base"), "-F", "qcow2")
        for args in [["over"], ["-s", "over"]]:
            self.assert_refused(self.io("length", args=args), "external")
            self.assertEqual(self.io("length", args=["--external=any",
                                                     *args]).status, 0)
        self.new("near", "-b", "away/base", "-F", "qcow2")
        for args in [["near"], ["-s", "near"]]:
            self.assertEqual(self.io("read -P 0 0 4M", args=args).status, 0)
            self.assert_refused(self.io("length",
                                        args=["--external=none", *args]),
                                "external")

    def test_what_waits_is_told_while_nothing_is_typed(self):
        job = self.talk("disk")
        job.stdin.write(b"aio_write -P 1 0 64k\n")
        told = self.wait_for(job, b"wrote 65536/65536 bytes at offset 0")
        self.assertIn(b"qcow2> ", told)
        job.stdin.write(b"read -P 1 0 64k\nquit\n")
        self.wait_for(job, b"read 65536/65536")
        self.assertEqual(job.wait(timeout=20), 0)
        job.stdin.close()
        job.stdout.close()

    def test_a_terminal_is_served(self):
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(f"{self.dir}/bin/qcow2", ["qcow2", "io", "-r", "disk"])
        os.write(fd, b"length\n")
        found = b""
        while b"4 MiB" not in found:
            found += os.read(fd, 4096)
        os.write(fd, b"\x04")
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        os.close(fd)

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_writes_of_the_background_overlap_in_time(self):
        """The first write of each thread is held up: the second begins before
        the first has ended."""
        self.new("held")
        self.io("write 0 1M", args=["held"])
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "trace", "-e", "trace=pwritev2",
             "-e", "inject=pwritev2:delay_enter=700000:when=1",
             f"{self.dir}/bin/qcow2", "io", "-t", "unsafe",
             "-c", "aio_write -P 1 0 64k", "-c", "aio_write -P 2 64k 64k",
             "-c", "aio_flush", "-c", "read -P 1 0 64k",
             "-c", "read -P 2 64k 64k", "held"],
            capture_output=True, check=False, env=case.UNDER_STRACE)
        if b"Operation not permitted" in done.stderr:
            self.skipTest("tracing is not allowed here")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with open("trace", encoding="ascii") as f:
            first, second = [line for line in f if "pwritev2" in line][:2]
        self.assertRegex(first, r"pwritev2\(.*65536.*<unfinished")
        self.assertRegex(second, r"pwritev2\(.*65536")
        self.assertNotEqual(first.split()[0], second.split()[0])

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_cache_modes_do_what_they_say(self):
        """The command asks the disk to make things durable as often as the
        mode says."""
        counts = {}
        for mode in ["writeback", "writethrough", "unsafe"]:
            self.new("cached")
            self.io("write 0 1M", "flush", args=["cached"])
            done = subprocess.run(
                ["strace", "-f", "-qq", "-o", "trace", "-e",
                 "trace=fdatasync,fsync", f"{self.dir}/bin/qcow2", "io", "-t",
                 mode, *commands(["write -P 1 0 4k", "write -P 2 8k 4k",
                                  "writev -P 3 16k 4k", "discard 512k 64k",
                                  "write -z 256k 64k", "flush"]), "cached"],
                capture_output=True, check=False, env=case.UNDER_STRACE)
            if b"Operation not permitted" in done.stderr:
                self.skipTest("tracing is not allowed here")
            self.assertEqual(done.returncode, 0, done.stderr)
            with open("trace", encoding="ascii") as f:
                counts[mode] = len(re.findall(r"f(?:data)?sync\(", f.read()))
        self.assertEqual(counts["unsafe"], 0)
        self.assertGreaterEqual(counts["writethrough"], 5)
        self.assertLess(0, counts["writeback"])
        self.assertLess(counts["writeback"], counts["writethrough"])

    def test_discard_frees_space_when_told_to(self):
        for mode, freed in [("ignore", False), ("unmap", True)]:
            self.new("holes")
            self.io("write -P 1 0 4M", args=["holes"])
            before = os.stat("holes").st_blocks
            self.io("discard 0 3M", args=["-d", mode, "holes"])
            after = os.stat("holes").st_blocks
            self.assertEqual(after < before // 2, freed)

    def test_a_failed_reopen_leaves_the_disk_as_it_was(self):
        self.new("again")
        result = self.io("write -P 5 0 64k", "reopen -o driver=raw",
                         "read -P 5 0 64k", "reopen -c none",
                         "reopen -o l2-cache-entry-size=3", "write 64k 64k",
                         args=["again"])
        self.assertEqual(result.status, 1)
        self.assertIn("wrote 65536/65536 bytes at offset 65536", result.out)

    def test_s16_bitmaps_that_a_write_drops_are_told(self):
        self.theirs("create", "-f", "qcow2", "tracked", "1M")
        self.theirs("bitmap", "--add", "tracked", "b")
        result = self.io("open tracked", "write 0 64k", args=[])
        self.assertIn("1 persistent bitmap will be invalid", result.err)
        self.assertNotIn("persistent",
                         self.io("open -r tracked", args=[]).err)

    def test_keys_of_the_engine(self):
        for keys, status in [
                ("lazy-refcounts=on", 0), ("overlap-check=all", 0),
                ("overlap-check=none,overlap-check.main-header=on", 0),
                ("overlap-check.inactive-l2=off,cache-clean-interval=5", 0),
                ("cache-size=1M,refcount-cache-size=256k", 0),
                ("backing=,discard-no-unref=on", 0),
                ("cache-size=3M,l2-cache-size=3M", 0),
                ("l2-cache-size=9223372036854775808", 0),
                ("refcount-cache-size=9223372036854775808", 1),
                ("l2-cache-size=2M,cache-size=1M", 1),
                ("refcount-cache-size=2M,cache-size=1M", 1),
                ("cache-size=4M,l2-cache-size=2M,refcount-cache-size=1M", 1),
                ("l2-cache-entry-size=0", 1),
                # S10
                ("overlap-check=all,overlap-check.template=none", 1),
                ("auto-read-only=maybe", 1),
                ("refcount-cache-size=1P", 1),
                ("overlap-check=some", 1), ("overlap-check.some=on", 1),
                ("lazy-refcounts=perhaps", 1), ("cache-size=x", 1),
                ("backing=base", 1), ("detect-zeroes=on", 1)]:
            with self.subTest(keys):
                self.new("keyed")
                result = self.io(f"open -o {keys} keyed", "write 0 1k",
                                 args=[])
                self.assertEqual(result.status, status, result.err)
                if status:
                    self.assertIn(keys.split("=")[0], result.err)

    def test_compressing_what_is_there_replaces_it(self):
        self.new("packed")
        result = self.io("write 0 64k", "write -c -P 3 0 64k",
                         "read -P 3 0 64k", args=["packed"])
        self.assertEqual(result.status, 0, result.out)

    def test_a_long_line(self):
        job = subprocess.run(
            [f"{self.dir}/bin/qcow2", "io", "disk"], capture_output=True,
            input=b"readv 0" + b" 1" * 20000 + b"\nlength\n", check=False)
        self.assertIn(b"read 20000/20000 bytes at offset 0", job.stdout)
        self.assertIn(b"4 MiB", job.stdout)

    def test_damage_is_explained(self):
        self.io("write 0 64k")
        h = images.Header("disk")
        h.put(">Q", h.l2, h.get(">Q", h.l2) + 512).save("damaged")
        result = self.io("read 0 64k", args=["-r", "damaged"])
        self.assertEqual(result.status, 1)
        self.assertIn("read failed: Input/output error", result.out)
        self.assertIn("damaged", result.err)


if __name__ == "__main__":
    case.main(needs_qemu=False)
