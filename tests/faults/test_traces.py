"""Loading a bundle and answering leaves no trace: no file, no socket, no look-up."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import _kinds

_CODE = "import sys, bmc; print(bmc.load(sys.argv[1])('a fine film').label)"
_CHANGES = (
    *("mkdir", "unlink", "rename", "rmdir", "link", "symlink", "truncate", "mknod", "creat"),
)
_WRITES = re.compile(rf"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|^({'|'.join(_CHANGES)})")
# With their later forms, such as openat; a question mark: where the system has it.
_CALLS = ",".join(f"?{name}{form}" for name in ("open", *_CHANGES) for form in ("", "at", "at2"))
_NETWORK = re.compile(r"^(socket|connect|sendto|sendmsg|sendmmsg|bind|listen|accept|getpeername)")
_PATH = re.compile(r'"([^"]*)"')
_SYSTEM = ("/usr/", "/lib", "/etc/", "/proc/", "/sys/", "/dev/", "/opt/", "/bin/", "/sbin/")
_SINKS = ("/dev/null", "/dev/tty")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("target", _kinds.TARGETS)
def test_loading_and_answering_leaves_no_trace(
    bundle_of: Callable[[str], Path], target: str, tmp_path: Path
) -> None:
    bundle = bundle_of(target)
    for name in ("home", "tmp", "here"):
        (tmp_path / name).mkdir()
    log = tmp_path / "calls"
    trace = ["strace", "-f", "--seccomp-bpf", "-qq", "-s", "4096", "-o", str(log)]
    trace += ["-e", f"trace=%network,{_CALLS}"]  # the filter lets all others run at full speed
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [*trace, sys.executable, "-c", _CODE, str(bundle)],
        cwd=tmp_path / "here",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("nothing may be traced here")
    assert done.stdout.strip() in ("negative", "positive"), done.stderr
    calls = [line.split(maxsplit=1)[1] for line in log.read_text(errors="replace").splitlines()]
    # Python lists the folders of its path, the working folder among them.
    done_calls = [call for call in calls if "= -1 " not in call and "O_DIRECTORY" not in call]
    assert [call for call in calls if _NETWORK.match(call)] == []
    written = [call for call in done_calls if _WRITES.search(call.replace("readlink", ""))]
    assert [call for call in written if not any(f'"{sink}"' in call for sink in _SINKS)] == []
    read = {_PATH.search(call)[1] for call in done_calls if call.startswith("open")}  # type: ignore[index]
    outside = [path for path in read if path.startswith("/") and not _is_known(path, bundle)]
    assert outside == []
    left = [str(path) for name in ("home", "tmp", "here") for path in (tmp_path / name).rglob("*")]
    assert left == []


def _is_known(path: str, bundle: Path) -> bool:
    """Tell whether a file belongs to the bundle, to Python with its packages, or to the system."""
    root = Path(__file__).parents[2]
    installed = (
        *(sys.prefix, sys.base_prefix, sys.exec_prefix, *site.getsitepackages()),
        *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")),
        *(str(Path(entry).resolve()) for entry in sys.path if entry),
    )
    ours = (str(bundle), *(str(root / name) for name in ("bmc", "targets", "export", "compress")))
    allowed = (*installed, *ours, str(root))
    return path.startswith(_SYSTEM) or any(
        path == folder or path.startswith(f"{folder}/") for folder in allowed
    )


def test_telemetry_is_off_in_this_process_and_in_those_it_starts() -> None:
    code = (
        "import os, sys, bmc\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['HF_HUB_DISABLE_TELEMETRY'])\n"
        "import openvino, onnxruntime\n"
        "print(sys.modules['openvino.tools.ovc.telemetry_utils'].tm.__name__)\n"
    )
    keep = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code], env=keep, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["1", "1", "openvino.tools.ovc.telemetry_stub"], done.stderr
