"""Loads every file of a folder in a process with little memory, and tells what came of it.

Run as `python weights_child.py FOLDER`: prints one JSON object a file: its name, "result" (what was raised, or
"loaded"), "message", "seconds" of processor time, and "events": what Python's audit hooks saw that no reading of data
needs. A last line tells the peak memory in bytes.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

import minicnn

MEMORY = 400 * 2**20  # of address space, above what the interpreter with NumPy takes

QUIET = ("builtins.id", "object.__getattr__", "sys._getframe")  # events that have no effect


def main(folder: Path) -> None:
    np.savez(folder / "warm.npz", x=np.ones(2))  # what is imported on first use is imported now
    minicnn.load(folder / "warm.npz")
    (folder / "warm.npz").unlink()
    files = sorted(folder.iterdir())
    events: list[str] = []
    reading = [""]

    def listen(event: str, args: tuple) -> None:
        if reading[0] and event not in QUIET and not (event == "open" and args[0] == reading[0]):
            events.append(f"{event} {str(args)[:80]}")

    sys.addaudithook(listen)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for path in files:
        events.clear()
        result, message = "loaded", ""
        start = time.process_time()
        reading[0] = str(path)
        try:
            minicnn.load(path)
        except BaseException as error:
            result, message = type(error).__name__, str(error)
        reading[0] = ""
        seconds = time.process_time() - start
        print(
            json.dumps({"name": path.name, "result": result, "message": message, "seconds": seconds, "events": events})
        )
    # not ru_maxrss, which a child inherits from its parent
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
