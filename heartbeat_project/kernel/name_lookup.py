"""Looks up the addresses of a host within a time limit."""

import queue
import socket
import threading

import httpcore


def resolve(host: str, port: int, *, seconds: float) -> list[str]:
    """Return the addresses of a host without duplicates, in the system's order. Raises ConnectError, ConnectTimeout.

    The system's lookup has no time limit, so it runs in a thread that is abandoned when it takes too long.
    """
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(row[4][0]) for row in rows)))
        except Exception as error:  # noqa: BLE001 - raised again in the waiting thread
            answers.put(error)

    try:
        threading.Thread(target=look_up, daemon=True, name="resolve").start()
    except RuntimeError as error:  # the interpreter is ending
        raise httpcore.ConnectError(f"the address of {host} was not looked up: {error}") from error
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise httpcore.ConnectTimeout(f"the address of {host} was not found within {seconds:.0f} seconds") from None
    if isinstance(answer, Exception):
        raise httpcore.ConnectError(f"the address of {host} was not found: {answer}") from answer
    return answer
