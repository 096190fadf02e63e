"""The health check of a container: `python -m heartbeat_project.probe [PART] [URL]`; it does not start Django.

Without a part, it checks whether the web server answers. With a part, it reads `/readyz` of the web server and fails if
that part is degraded. If the web server does not answer, the part counts as healthy, because that is a fault of web.
"""

import http.client
import json
import sys
from urllib.parse import urlsplit

SECONDS = 4.0  # for one step of the request


def main(part: str = "", url: str = "http://localhost:8000") -> int:
    """Print a line with the reason, and return 0 for healthy or 1 for unhealthy."""
    try:
        status, body = _get(url, "/readyz" if part else "/healthz")
        parts = json.loads(body).get("parts", {}) if part else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"{url} does not answer: {error}")
        return 0 if part else 1
    if part:
        print(parts.get(part, f"{part} is well"))
        return int(part in parts)
    print(f"{url} answers {status}")
    return int(status != http.HTTPStatus.OK)


def _get(url: str, path: str) -> tuple[int, bytes]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "localhost", address.port or 80, timeout=SECONDS)
    try:
        # The host name does not matter: probes are answered under any.
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
