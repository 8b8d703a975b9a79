"""Who has no cluster has nothing of it; who lacks Dask is told what installs it, and who lacks TLS is refused."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dupwatchd.errors import UsageError
from dupwatchd.settings import load
from tests.conftest import encoded, photo_like

WITHOUT_DASK = "import sys; sys.modules['distributed'] = sys.modules['dask'] = None; "
LOADED = """
import atexit, sys
atexit.register(lambda: print([name for name in sys.modules
    if name.partition('.')[0] in ('dask', 'distributed', 'tornado') or f'{name}.'.startswith('dupwatchd.cluster.')]))
from dupwatchd.cli import main
main()
"""


def run(code: str, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_scan_without_a_cluster_loads_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(encoded(photo_like(1, 100, 80)))
    done = run(LOADED, "scan", "--limit", "0", tmp_path / "photos", DUPWATCH_STATE=str(tmp_path / "state"))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr


@pytest.mark.parametrize("words", [("cluster", "worker"), ("cluster", "check"), ("scan", ".")])
def test_without_dask_one_line_says_what_installs_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run(
        WITHOUT_DASK + "from dupwatchd.cli import main; main()",
        *words,
        DUPWATCH_STATE=str(tmp_path / "state"),
        DUPWATCH_CLUSTER__SCHEDULER="tcp://127.0.0.1:8786",
    )
    assert done.stderr == "dupwatchd: a cluster needs the extra of that name: pip install 'dupwatch[cluster]'\n"
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("cluster", "line"),
    [
        ({"scheduler": "tcp://nas.lan:8786"}, r"setting cluster.scheduler: .* can run programs on it; write tls://"),
        ({"scheduler": "tcp://0.0.0.0:8786"}, r"setting cluster.scheduler: .* write tls://"),
        ({"scheduler": "tcp://[::]:8786"}, r"setting cluster.scheduler: .* write tls://"),
        ({"scheduler": "nas.lan:8786"}, r"setting cluster.scheduler: it should be tls://host:port"),
        ({"scheduler": "tls://nas.lan:0"}, r"setting cluster.scheduler: it should be tls://host:port"),
        ({"scheduler": "tls://nas.lan:8786"}, r"setting cluster.tls_ca: it is needed for tls://nas.lan:8786"),
        ({"paths": ["/a"]}, r"setting cluster.paths: each should be two absolute paths"),
        ({"paths": ["a=/b"]}, r"setting cluster.paths: each should be two absolute paths"),
        ({"when_lost": "wait"}, r"setting cluster.when_lost"),
        ({"batch_files": 0}, r"setting cluster.batch_files"),
    ],
)
def test_a_wrong_setting_of_the_cluster_is_one_line(cluster: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError, match=line) as caught:
        load({"cluster": cluster})
    assert "\n" not in str(caught.value)


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    missing = {f"DUPWATCH_CLUSTER__TLS_{what}": str(tmp_path / what) for what in ("CA", "CERT", "KEY")}
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    done = run(
        "from dupwatchd.cli import main; main()",
        *("cluster", "worker"),
        DUPWATCH_CLUSTER__SCHEDULER="tls://127.0.0.1:8786",
        **missing,
    )
    assert done.stderr == f"dupwatchd: setting cluster.tls_ca: cannot read {tmp_path / 'CA'}\n"
    assert done.returncode == 2
