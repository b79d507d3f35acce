"""A board on this machine: a real sshd on 127.0.0.1, a clean home, an old Python where there is one."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ofa_toolkit.latency.kit.ssh import Board

_OLD_PYTHONS = ("/usr/bin/python3.6", *glob.glob(os.path.expanduser("~/.pyenv/versions/3.6.*/bin/python3.6")))


@contextlib.contextmanager
def running_board(folder: Path) -> Iterator[Board]:
    """Start sshd for one board whose home is `folder/home` and whose programs are in `folder/home/bin`.

    `home/session` holds the process number of the sshd that serves the last connection. Skips the test,
    saying why, where no sshd can be run.
    """
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
    if sshd is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's server and client are not installed here.")
    home = folder / "home"
    (home / "bin").mkdir(parents=True)
    python = next((path for path in _OLD_PYTHONS if Path(path).exists()), shutil.which("python3") or "")
    (home / "bin" / "python3").symlink_to(python)
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    login = folder / "login"
    login.write_text(
        f"#!/bin/sh\ncd {home} && echo $PPID > session\n"
        f'exec env -i HOME={home} PATH={home}/bin:/usr/bin:/bin sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    login.chmod(login.stat().st_mode | stat.S_IXUSR)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user_key.pub\nPasswordAuthentication no\nPermitRootLogin yes\n"
        f"ForceCommand {login}\n"
    )
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "ssh_config").write_text(
        f"Host board\nHostName 127.0.0.1\nPort {port}\nIdentityFile {folder}/user_key\n"
        f"UserKnownHostsFile {folder}/known\nIdentitiesOnly yes\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where the server of root gives up its rights
    command = [sshd, "-D", "-e", "-f", str(folder / "sshd_config")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        try:
            if "listening" not in said:
                pytest.skip(f"sshd does not run here: {said}")
            yield Board(host="board", config=folder / "ssh_config")
        finally:
            server.kill()
