"""What a hardened unit must not be able to do, as a program that tries it all from inside."""

from __future__ import annotations

PROBE = r'''
"""Run by the unit itself, as ExecStartPost: everything here has to fail."""
import ctypes, json, mmap, os, socket, sys

libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def write(path):
    def attempt():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666))
    return attempt

def executable_memory():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)

def setuid_file():
    path = "/var/lib/coordd/setuid"
    write(path)()
    try:
        os.chmod(path, 0o4755)
    finally:
        os.unlink(path)

attempts = {
    "write " + path: write(path)
    for path in (
        "/etc/coordd/coordd.toml", "/etc/passwd", "/usr/bin/new", "/opt/coordd/bin/coordd", "/root/new",
        "/home/ann/new", "/home/ann/src/app/.claude/coordination/agents/x.heartbeat", "/boot/new", "/srv/new",
        "/var/lib/new", "/var/log/new", "/run/new", "/proc/sys/kernel/domainname", "/sys/fs/cgroup/new",
        "/dev/new", "/etc/cron.d/new",
        # open to everybody: here only the sandbox is in the way
        "/etc/open/new", "/usr/open/new", "/srv/open/new", "/home/ann/open/new", "/var/lib/open/new",
        "/run/open/new", "/run/lock/new", "/dev/shm/new",
    )
} | {
    "become root": lambda: os.setuid(0),
    "change an owner": lambda: os.chown("/var/lib/coordd", 0, 0),
    "make a setuid file": setuid_file,
    "mount": lambda: call("mount", b"x", b"/mnt", b"tmpfs", 0, None),
    "new namespace": lambda: call("unshare", 0x10000000),
    "raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "kill another": lambda: os.kill(1, 15),
    "realtime": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "host name": lambda: socket.sethostname("new"),
    "set the clock": lambda: __import__("time").clock_settime(0, 0),
    "read the kernel log": lambda: os.open("/dev/kmsg", os.O_RDONLY),
    "read shadow": lambda: os.open("/etc/shadow", os.O_RDONLY),
    "a device": lambda: os.mknod("/var/lib/coordd/null", 0o20666, os.makedev(1, 3)),
    "executable memory": executable_memory,
    "personality": lambda: call("personality", 0x0040000),
}
outcome = {}
for name, attempt in attempts.items():
    try:
        attempt()
        outcome[name] = "SUCCEEDED"
    except (OSError, PermissionError) as error:
        outcome[name] = error.strerror
with open("/var/lib/coordd/probe.json", "w") as file:
    json.dump(outcome, file)
'''
