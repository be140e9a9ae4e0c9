"""What the dashboard asks for is what the API tells."""

from __future__ import annotations

import json
import re

import yaml
from prometheus_client.parser import text_string_to_metric_families

from ktrdr.api.app import create_app
from ktrdr.api.http.request_metrics import PREFIX, Metrics


def told():
    """Return the names of all samples that the API's metrics have once a request was answered."""
    metrics = Metrics()
    metrics.answered("GET", f"{PREFIX}/health", 200, 0.01)
    text = metrics.text(operations={"queued": 0}, workers=0, running=0, listeners=0, free_bytes=0).decode()
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def asked(dashboard):
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return {name for each in expressions for name in re.findall(r"\bktrdr_[a-z_]+", each)}


def test_every_metric_of_the_dashboard_exists(root):
    directory = root / "deploy/environments/monitoring/grafana"
    dashboard = json.loads((directory / "dashboards/ktrdr.json").read_text(encoding="utf-8"))
    assert len(dashboard["panels"]) >= 8
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert asked(dashboard) - told() == set()
    assert {"ktrdr_workers", "ktrdr_api_request_seconds_bucket"} <= asked(dashboard)

    source = yaml.safe_load((directory / "provisioning/datasources/prometheus.yaml").read_text(encoding="utf-8"))
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["datasources"][0]["uid"]}


def test_a_metric_that_there_is_not_is_found():
    assert asked({"panels": [{"targets": [{"expr": "rate(ktrdr_jobs_total[5m])"}]}]}) - told() == {"ktrdr_jobs_total"}


def test_prometheus_asks_where_the_api_answers(root):
    path = root / "deploy/environments/monitoring/prometheus.yml"
    (job,) = yaml.safe_load(path.read_text(encoding="utf-8"))["scrape_configs"]
    assert job["metrics_path"] in create_app().openapi()["paths"]
    assert job["static_configs"] == [{"targets": ["backend:8000"]}]
