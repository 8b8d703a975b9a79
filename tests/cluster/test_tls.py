"""With TLS only machines of one's own authority are let in; all others are refused at once."""

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dupwatchd.index.pool import DecodeLimits, WorkerPool
from dupwatchd.model import ReadStatus
from dupwatchd.settings.model import ClusterSettings
from tests.conftest import encoded, photo_like
from tests.index.files import Claims, jobs

pytest.importorskip("distributed", reason="the extra cluster is not installed")
if shutil.which("openssl") is None:
    pytest.skip("openssl, which makes certificates, is not installed", allow_module_level=True)

from dupwatchd.cluster.library import why_unreachable
from dupwatchd.cluster.machines import Machines
from dupwatchd.cluster.pool import ClusterPool
from tests.cluster.nodes import Nodes, until


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def make_certificates(folder: Path) -> dict[str, str]:
    """An authority, and a certificate that it has signed; the settings that name both."""
    folder.mkdir()
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    ca, ca_key, cert, cert_key, asked = (folder / name for name in ("ca.pem", "ca.key", "n.pem", "n.key", "n.csr"))
    openssl("req", "-x509", *key, "-keyout", ca_key, "-out", ca, "-days", 2, "-subj", "/CN=authority")
    openssl("req", *key, "-keyout", cert_key, "-out", asked, "-subj", "/CN=node")
    openssl("x509", "-req", "-in", asked, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", cert, "-days", 2)
    return {"tls_ca": str(ca), "tls_cert": str(cert), "tls_key": str(cert_key)}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: make_certificates(folder / name) for name in ("ours", "theirs")}


@pytest.fixture(scope="module")
def nodes(certificates: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    variables = {f"DUPWATCH_CLUSTER__{name.upper()}": file for name, file in certificates["ours"].items()}
    with Nodes(tmp_path_factory.mktemp("cluster"), "tls", **variables) as nodes:
        yield nodes.start(["one"])


def test_machines_of_our_own_authority_read_for_us(
    nodes: Nodes, certificates: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    for seed in range(20):
        (tmp_path / f"{seed}.jpg").write_bytes(encoded(photo_like(seed, 80, 60)))
    cluster = ClusterSettings.model_validate(
        {"scheduler": nodes.address, "min_pending": 1, "batch_files": 4, **certificates["ours"]}
    )
    assert why_unreachable(cluster) is None
    machines = Machines(nodes.address)
    with ClusterPool(WorkerPool(1, 32, DecodeLimits()), cluster, 32, DecodeLimits(), lambda _: {}, machines) as pool:
        outcomes = list(pool.index(jobs(tmp_path.iterdir()), Claims()))
    assert [outcome.status for outcome in outcomes] == [ReadStatus.DECODED] * 20
    assert machines.document()["machines"][0]["files"] == 20


@pytest.mark.parametrize("node", ["scheduler", "one"])
@pytest.mark.parametrize("who", ["another authority", "no certificate of ours", "plain TCP"])
def test_others_are_refused_within_two_seconds(
    nodes: Nodes, certificates: dict[str, dict[str, str]], node: str, who: str
) -> None:
    ours, theirs = certificates["ours"], certificates["theirs"]
    files = {
        "another authority": theirs,
        "no certificate of ours": {**theirs, "tls_ca": ours["tls_ca"]},  # it knows our authority, and takes us for it
        "plain TCP": {},
    }[who]
    address = address_of(nodes, node)
    assert why_unreachable(ClusterSettings.model_validate({"scheduler": address, **ours})) is None
    if who == "plain TCP":
        address = address.replace("tls://", "tcp://")
    began = time.monotonic()
    reason = why_unreachable(ClusterSettings.model_validate({"scheduler": address, **files}))
    assert time.monotonic() - began < 2
    assert reason is not None
    assert "TLS" in reason


def test_a_worker_of_another_authority_says_why_it_does_not_join(
    nodes: Nodes, certificates: dict[str, dict[str, str]]
) -> None:
    theirs = {f"DUPWATCH_CLUSTER__{name.upper()}": file for name, file in certificates["theirs"].items()}
    nodes.start_worker("stranger", **theirs)
    until(lambda: nodes.log("stranger") != "")
    line = f"dupwatchd: waiting for the scheduler at {nodes.address}: TLS: certificate verify failed\n"
    assert nodes.log("stranger") == line
    nodes.send("stranger", signal.SIGTERM)
    assert nodes.processes["stranger"].wait(20) == 0


def address_of(nodes: Nodes, node: str) -> str:
    """Where a node listens."""
    found = re.search(r"(?:Scheduler at|Listening to): +(tls://[0-9.:]+)", nodes.log(node))
    assert found
    return found[1]


def test_what_is_no_tls_gets_no_word(nodes: Nodes) -> None:
    host, _, port = nodes.address.partition("://")[2].rpartition(":")
    with socket.create_connection((host, int(port)), 2) as plain:
        plain.sendall(b"\0" * 64)
        try:
            assert plain.recv(100)[:1] in (b"", b"\x15")  # nothing, or an alert of TLS
        except ConnectionResetError:
            pass
