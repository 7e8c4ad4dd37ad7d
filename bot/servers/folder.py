"""The data folder: who may enter it, which process owns it, and binaries that its servers can reach."""

import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO

from core.errors import MathiaError

SERVICE_USERS = ("mathia", "nobody")
KEY_FILE = "keys"
"""In the data folder: the keys that wrap the rooms' keys. It belongs into no backup that holds the database too."""
SOCKET_PATH_LIMIT = 80
"""Longest run folder whose sockets still fit in a sun_path of 104 bytes, with room for the longest socket name."""


class FolderError(MathiaError):
    """The data folder cannot be used; the message says why and what to do."""


def default_folder() -> Path:
    """Where data lives unless --data says otherwise."""
    return Path("/var/lib/mathia") if os.geteuid() == 0 else Path(".mathia")


class DataFolder:
    """A folder that one `up` at a time owns. Where we are root, `user` is whom the servers run as."""

    def __init__(self, path: Path) -> None:
        """Make or reuse `path`; raises FolderError where it cannot be used."""
        self.path = path.absolute()
        self.user = service_user()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o711 if self.user else 0o700)
        except OSError as error:
            raise FolderError(
                f"The data folder {self.path} cannot be used: {error.strerror}. Choose another with --data."
            ) from error
        if self.user and not reaches(self.user, self.path):
            raise FolderError(
                f"User {self.user.pw_name}, as whom the servers run, cannot reach {self.path}."
                " Choose a folder below directories that everybody may enter with --data, such as /var/lib/mathia."
            )
        self._lock: IO[str] | None = None

    def lock(self) -> None:
        """Own the folder until this process ends; raises FolderError where another process does."""
        file = (self.path / "lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise FolderError(
                f"Mathia is already running with the data in {self.path} (process {holder})."
                " Stop it first, or choose another folder with --data."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._lock = file

    def unlock(self) -> None:
        """Let the next process own the folder."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def private(self, name: str) -> Path:
        """The sub-folder `name`, which only the servers' user may enter."""
        return self._own(self.path / name)

    def run_folder(self) -> Path:
        """The folder for sockets: below the data, or in the temporary folder where that path is too long for one."""
        inside = self.path / "run"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return self._own(inside)
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return self._own(Path(tempfile.gettempdir()) / f"mathia-{digest}")

    def _own(self, path: Path) -> Path:
        path.mkdir(exist_ok=True, mode=0o700)
        owner = self.user.pw_uid if self.user else os.geteuid()
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
            raise FolderError(f"{path} belongs to somebody else. Remove it, or choose another folder with --data.")
        path.chmod(0o700)
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        return path

    def reachable(self, *trees: Path, program: Path) -> Path:
        """A path under which the servers' user can run `program`, which lies in the first of `trees`.

        The same path where it can already; else `trees` (siblings: a package and its libraries) are linked, or copied,
        into the data folder side by side, once for each version.
        """
        if not self.user or reaches(self.user, program):
            return program
        home = self.path / "bin" / trees[0].name
        made = program.stat()
        version = f"{program} {made.st_size} {made.st_mtime_ns}"
        stamp = home / "version"
        if not (stamp.exists() and stamp.read_text() == version):
            shutil.rmtree(home, ignore_errors=True)
            for folder in (self.path / "bin", home):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o711)
            for tree in trees:
                if tree.is_dir():
                    shutil.copytree(tree, home / tree.name, copy_function=link_or_copy, symlinks=True)
                    for folder in (home / tree.name).rglob("*"):
                        if folder.is_dir():
                            folder.chmod(0o755)
                    (home / tree.name).chmod(0o755)
                else:
                    link_or_copy(str(tree), str(home / tree.name))
            stamp.write_text(version)
        return home / trees[0].name / program.relative_to(trees[0])


def service_user() -> pwd.struct_passwd | None:
    """Whom servers run as where we are root; None where we are not."""
    if os.geteuid() != 0:
        return None
    for name in SERVICE_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise FolderError("There is no user to run the servers as. Create one: useradd --system mathia")


def reaches(user: pwd.struct_passwd, path: Path) -> bool:
    """Whether `user` may enter or execute `path` and every folder above it; its only group is its own."""
    real = path.resolve()
    for place in (real, *real.parents):
        found = place.stat()
        if found.st_uid == user.pw_uid:
            allowed = found.st_mode & stat.S_IXUSR
        elif found.st_gid == user.pw_gid:
            allowed = found.st_mode & stat.S_IXGRP
        else:
            allowed = found.st_mode & stat.S_IXOTH
        if not allowed:
            return False
    return True


def link_or_copy(source: str, target: str) -> None:
    """Put a file that everybody may read at `target`: the same file where that can be, else a copy."""
    mode = stat.S_IMODE(os.stat(source).st_mode)
    wanted = mode | (0o555 if mode & stat.S_IXUSR else 0o444)
    if mode == wanted:
        try:
            os.link(source, target)
            return
        except OSError:
            pass  # Another file system: copy.
    shutil.copyfile(source, target)
    os.chmod(target, wanted)
