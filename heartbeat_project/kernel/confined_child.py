"""Start a confined child: `confined_child.py CPU_SECONDS MEMORY_MIB ANSWER_BYTES PARSER`."""

import contextlib
import errno
import os
import resource
import runpy
import sys

TOO_MUCH_MEMORY = 71
TOO_LONG_AN_ANSWER = 72


def main(cpu_seconds: str, memory_mib: str, answer_bytes: str, parser: str) -> None:
    """Set the limits of this process and run the script at the path `parser`."""
    limits = {
        resource.RLIMIT_CPU: int(cpu_seconds),
        resource.RLIMIT_FSIZE: int(answer_bytes),
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_AS: int(memory_mib) * 1024 * 1024,
    }
    for resource_id, limit in limits.items():
        # macOS cannot limit the address space; there, the time limits alone stop the child.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource_id, (limit, limit))
    try:
        runpy.run_path(parser, run_name="__main__")
        sys.stdout.flush()
    except MemoryError:
        os._exit(TOO_MUCH_MEMORY)
    except OSError as error:
        os._exit(TOO_LONG_AN_ANSWER if error.errno == errno.EFBIG else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
