"""What docker-compose.yml promises, as far as its text can show it."""

import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from heartbeat_project import probe
from heartbeat_project.condition import PARTS
from heartbeat_project.variables import read_env_file

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OWN = {name: service for name, service in SERVICES.items() if "build" in service}


@pytest.mark.parametrize("name", SERVICES)
def test_logs_are_bounded(name):
    assert SERVICES[name]["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


def test_images_are_pinned_to_a_release():
    images = {service["image"] for service in SERVICES.values()} - {"heartbeat"}
    images |= set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))

    assert [image for image in images if not re.search(r":\d+\.\d+\.\d+-|^postgres:\d+\.\d+-", image)] == []


def test_the_published_port_belongs_to_the_proxy_so_that_web_can_be_there_twice():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["mail", "proxy"]
    assert SERVICES["mail"]["ports"] == ["${HEARTBEAT_PUBLISH_SMTP:-127.0.0.1:8025}:8025"]
    assert SERVICES["proxy"]["profiles"] == ["proxy"]
    assert not any("container_name" in service for service in SERVICES.values())
    assert "name web" in COMPOSE["configs"]["caddyfile"]["content"]
    assert read_env_file(ROOT / ".env.example")["COMPOSE_PROFILES"] == "proxy"


def test_the_web_processes_believe_the_proxy_which_is_in_the_projects_own_network():
    [pool] = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert pool["subnet"] in SERVICES["web"]["environment"]["HEARTBEAT_TRUSTED_PROXIES"]
    assert pool["subnet"].startswith("${HEARTBEAT_SUBNET:-")


def test_no_request_of_a_stranger_makes_the_proxy_pass_over_a_web_process():
    # A body that breaks off is a failed request of the web process to Caddy, which then sends it nothing for so long.
    words = [line.split()[:1] for line in COMPOSE["configs"]["caddyfile"]["content"].splitlines()]

    assert not {"fail_duration", "max_fails", "unhealthy_status", "health_uri"} & {
        word for [word] in filter(None, words)
    }


def test_the_proxy_believes_another_one_only_where_it_is_named():
    assert SERVICES["proxy"]["environment"]["FRONT_PROXY"] == "${HEARTBEAT_FRONT_PROXY:-127.0.0.1/32}"
    assert "trusted_proxies {$$FRONT_PROXY}" in COMPOSE["configs"]["caddyfile"]["content"]


def test_secrets_are_files_and_stand_in_no_environment():
    for service in OWN.values():
        assert service["environment"]["SECRET_KEY_FILE"] == "/run/secrets/secret_key"
        assert service["environment"]["SECRET_KEY"] == service["environment"]["DATABASE_PASSWORD"] == ""
        assert set(service["secrets"]) == set(COMPOSE["secrets"])
    assert "POSTGRES_PASSWORD" not in SERVICES["database"]["environment"]
    assert "/secrets" in (ROOT / ".gitignore").read_text().splitlines()
    assert "secrets" in (ROOT / ".dockerignore").read_text().splitlines()


def test_all_share_the_file_about_mails_to_the_operator():
    for service in OWN.values():
        folder = service["environment"]["HEARTBEAT_DATA_DIR"]
        assert service["volumes"] == [f"state:{folder}"]
        assert f"--owner heartbeat --mode 700 {folder}" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", OWN)
def test_signals_reach_the_program(name):
    assert OWN[name]["init"] is True
    assert "sh" not in OWN[name].get("command", [])


def test_workers_start_after_the_first_account_and_nobody_waits_for_the_broker():
    assert SERVICES["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert SERVICES["bootstrap"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    for name in ("web", "engine", "delivery", "beat", "mail"):
        assert SERVICES[name]["depends_on"] == {"bootstrap": {"condition": "service_completed_successfully"}}


def test_each_service_that_lasts_has_a_health_check():
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"migrate", "bootstrap"}


@pytest.mark.parametrize(("name", "part"), [("engine", "engine"), ("delivery", "delivery"), ("beat", "broker")])
def test_a_workers_health_is_its_part_of_readyz(name, part):
    assert part in PARTS
    assert SERVICES[name]["healthcheck"]["test"][1:] == [
        *("python", "-m", "heartbeat_project.probe"),
        *(part, "http://web:8000"),
    ]


def test_the_proxys_health_is_its_own_whatever_its_site_is_and_whether_or_not_web_answers():
    assert SERVICES["proxy"]["healthcheck"]["test"][-1] == "http://127.0.0.1:2019/config/"
    # Its administration is on unless the configuration says otherwise.
    assert "admin" not in COMPOSE["configs"]["caddyfile"]["content"].split()


@pytest.fixture
def web():
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            ready = self.path == "/readyz"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "degraded", "parts": {"engine": "No engine."}}' if ready else b"{}")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_probe_fails_for_the_part_that_is_degraded_alone(web, capsys):
    assert probe.main("engine", web) == 1
    assert "No engine." in capsys.readouterr().out
    assert probe.main("delivery", web) == 0
    assert probe.main("", web) == 0


def test_a_web_server_that_is_away_fails_its_own_probe_and_no_workers():
    assert probe.main("", "http://127.0.0.1:1") == 1
    assert probe.main("engine", "http://127.0.0.1:1") == 0


def test_a_probe_starts_without_django():
    code = "import sys, heartbeat_project.probe; raise SystemExit('django' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
