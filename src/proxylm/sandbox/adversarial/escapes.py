"""Programs that reach for the host: its files, processes, network, kernel."""

from __future__ import annotations

from proxylm.sandbox.adversarial.attack import Attacks, escape

FILES: Attacks = (
    escape("reading a host file", 'escaped = "secret" in open("@SECRET_FILE@").read()'),
    escape(
        "thousands of empty files, which take the kernel's memory",
        """
        import os
        for folder in ("/tmp", "/var/tmp", "/dev/shm", "/dev", "/", "."):
            try:
                for number in range(5000):
                    os.close(os.open(f"{folder}/empty-{number}", os.O_CREAT | os.O_WRONLY))
                break
            except OSError:
                continue
        else:
            escaped = False
        """,
    ),
    escape("reading /etc/passwd", 'escaped = "root" in open("/etc/passwd").read()'),
    escape(
        "listing host folders",
        """
        import os
        escaped = any(map(os.listdir, ("@SECRET_FOLDER@", "/home", "/etc", "/root", "/proc")))
        """,
    ),
    escape(
        "reading a host file past the parents of the working folder",
        'escaped = "root" in open("../../../../../../../../etc/hostname/../passwd").read()',
    ),
    escape(
        "reading a host file through its own descriptors",
        """
        import os
        for number in range(64):
            try:
                path = f"/proc/self/fd/{number}/../../../../../../.."
                escaped = "root" in open(path + "/etc/passwd").read()
                break
            except OSError:
                escaped = False
        """,
    ),
    escape(
        "opening by descriptor",
        """
        import os
        for number in range(64):
            try:
                os.open("../../../../../../../etc/passwd", os.O_RDONLY, dir_fd=number)
                break
            except OSError:
                pass
        else:
            escaped = False
        """,
    ),
    escape(
        "the environment of the host",
        """
        import os
        found = str(dict(os.environ))
        for process in ("self", "1", os.getppid()):
            try:
                found += open(f"/proc/{process}/environ").read()
            except OSError:
                pass
        escaped = "@ENVIRONMENT_SECRET@" in found
        """,
    ),
    escape(
        "other processes' command lines",
        """
        import os
        mine = os.getpid()
        escaped = any(
            open(f"/proc/{name}/cmdline").read()
            for name in os.listdir("/proc") if name.isdigit() and int(name) != mine)
        """,
    ),
    escape(
        "installed packages, which may hold the answers",
        """
        import sys
        sys.path += ["@PACKAGES@"]
        import @PACKAGE@
        """,
    ),
    escape(
        "writing where everybody may",
        'open("@OPEN_FOLDER@/written", "w").write("x")',
    ),
    escape(
        "overwriting the worker",
        """
        import sys
        open(sys.modules["worker"].__file__, "a").write("# overwritten")
        """,
    ),
    escape(
        "overwriting the standard library",
        'import os\nopen(os.__file__, "a").write("# overwritten")',
    ),
    escape(
        "removing a host file",
        'import os\nos.remove("@OPEN_FILE@")',
    ),
    escape(
        "linking to a host file",
        'import os\nos.link("@SECRET_FILE@", "@OPEN_FOLDER@/linked")',
    ),
    escape(
        "leaving a link",
        'import os\nos.symlink("/etc/passwd", "@OPEN_FOLDER@/linked")',
    ),
    escape(
        "opening permissions",
        'import os\nos.chmod("@OPEN_FILE@", 0o4777)',
    ),
    escape(
        "touching a host file's times",
        'import os\nos.utime("@OPEN_FILE@", (1, 1))',
    ),
    escape(
        "shared memory that stays",
        """
        from multiprocessing import shared_memory
        shared_memory.SharedMemory("proxylm-escape", create=True, size=4096)
        """,
    ),
    escape(
        "System V memory that stays",
        """
        import ctypes
        escaped = ctypes.CDLL(None).shmget(@IPC_KEY@, 4096, 0o1666) >= 0
        """,
    ),
)

PROCESSES: Attacks = (
    escape(
        "a daemon",
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in range(64):
                    try:
                        os.close(number)
                    except OSError:
                        pass
                time.sleep(3600)
            os._exit(0)
        escaped = os.path.exists("/proc/1/cmdline")
        """,
    ),
    escape(
        "a shell",
        """
        import subprocess
        subprocess.run(["/bin/sh", "-c", "touch @OPEN_FOLDER@/shell"], check=True)
        """,
    ),
    escape(
        "os.system",
        'import os\nescaped = os.system("touch @OPEN_FOLDER@/system") == 0',
    ),
    escape(
        "another program in its place",
        'import os\nos.execv("/bin/sh", ["sh", "-c", "touch @OPEN_FOLDER@/exec"])',
    ),
    escape(
        "multiprocessing",
        """
        import multiprocessing
        child = multiprocessing.Process(target=open, args=("@OPEN_FOLDER@/child", "w"))
        child.start()
        child.join()
        escaped = child.exitcode == 0
        """,
    ),
    escape(
        "kill(-1)",
        """
        import os, signal
        os.kill(-1, signal.SIGKILL)
        escaped = False
        """,
    ),
    escape(
        "killing a process of the host",
        "import os, signal\nos.kill(@VICTIM@, signal.SIGKILL)",
    ),
    escape(
        "killing its parent",
        """
        import os, signal
        os.kill(os.getppid(), signal.SIGKILL)
        escaped = False
        """,
    ),
    escape(
        "killing its group",
        """
        import os, signal
        os.killpg(0, signal.SIGKILL)
        escaped = False
        """,
    ),
    escape(
        "a signal by way of a pipe",
        """
        import fcntl, os, signal
        reader, writer = os.pipe()
        fcntl.fcntl(reader, fcntl.F_SETOWN, @VICTIM@)
        fcntl.fcntl(reader, 10, signal.SIGKILL)
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
        os.write(writer, b"x")
        """,
    ),
    escape(
        "limits of another process",
        "import resource\nresource.prlimit(@VICTIM@, resource.RLIMIT_CPU, (0, 0))",
    ),
    escape(
        "limits raised",
        """
        import resource
        free = (resource.RLIM_INFINITY,) * 2
        for limit in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
            resource.setrlimit(limit, free)
        """,
    ),
)

NETWORK: Attacks = (
    escape(
        "a socket to loopback",
        'import socket\nsocket.create_connection(("127.0.0.1", @PORT@), timeout=0.5)',
    ),
    escape(
        "a datagram to loopback",
        """
        import socket
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", @PORT@))
        """,
    ),
    escape(
        "a listening socket",
        'import socket\nsocket.create_server(("0.0.0.0", 0))',
    ),
    escape(
        "an abstract Unix socket",
        'import socket\nsocket.socket(socket.AF_UNIX).connect("\\0@UNIX_NAME@")',
    ),
    escape(
        "a Unix socket among the host's files",
        'import socket\nsocket.socket(socket.AF_UNIX).bind("@OPEN_FOLDER@/socket")',
    ),
    escape(
        "a raw socket",
        "import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    ),
    escape(
        "a netlink socket",
        "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    ),
)


def _call(expression: str) -> str:
    """A call of the C library that fails by a number below zero."""
    return f"""
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        escaped = {expression} >= 0
        """


# Numbers by architecture: the witnesses fill in this machine's.
KERNEL_CALLS = {
    "x86_64": {"CLONE": 56, "ADD_KEY": 248, "PERF": 298, "BPF": 321},
    "aarch64": {"CLONE": 220, "ADD_KEY": 217, "PERF": 241, "BPF": 280},
}

KERNEL: Attacks = (
    escape("becoming root", "import os\nos.setuid(0)"),
    escape("becoming another uid", "import os\nos.setresuid(1000, 1000, 1000)"),
    escape("new root folder", 'import os\nos.chroot("/tmp")'),
    escape("ptrace of its parent", _call("libc.ptrace(16, os.getppid(), 0, 0)")),
    escape("memory of its parent", 'import os\nopen(f"/proc/{os.getppid()}/mem", "r+b")'),
    escape("mount", _call('libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)')),
    escape("unshare of user and mounts", _call("libc.unshare(0x10020000)")),
    escape("unshare of the network", _call("libc.unshare(0x40000000)")),
    escape(
        "entering another namespace",
        'import ctypes, os\nassert not ctypes.CDLL(None).setns(os.open("/proc/1/ns/net", 0), 0)',
    ),
    escape("a key that stays", _call('libc.syscall(@ADD_KEY@, b"user", b"k", b"x", 1, -4)')),
    escape("io_uring", _call("libc.syscall(425, 4, (ctypes.c_char * 256)())")),
    escape("a file in memory to execute", _call('libc.memfd_create(b"x", 0)')),
    escape("perf events", _call("libc.syscall(@PERF@, (ctypes.c_char * 256)(), 0, -1, -1, 0)")),
    escape(
        "a program for the kernel", _call("libc.syscall(@BPF@, 0, (ctypes.c_char * 256)(), 64)")
    ),
    escape("surviving its parent", _call("libc.prctl(1, 0, 0, 0, 0)")),
    escape("a process in a new network", _call("libc.syscall(@CLONE@, 0x40000011, 0, 0, 0, 0)")),
    escape("the kernel's log", _call("libc.klogctl(3, (ctypes.c_char * 4096)(), 4096)")),
    escape("a device node", 'import os, stat\nos.mknod("/tmp/node", stat.S_IFCHR | 0o666, 259)'),
    escape("the clock", "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)"),
    escape("the host's name", 'import socket\nsocket.sethostname("escaped")'),
    escape("higher priority", "import os\nos.nice(-5)"),
)

ESCAPES: Attacks = (*FILES, *PROCESSES, *NETWORK, *KERNEL)
