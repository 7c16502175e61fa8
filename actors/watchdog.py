"""No orphans: a process ends when what started it is gone.

Without it a store whose raylet was killed still held its database 40 seconds later, and one whose GCS was killed for a
minute (measured). A connection that is *refused* tells that nobody listens there any more; a slow machine does not.
"""

from __future__ import annotations

import os
import socket
import threading
import time

#: seconds between two looks at the parent, and how many of them lie between two looks at the address
LOOK_S = 0.25
LOOKS = 4
#: refusals in a row that mean that nobody will come back
REFUSALS = 4


def exit_with_parent(address: str = "") -> None:
    """End this process, at once and whatever it does, when its parent process has ended.

    Args:
        address: `host:port` of another process that it cannot live without; empty: none.
    """
    parent = os.getppid()

    def watch() -> None:
        refusals = looks = 0
        while os.getppid() == parent and refusals < REFUSALS:
            time.sleep(LOOK_S)
            looks += 1
            if address and looks % LOOKS == 0:
                refusals = refusals + 1 if is_refused(address) else 0
        os._exit(1)

    threading.Thread(target=watch, name="watchdog", daemon=True).start()


def is_refused(address: str) -> bool:
    """Whether nobody listens at `host:port`. Silence is not a refusal."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=LOOK_S * LOOKS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
