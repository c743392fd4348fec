"""The rules for every command on every image, with any defect: the program
ends by itself, soon, with little memory, with clean text, without touching the
image and without opening what it was not given."""

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import re
import resource
import shutil
import struct
import subprocess

CPU_SECONDS = 2
ADDRESS_SPACE = 256 << 20
WALL_SECONDS = 60
# The exit code that sanitizers are told to use.
SANITIZER_EXIT = 99

ALLOWED_PREFIXES = ('/lib', '/usr/lib', '/usr/local/lib', '/etc/ld.so',
                    '/proc/self/maps', '/proc/self/cmdline',
                    '/proc/self/task', '/proc/self/fd', '/proc/self/mountinfo',
                    '/proc/cpuinfo', '/proc/meminfo', '/proc/sys/',
                    '/proc/stat', '/proc/self/status', '/proc/self/cgroup',
                    '/proc/self/exe', '/proc/self/environ',
                    '/sys/devices/system/cpu', '/sys/fs/cgroup',
                    '/usr/share/locale', '/usr/share/zoneinfo',
                    '/etc/localtime')


class Result:
    def __init__(self, code, out, err, cpu):
        self.code, self.out, self.err, self.cpu = code, out, err, cpu
        self.opened = []


class Runner:
    def __init__(self, sanitized=False):
        self.sanitized = sanitized
        self.strace = find_strace()
        self.address_space = contextlib.nullcontext
        if not sanitized:
            self.address_space = small_address_space
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def environment(self, traced):
        env = dict(os.environ, LC_ALL='C', MALLOC_ARENA_MAX='1')
        # The leak checker uses ptrace, as strace does.
        leaks = 0 if traced else 1
        env['ASAN_OPTIONS'] = (f'exitcode={SANITIZER_EXIT}:abort_on_error=0:'
                               f'detect_leaks={leaks}:'
                               'allocator_may_return_null=1')
        env['UBSAN_OPTIONS'] = ('halt_on_error=1:print_stacktrace=1:'
                                f'exitcode={SANITIZER_EXIT}')
        return env

    def start(self, argv, seconds, **how):
        """Starts argv within limits.  No shell or function sets them in the
        child, which takes longer than most commands do, unless it must: then
        `seconds` is None."""
        with self.address_space():
            child = subprocess.Popen(argv, **how)
        if seconds:
            resource.prlimit(child.pid, resource.RLIMIT_CPU,
                             (seconds, seconds + 1))
        return child

    def traced(self, argv, trace, seconds):
        """argv under strace, whose child must not start before its limit is
        set."""
        return ['/bin/sh', '-c',
                f'ulimit -St {seconds}; ulimit -Ht {seconds + 1}; exec "$@"',
                'sh', self.strace, '-f', '-qq', '-s', '4096', '-e',
                'trace=open,openat,openat2,connect,execve', '-o', trace, *argv]

    def run(self, argv, cwd, cpu=None, trace=None, limits=None):
        """Runs argv; None for the code when it had to be killed.  `trace`:
        file for strace's log; `limits`: sets other limits in the child."""
        seconds = (cpu or CPU_SECONDS) * (20 if self.sanitized else 1)
        start = functools.partial(self.start, seconds=seconds)
        if trace and self.strace:
            argv = self.traced(argv, trace, seconds)
            start = functools.partial(self.start, seconds=None)
        if limits:
            start = subprocess.Popen
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with start(
                argv, cwd=cwd, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=self.environment(bool(trace)),
                preexec_fn=limits, close_fds=False) as p:
            try:
                out, err = p.communicate(timeout=WALL_SECONDS)
                code = p.returncode
            except subprocess.TimeoutExpired:
                p.kill()
                out, err = p.communicate()
                code = None
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = (after.ru_utime - before.ru_utime +
                after.ru_stime - before.ru_stime)
        r = Result(code, out, err, used)
        if trace and self.strace:
            r.opened = parse_trace(trace)
        return r


@contextlib.contextmanager
def small_address_space():
    """Processes that are started in it have little."""
    usual = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, usual)


def find_strace():
    """strace, if it is here and may trace."""
    path = shutil.which('strace')
    if not path:
        return None
    run = subprocess.run([path, '-qq', '-o', '/dev/null', 'true'],
                         capture_output=True, check=False)
    return path if run.returncode == 0 else None


def trouble(r):
    """Returns complaints about things that no program may do."""
    if r.code is None:
        return [f'did not end within {WALL_SECONDS} s']
    out = []
    if r.code < 0 or r.code >= 128:
        out.append(f'died of signal {abs(r.code) & 127}')
    text = r.err.decode('utf-8', 'replace')
    if (r.code == SANITIZER_EXIT or 'Sanitizer' in text or
            'runtime error:' in text):
        out.append('sanitizer report: ' + text[:1500])
    if 'ssertion' in text:
        out.append('assertion: ' + text[:300])
    return out + dirty_text('stderr', r.err) + dirty_text('stdout', r.out)


FORBIDDEN = re.compile('[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069'
                       '\u200e\u200f]')


def dirty_text(name, data):
    try:
        text = data.decode('utf-8')
    except UnicodeDecodeError as e:
        return [f'{name} is not UTF-8: {e}']
    found = FORBIDDEN.search(text)
    if found:
        at = found.start()
        return [f'{name} has a control character: '
                f'{text[max(0, at - 30):at + 30]!r}']
    return []


def bad_json(data):
    try:
        json.loads(data)
    except ValueError as e:
        return [f'stdout is not JSON: {e}: {data[:200]!r}']
    return []


# Files that were opened -------------------------------------------------

# The loader looks for libraries in many places, the build directory too.
LIBRARY = re.compile(r'\.so(\.[0-9]+)*$')
CALL = re.compile(r'^\d+\s+(open|openat|openat2|connect|execve)\((.*)$')
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


def parse_trace(path):
    """(call, name, how, succeeded) of each traced system call.  strace may
    split a call over two lines; the first has the arguments."""
    calls = []
    with open(path, encoding='utf-8', errors='replace') as f:
        for line in f:
            m = CALL.match(line)
            if not m:
                continue
            s = STRING.search(m.group(2))
            name = s.group(1) if s else ''
            failed = re.search(r'= -1 E', line) is not None
            calls.append((m.group(1), name, m.group(2), not failed))
    return calls


def foreign_opens(calls, allowed):
    """Complaints about opens outside `allowed` (paths, or directories ending
    in a slash) and the system's own files.  A name that openat2 was asked to
    resolve beneath a directory and refused was not opened."""
    out = []
    for call, name, args, succeeded in calls[1:]:
        if call == 'connect':
            if 'AF_UNIX' in args and 'nscd' in args:
                continue
            out.append(f'connect({args[:80]}')
        elif call == 'execve':
            out.append(f'execve {name}')
        elif call == 'openat2' and 'RESOLVE_BENEATH' in args and not succeeded:
            continue
        elif not is_allowed(name, allowed, args):
            out.append(f'{call} {name!r} {"ok" if succeeded else "failed"}')
    return out


def is_allowed(name, allowed, args):
    if name.startswith(ALLOWED_PREFIXES) or LIBRARY.search(name):
        return True
    if not name.startswith('/') and 'AT_FDCWD' not in args:
        return True    # beneath a directory that was opened before
    if allowed == ('/',):
        return True
    return any(name == a or a.endswith('/') and name.startswith(a) or
               name == a.rstrip('/') for a in allowed)


class Trap:
    """Notices every open of a directory's files, without tracing."""

    IN_OPEN, IN_ACCESS, IN_ISDIR = 0x20, 0x01, 0x40000000

    def __init__(self, *directories):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd >= 0:
            for d in directories:
                libc.inotify_add_watch(self.fd, os.fsencode(d),
                                       self.IN_OPEN | self.IN_ACCESS)

    def sprung(self):
        """Names of files that were opened since last asked."""
        names = set()
        while self.fd >= 0:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                break
            at = 0
            while at < len(data):
                _, mask, _, n = struct.unpack_from('iIII', data, at)
                name = data[at + 16:at + 16 + n].rstrip(b'\0')
                if name and not mask & self.IN_ISDIR:
                    names.add(name.decode('utf-8', 'replace'))
                at += 16 + n
        return sorted(names)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def data_of(fd, size):
    """The ranges of a file that are no holes."""
    end = 0
    while end < size:
        try:
            at = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(fd, at, os.SEEK_HOLE)
        yield at, end


def fingerprint(path):
    """Size and contents of a file, holes skipped."""
    h = hashlib.blake2b()
    with open(path, 'rb', buffering=0) as f:
        size = os.fstat(f.fileno()).st_size
        h.update(str(size).encode())
        for at, end in data_of(f.fileno(), size):
            while at < end:
                data = os.pread(f.fileno(), min(end - at, 1 << 20), at)
                if data.strip(b'\0'):
                    h.update(struct.pack('>Q', at) + data)
                at += len(data)
    return h.hexdigest()


def copy(source, target):
    """Copies a file, holes as holes."""
    with open(source, 'rb', buffering=0) as f, \
            open(target, 'wb', buffering=0) as out:
        size = os.fstat(f.fileno()).st_size
        for at, end in data_of(f.fileno(), size):
            while at < end:
                data = os.pread(f.fileno(), min(end - at, 1 << 20), at)
                os.pwrite(out.fileno(), data, at)
                at += len(data)
        out.truncate(size)
