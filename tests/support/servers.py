"""Real servers on this machine for as long as a test needs them: sshd, and moto's S3."""

from __future__ import annotations

import contextlib
import getpass
import os
import pathlib
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support.gates import LIMIT_S, until

_SSHD = pathlib.Path("/usr/sbin/sshd")


class Sshd:
    """An sshd of this user's: its port, what a client needs to get in, and a way to cut everybody off."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self.key_path = folder / "user_key"
        self._processes: list[psutil.Popen] = []
        for key in (self.key_path, folder / "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        (folder / "sshd_config").write_text(
            f"""
            ListenAddress 127.0.0.1:{self.port}
            HostKey {folder}/host_key
            AuthorizedKeysFile {self.key_path}.pub
            StrictModes no
            UsePAM no
            PidFile none
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            PermitRootLogin prohibit-password
            Subsystem sftp internal-sftp
            """
        )

    @property
    def client_options(self) -> dict[str, Any]:
        """What fsspec has to be told beside the URL."""
        return {
            "port": self.port,
            "username": getpass.getuser(),
            "key_filename": str(self.key_path),
            "look_for_keys": False,
            "allow_agent": False,
        }

    def start(self) -> None:
        """Listen. The log is beside the keys."""
        with open(self._folder / "log", "ab") as log:
            command = [str(_SSHD), "-D", "-e", "-f", str(self._folder / "sshd_config")]
            self._processes.append(psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        until(self._answers, f"sshd answers; its log: {self._folder}/log")

    def _answers(self) -> bool:
        assert self._processes[-1].poll() is None, (self._folder / "log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            return client.recv(4) == b"SSH-"
        return False

    def cut_off(self) -> None:
        """End every connection; new ones can be made."""
        for process in self._processes[-1].children(recursive=True):
            _end(process)

    def stop(self) -> None:
        """End it with all connections."""
        while self._processes:
            listener = self._processes[-1]
            listener.suspend()  # nobody comes in between the two
            connections = listener.children(recursive=True)
            listener.kill()
            listener.wait()
            for process in connections:
                _end(process)
            self._processes.pop()


def _end(process: psutil.Process) -> None:
    """Kill a process that is another's child, and wait until it has ended; it is not for us to bury it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
        until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, f"{process} has ended")


@contextlib.contextmanager
def sshd(folder: pathlib.Path) -> Iterator[Sshd]:
    """Yield a running sshd that keeps its files in ``folder``; skip the test where there is none to run."""
    if not _SSHD.exists():
        pytest.skip(f"there is no {_SSHD}: install openssh-server")
    if os.getuid() == 0 and not os.path.isdir("/run/sshd"):
        pytest.skip("sshd does not run as root without the folder /run/sshd: make it")
    server = Sshd(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """Yield the endpoint of an S3 server of this process. It has no buckets."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        # What it keeps is the process's, and would be there for the next one.
        request = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        urllib.request.urlopen(request, timeout=LIMIT_S).close()
    finally:
        server.stop()
