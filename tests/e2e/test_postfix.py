"""Debian's Postfix stands in front with the lines of docs/integrations/email.md: mails open alerts, wait and bounce."""

import os
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from embedded.process import tied
from tests.e2e.test_mails_open_alerts import email_integration, is_listening, live
from tests.processes import ROOT, PostOffice, free_port, running_stack, until

pytestmark = [pytest.mark.serial, pytest.mark.long, pytest.mark.timeout(600)]

PACKAGE = "postfix"
DOMAIN = "alerts.example.org"  # that of the page
# What Debian's set-up asks for, and where this instance has its files. It keeps to itself: no program outside the test
# can reach it, and it reaches none but the two servers of the test.
OWN_SETTINGS = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = mx.example.net
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
default_transport = error:no way out
"""
# The master changes its user, by which it would lose the tie to us, and ends its whole process group.
ENDS_WITH_US = 'setsid "$@" & master=$!; trap "kill $master" TERM; wait; wait'


def lines_of_the_page(file: str) -> list[str]:
    """Return the blocks that docs/integrations/email.md says belong into a file of Postfix, in their order."""
    page = (ROOT / "docs/integrations/email.md").read_text()
    found = re.findall(rf"`/etc/postfix/{re.escape(file)}`.*?```\n(.*?)```", page, re.DOTALL)
    return [re.sub(r"^ +", "", block, flags=re.MULTILINE) for block in found]


@dataclass
class Postfix:
    """An instance of Postfix of its own, which a monitoring system sends to."""

    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def settings(self) -> Path:
        return self.folder / "etc"

    @property
    def log(self) -> str:
        path = self.folder / "mail.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def call(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr, self.log)

    def write(self, *, listener: int, home: int) -> None:
        """Write the settings: those of the page, and that mails to example.net go home, where their senders are."""
        for name in ("etc", "queue", "data"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        [transport] = lines_of_the_page("transport")
        main = lines_of_the_page("main.cf")[0]
        transport = transport.replace(":8025", f":{listener}")
        (self.settings / "transport").write_text(f"{transport}example.net smtp:[127.0.0.1]:{home}\n")
        own = OWN_SETTINGS.format(folder=self.folder)
        (self.settings / "main.cf").write_text(own + self._here(main))
        shipped = Path("/usr/share/postfix/master.cf.dist").read_text()
        services = re.sub(r"^(\S+\s+unix\S*\s+\S+\s+\S+\s+)y", r"\1n", shipped, flags=re.MULTILINE)  # no chroot
        services = re.sub(r"^smtp +inet .*$", f"{self.port} inet n - n - - smtpd", services, flags=re.MULTILINE)
        (self.settings / "master.cf").write_text(services)
        self.call("postmap", "-c", str(self.settings), str(self.settings / "transport"))

    def add(self, lines: str) -> None:
        """Add lines to its settings, and let it read them."""
        with (self.settings / "main.cf").open("a") as main:
            main.write(self._here(lines))
        self.call(PACKAGE, "-c", str(self.settings), "reload")

    def _here(self, lines: str) -> str:
        return lines.replace("/etc/postfix", str(self.settings))

    def send(self, address: str, subject: str) -> int:
        """Send a mail as any program does, and return the answer's code."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            try:
                client.sendmail("mon@example.net", [address], f"Subject: {subject}\r\n\r\ntext\r\n".encode())
            except smtplib.SMTPRecipientsRefused as refused:
                ((code, _text),) = refused.recipients.values()
                return code
            return 250


@contextmanager
def running_postfix(*, listener: int, home: int) -> Iterator[Postfix]:
    """Run Postfix; mails to our domain go to the port `listener`, those to example.net to `home`."""
    assert shutil.which(PACKAGE, path="/usr/sbin"), (
        f"This test needs Debian's package {PACKAGE}: apt-get install {PACKAGE}."
    )
    assert os.geteuid() == 0, "This test runs as root: Postfix starts as root alone."
    folder = Path(tempfile.mkdtemp(prefix="hb-postfix-", dir="/tmp"))
    folder.chmod(0o755)
    postfix = Postfix(folder)
    process = None
    try:
        postfix.write(listener=listener, home=home)
        postfix.call(PACKAGE, "-c", str(postfix.settings), "check")
        process = subprocess.Popen(
            ["/bin/sh", "-c", ENDS_WITH_US, "sh", "/usr/lib/postfix/sbin/master", "-c", str(postfix.settings), "-d"],
            preexec_fn=tied(signal.SIGTERM),  # noqa: PLW1509 - nothing is left behind by a killed test
        )
        until(lambda: is_listening(postfix.port), seconds=20, what=f"Postfix listens\n{postfix.log}")
        yield postfix
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def test_postfix_hands_mails_on_keeps_them_while_nothing_can_be_stored_and_bounces_unknown_addresses():
    port = free_port()
    settings = {"HEARTBEAT_SMTP_PORT": str(port), "HEARTBEAT_MAIL_DOMAIN": DOMAIN}
    with (
        PostOffice() as home,
        running_stack(EMAIL_URL=home.url, **settings) as stack,
        running_postfix(listener=port, home=home.controller.port) as postfix,
    ):
        nagios = email_integration(stack)
        address = nagios["email_address"]
        assert address.endswith(f"@{DOMAIN}")

        assert postfix.send(address, "PROBLEM: web1 is DOWN") == 250
        until(lambda: live(stack, nagios) == ["open"], seconds=30, what=f"an alert\n{postfix.log}")
        assert postfix.send(address, "RECOVERY: web1 is UP") == 250
        until(lambda: live(stack, nagios) == ["closed"], seconds=30, what=f"closed\n{postfix.log}")

        # What cannot be stored stays in the queue of Postfix, and comes by itself when it can be.
        with stack.frozen("postgres"):
            assert postfix.send(address, "PROBLEM: db1 is DOWN") == 250
            until(
                lambda: re.search(r"status=deferred .*451 4\.3\.0 Mails cannot be stored now", postfix.log),
                seconds=60,
                what=f"put off\n{postfix.log}",
            )
        until(stack.ready, seconds=60, what="ready again")
        until(lambda: len(live(stack, nagios)) == 2, seconds=90, what=f"delivered later\n{postfix.log}")
        subjects = [(alert["subject"], alert["status"]) for alert in stack.alerts(nagios["id"])]
        assert sorted(subjects) == [("db1 is DOWN", "open"), ("web1 is DOWN", "closed")]

        # Its sender hears of an address that nobody has, from Postfix; and before it takes the mail, with the lines for it.
        nobody = f"{'a' * 26}@{DOMAIN}"
        assert postfix.send(nobody, "PROBLEM: lost") == 250
        [bounce] = until(lambda: home.to("mon@example.net"), seconds=30, what=f"a bounce\n{postfix.log}")
        report = bounce.as_string()
        assert "550 5.1.1 There is no such address here" in report
        assert nobody in report
        postfix.add(lines_of_the_page("main.cf")[1])
        assert postfix.send(nobody, "PROBLEM: lost") == 550
        assert postfix.send(address, "RECOVERY: db1 is UP") == 250
        until(lambda: live(stack, nagios) == ["closed", "closed"], seconds=30, what=f"closed\n{postfix.log}")
        assert len(home.to("mon@example.net")) == 1
