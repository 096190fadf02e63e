"""How a job pings: ready-made texts for the tools that jobs run with, each with the URL filled in."""

from dataclasses import dataclass
from decimal import Decimal

from heartbeat_project.kernel.durations import exactly, minutes


@dataclass(frozen=True, slots=True)
class Snippet:
    """One way to ping: steps to take, and a text to copy. Either may be empty."""

    slug: str
    title: str
    text: str = ""
    steps: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Return how many lines the text has."""
        return self.text.count("\n") + 1


def snippets_for(url: str, *, interval_minutes: Decimal) -> list[Snippet]:
    """Return the ways, the most frequent first; all send a POST with an empty JSON object."""
    every = exactly(minutes(interval_minutes))
    curl = f"curl -fsS -m 10 --retry 3 -X POST '{url}' -H 'Content-Type: application/json' -d '{{}}'"
    powershell = f"Invoke-RestMethod -Method Post -Uri '{url}' -ContentType 'application/json' -Body '{{}}'"
    return [
        Snippet("curl", "curl", curl),
        Snippet("powershell", "PowerShell", powershell),
        _task_scheduler(powershell, every=every),
        Snippet(
            "cron",
            "cron",
            f"0 3 * * * /usr/local/bin/backup && {curl} > /dev/null",
            after=("The ping follows “&&”, so it is only sent if the job succeeded.",),
        ),
        _systemd(url),
        Snippet("python", "Python", _PYTHON.format(url=url)),
        Snippet(
            "kubernetes",
            "Kubernetes",
            _KUBERNETES.format(curl=curl.replace('"', '\\"')),
            steps=("Let the container of the CronJob ping after its work:",),
            after=("The image needs curl; wget -qO- --post-data='{}' does the same.",),
        ),
        Snippet(
            "sql-server-agent",
            "SQL Server Agent",
            powershell,
            steps=(
                "In SQL Server Management Studio, open SQL Server Agent, Jobs, and the properties of your job.",
                "On the page Steps choose New. Step name: Heartbeat. Type: PowerShell. Paste the command below.",
                "In the last step of your work, page Advanced, set “On success action” to “Go to the next step”.",
                "There, set “On failure action” to “Quit the job reporting failure”: a failed job does not ping.",
                "In the step Heartbeat set “On success action” to “Quit the job reporting success”, and press OK.",
                "Start the job once by hand: its ping appears here.",
            ),
        ),
        Snippet(
            "airflow",
            "Airflow",
            _AIRFLOW.format(url=url),
            steps=("Let the DAG call this when it has succeeded:",),
        ),
        Snippet(
            "power-automate",
            "Power Automate",
            url,
            steps=(
                "Open the flow for editing, and add a new step at its end.",
                "Search for “HTTP” and choose the action HTTP.",
                "Method: POST. URI: the URL below.",
                "Headers: Content-Type with the value application/json. Body: {}",
                "Under Settings, Run after, leave only “is successful” ticked: a flow that failed does not ping.",
                "Save the flow and run it once: its ping appears here.",
            ),
        ),
    ]


def _task_scheduler(powershell: str, *, every: str) -> Snippet:
    script = "C:\\Scripts\\heartbeat.ps1"
    return Snippet(
        "windows-task-scheduler",
        "Windows Task Scheduler",
        f"[Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12\n{powershell}",
        steps=(
            f"On the server, make the folder C:\\Scripts, and save the two lines below in it as {script}.",
            "Open Task Scheduler: press the Windows key, type taskschd.msc, and press Enter.",
            "In the panel Actions on the right, choose “Create Task…” (not “Create Basic Task…”).",
            "On the tab General, enter a name, such as Heartbeat. Choose “Run whether user is logged on or not”.",
            "On the tab Triggers, choose New. Begin the task: On a schedule. Choose One time, and a start soon.",
            f"Tick “Repeat task every”, type {every}, choose “for a duration of: Indefinitely”, and press OK.",
            "To ping after a job instead, leave the trigger out, and add the next action to the task of the job.",
            "On the tab Actions, choose New. Action: Start a program. Program/script: powershell.exe",
            f"Add arguments: -NoProfile -NonInteractive -ExecutionPolicy Bypass -File {script}",
            "On the tab Conditions, take away the tick at “Start the task only if the computer is on AC power”.",
            "On the tab Settings, tick “Run task as soon as possible after a scheduled start is missed”.",
            "Press OK, and enter the password of the account if you are asked for it.",
            "In the list, right-click the task and choose Run. Its ping appears here, and the state becomes Healthy.",
            "Try the alarm, too: right-click the task and choose Disable. Once the interval elapses, an alert opens.",
            "Enable the task again: its next ping closes the alert.",
        ),
    )


def _systemd(url: str) -> Snippet:
    # systemd reads % as the beginning of a specifier.
    escaped = url.replace("%", "%%")
    return Snippet(
        "systemd",
        "systemd",
        "[Service]\nExecStartPost=/usr/bin/curl -fsS -m 10 --retry 3 \\\n"
        f"  -X POST {escaped} -H 'Content-Type: application/json' -d '{{}}'",
        steps=("Run “systemctl edit backup.service” for the unit of the job, and paste this:",),
        after=("With Type=oneshot it runs when the job has ended, and only if it succeeded.",),
    )


_PYTHON = """import urllib.request

request = urllib.request.Request(
    "{url}", data=b"{{}}", headers={{"Content-Type": "application/json"}}, method="POST"
)
urllib.request.urlopen(request, timeout=10)"""

_KUBERNETES = """command: ["/bin/sh", "-c"]
args:
  - >-
    /app/job &&
    {curl}"""

_AIRFLOW = """import urllib.request


def ping(context):
    request = urllib.request.Request(
        "{url}", data=b"{{}}", headers={{"Content-Type": "application/json"}}, method="POST"
    )
    urllib.request.urlopen(request, timeout=10)


with DAG("nightly", schedule="@daily", on_success_callback=ping):
    ..."""
