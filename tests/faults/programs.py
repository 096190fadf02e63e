"""Programs of the machine that tests need: installed from Debian where that may be done."""

import os
import shutil
import subprocess


def program(name: str) -> str:
    """Return the path of a program, whose Debian package has the same name; install it if it is not there."""
    folders = f"{os.environ['PATH']}:/usr/sbin"
    if shutil.which(name, path=folders) is None:
        install = f"apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes {name}"
        done = subprocess.run(["sh", "-c", install], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name} is needed (Debian: apt-get install {name}):\n{done.stderr}"
    found = shutil.which(name, path=folders)
    assert found is not None
    return found
