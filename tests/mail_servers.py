"""Our own mail server in a thread of the tests, with their database."""

import asyncio
import contextlib
import smtplib
import socket
import threading
from dataclasses import replace

from psycopg.conninfo import make_conninfo

from integrations.smtp.config import Config, listen
from integrations.smtp.server import connection_factory
from integrations.smtp.store import Store
from tests.databases import parameters

DOMAIN = "alerts.example.org"
NOWHERE = "postgres://x@127.0.0.1:1/x"


def config_of(connection, *, secret):
    """Return settings with the database of this connection, on a free port."""
    left_out = {"prepare_threshold"}
    conninfo = {name: value for name, value in parameters(connection).items() if name not in left_out}
    return Config(
        host="127.0.0.1",
        port=0,
        domain=DOMAIN,
        database_url=make_conninfo(**conninfo),
        reply_address="alerts@reply.example.org",
        secrets=["former", secret],
    )


class MailServer:
    """The mail server in a thread of its own, on a free port."""

    def __init__(self, config, limits):
        self.config, self.limits = config, limits
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self):
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.store = Store(self.config)
        sockets = listen(self.config)
        self.port = sockets[0].getsockname()[1]
        factory = connection_factory(self.config, self.store, self.limits)
        server = await self.loop.create_server(factory, sock=sockets[0])
        self._ready.set()
        await self._stop.wait()
        server.close()
        await self.store.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def client(self):
        return smtplib.SMTP("127.0.0.1", self.port, timeout=10)

    def lose_the_database(self):
        """Let all that follows find no database, as when it is stopped."""
        self.store._config = replace(self.config, database_url=NOWHERE)
        asyncio.run_coroutine_threadsafe(self.store.close(), self.loop).result(10)

    def say(self, *lines):
        """Send bytes as they are, and return all that is answered until the server closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as talk:
            talk.sendall(b"".join(lines))
            answers = b""
            with contextlib.suppress(TimeoutError):
                while part := talk.recv(65_536):
                    answers += part
            return answers.decode()
