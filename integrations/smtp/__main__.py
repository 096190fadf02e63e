"""Run the mail server: `python -m integrations.smtp`.

Until the first connection comes, the process only waits for it, and has neither the server nor the database's driver
in memory.
"""

import logging
import os
import select
import socket
import sys
import time
from contextlib import suppress

from heartbeat_project.variables import VariableError, resolved_variables
from integrations.smtp.config import Config, ConfigError, listen

log = logging.getLogger("integrations.smtp")
# Seconds until the next try to listen, if another program has the port.
AGAIN_AFTER = 30.0


def main() -> int:
    """Wait for mails until the process is stopped; return an exit code if a setting is wrong, or it is turned off."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        config = Config.read(resolved_variables(os.environ))
    except (ConfigError, VariableError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - as other processes do
        return 1
    if not config.port:
        note_fault(config, "The mail server is turned off: HEARTBEAT_SMTP_PORT is 0.")
        return 0
    sockets = _listen(config)
    select.select(sockets, [], [])
    from integrations.smtp.server import serve  # noqa: PLC0415 - only now: see above

    serve(config, sockets)
    return 0


def _listen(config: Config) -> list[socket.socket]:
    """Return the sockets; as long as another program has the port, try again."""
    is_noted = False
    while True:
        try:
            sockets = listen(config)
        except OSError as error:
            reason = f"Mails are not received: cannot listen on {config.host}, port {config.port}: {error.strerror}."
            if not is_noted:
                log.warning("%s Set HEARTBEAT_SMTP_PORT to another, or to 0.", reason)
                note_fault(config, reason)
                is_noted = True
            time.sleep(AGAIN_AFTER)
        else:
            note_fault(config, "")
            if is_noted:
                log.warning("Mails are received on %s, port %d.", config.host, config.port)
            return sockets


def note_fault(config: Config, reason: str) -> None:
    """Write into the data folder why no mails are received; without a reason, they are."""
    if config.fault_file is None:
        return
    with suppress(OSError):
        if reason:
            config.fault_file.write_text(reason, "utf-8")
        else:
            config.fault_file.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
