"""Ask the kernel who holds which flock(2), without taking any."""

from __future__ import annotations

TABLE = "/proc/locks"


def flock_holders() -> dict[int, list[int]] | None:
    """Return the pids that hold an flock, by the inode number of the file; None without /proc.

    Pids are as this process's pid namespace has them; 0 stands for one that it does not see. The device is
    left out: on overlayfs and btrfs it differs from that of stat(2).
    """
    try:
        with open(TABLE, encoding="ascii", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return None
    found: dict[int, list[int]] = {}
    for row in rows:
        if len(row) > 5 and row[1] == "FLOCK":
            inode, pid = row[5].rpartition(":")[2], row[4]
            if inode.isdigit() and pid.isdigit():
                found.setdefault(int(inode), []).append(int(pid))
    return found
