"""What every script keeps to, however it is started and ended: `common.cli.run`."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import os, sys, time
from common import cli
from common.errors import UserError
from common.files import atomic_path
from common.staging import staged_folder
def main():
{}
cli.run(main)
"""


def start(body, shell="{}", **environment):
    """A process whose `main` is `body`; `shell` may redirect what it runs."""
    script = SCRIPT.format("\n".join(f"    {line}" for line in body.splitlines()))
    command = shell.format('exec "$0" -c "$1"')
    return subprocess.Popen(["sh", "-c", command, sys.executable, script], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env={**os.environ, **environment})


def test_what_a_terminal_cannot_show_is_escaped():
    process = start("print('\\u65e5\\u672c')\nraise UserError('\\u65e5 is missing')", PYTHONIOENCODING="latin-1")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 2 and out == "\\u65e5\\u672c\n" and "\\u65e5 is missing" in error


def test_closed_output_goes_nowhere_rather_than_into_the_next_file(tmp_path):
    path = tmp_path / "result"
    process = start(f"file = open({str(path)!r}, 'wb', 0)\nfile.write(b'whole')\nprint('said')\nos.write(2, b'noise')\n"
                    "print('more', file=sys.stderr)\nraise UserError('wrong')", "{} 1>&- 2>&-")
    assert process.wait(60) == 2
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize("unfinished", ["atomic_path({!r} + '/a.png')", "staged_folder({!r} + '/new/folder')"])
def test_terminated_script_leaves_nothing_unfinished(tmp_path, unfinished):
    process = start(f"with {unfinished.format(str(tmp_path))} as path:\n"
                    "    (path / 'a.png' if path.is_dir() else path).write_bytes(b'half')\n"
                    "    print('begun', flush=True)\n    time.sleep(60)")
    assert process.stdout.readline() == "begun\n" and len(list(tmp_path.iterdir())) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143 and "Traceback" not in process.stderr.read()
    assert [path for path in tmp_path.rglob("*") if path.name != "new"] == []


def test_name_too_long_for_the_system_is_one_line():
    process = start("from pathlib import Path\nPath('film' * 100).is_dir()")
    _, error = process.communicate()
    assert process.returncode == 2 and error.count("\n") == 1 and "as long as filmfilm" in error
