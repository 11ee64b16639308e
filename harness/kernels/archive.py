# SPDX-License-Identifier: GPL-2.0-only
"""One suite of the Debian archive, asked through Debian's own apt with a private state.

No root, and nothing of the host's apt is changed: its lists, its caches and its idea of what is
installed are not used. Its proxies and its global keys are. What is downloaded has been checked
by apt against the suite's signed Release file.
"""

from __future__ import annotations

import datetime
import email.utils
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from harness.kernels.command import Finished, complaint_of, run
from harness.kernels.hostapt import KEYRING_VARIABLE, Mirror, stanzas
from harness.kernels.store import Blob, Store, write_whole
from harness.vocabulary import InfraError, NetworkError, UsageError

ARCHITECTURE = "arm64"
_NOT_THERE = re.compile(r"404 +Not Found|File not found")
_UPDATE_LIMIT = 600.0
_QUERY_LIMIT = 120.0
_DOWNLOAD_LIMIT = 1800.0

_APT_CONF = """\
Dir::State "{root}/state";
Dir::State::status "/dev/null";
Dir::Cache "{root}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
APT::Default-Release "";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::Contents-deb;
#clear Acquire::IndexTargets::deb::DEP-11;
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "1";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
"""
# Sandbox: apt drops root only where it is root, and then cannot read a private state.
# Valid-Until: a mirror may lag (see Archive.update, which says so). The hooks are the host's.


class GoneError(NetworkError):
    """The index lists a package that the mirror no longer has (404)."""


class NoSuiteError(UsageError):
    """The mirror has no such suite."""


class Package(Struct, frozen=True, kw_only=True):
    """One package of a suite's index. ``depends`` holds names only, first alternatives."""

    name: str
    version: str
    suite: str
    sha256: str
    depends: tuple[str, ...] = ()


class Archive:
    """The private apt state of one suite. Callers hold the suite's lock.

    ``architecture`` is that of the packages: the targets', or for tools that of this machine.
    """

    def __init__(
        self, suite: str, mirror: Mirror, store: Store, architecture: str = ARCHITECTURE
    ) -> None:
        self.suite = suite
        self.architecture = architecture
        self._mirror = mirror
        self._store = store
        place = suite.replace("/", "_")
        self._root = store.directory(
            "apt", place if architecture == ARCHITECTURE else f"{place}.{architecture}"
        )

    def update(self) -> str:
        """Fetch the suite's index; returns what should be said about it, "" for nothing.

        Raises:
            NoSuiteError: the mirror answers, and has no such suite.
            NetworkError: the mirror does not answer.
            InfraError: the index's signature is not good.
        """
        self._configure()
        done = self._apt("apt-get", "-q", "update", limit=_UPDATE_LIMIT)
        if done.status != 0:
            raise self._update_error(done.stderr)
        return self._stale()

    def names(self, prefix: str) -> tuple[str, ...]:
        """Names of the suite's packages that begin with ``prefix``."""
        done = self._apt("apt-cache", "pkgnames", prefix, limit=_QUERY_LIMIT)
        return tuple(sorted(done.stdout.decode().split()))

    def packages(self, names: Iterable[str]) -> tuple[Package, ...]:
        """The index entries of these packages, of each the newest; unknown names are left out."""
        wanted = [f"{name}:{self.architecture}" for name in names]
        if not wanted:
            return ()
        done = self._apt("apt-cache", "show", "--no-all-versions", *wanted, limit=_QUERY_LIMIT)
        return tuple(
            Package(
                name=fields["package"],
                version=fields["version"],
                suite=self.suite,
                sha256=fields["sha256"],
                depends=_dependencies(fields),
            )
            for fields in stanzas(done.stdout.decode(errors="replace"))
            if "filename" in fields
        )

    def closure(self, names: Iterable[str]) -> tuple[str, ...]:
        """These packages and all they depend on, recommendations left out; sorted.

        Raises:
            UsageError: the suite lacks one of them, or they do not fit together.
        """
        wanted = [f"{name}:{self.architecture}" for name in names]
        done = self._apt(
            *("apt-get", "-q", "--simulate", "--no-install-recommends", "install", *wanted),
            limit=_QUERY_LIMIT,
        )
        if done.status != 0:
            raise UsageError(f"suite {self.suite}: {complaint_of(done.stderr)}; take another suite")
        return tuple(sorted(re.findall(r"^Inst (\S+) ", done.stdout.decode(), re.MULTILINE)))

    def download(self, package: Package) -> Blob:
        """Fetch one package into the store, or find it there; errors as of download_all."""
        return self.download_all([package])[0]

    def download_all(self, packages: Sequence[Package]) -> tuple[Blob, ...]:
        """Fetch packages into the store, or find them there; in the order given.

        Raises:
            GoneError: the mirror no longer has one of them.
            NetworkError: the mirror does not answer.
        """
        first = packages[0]
        what = f"{first.name} {first.version} of {self.suite}"
        if len(packages) > 1:
            what = f"{len(packages)} packages of {self.suite}"
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._root) as folder:
            done = self._apt(
                *("apt-get", "-q", "download"),
                *(f"{p.name}:{self.architecture}={p.version}" for p in packages),
                limit=_DOWNLOAD_LIMIT,
                cwd=Path(folder),
            )
            if done.status != 0:
                problem = f"{what}: {complaint_of(done.stderr)}"
                if _NOT_THERE.search(done.stderr):
                    raise GoneError(f"{problem}; try again when the mirror is in step")
                raise NetworkError(f"{problem}; check the network and try again")
            files = list(Path(folder).glob("*.deb"))
            if len(files) != len(packages):
                raise InfraError(f"{what}: apt-get download left {len(files)} files; try again")
            blobs = {blob.sha256: blob for blob in map(self._store.put_file, files)}
        wrong = [package.name for package in packages if package.sha256 not in blobs]
        if wrong:
            raise InfraError(
                f"{what}: {wrong[0]} is not the bytes that the index promises; fetch it again"
            )
        return tuple(blobs[package.sha256] for package in packages)

    def tidy(self) -> None:
        """Remove what apt makes anew in a second: its binary cache, as large as ten kernels."""
        for path in (self._root / "cache").glob("*.bin"):
            path.unlink(missing_ok=True)

    def _configure(self) -> None:
        for part in ("state/lists/partial", "cache/archives/partial"):
            self._store.directory("apt", self._root.name, part)
        option = ""
        if self._mirror.signed_by.startswith("-----BEGIN"):
            key = self._root / "key.asc"
            write_whole(key, self._mirror.signed_by.encode() + b"\n")
            option = f" [signed-by={key}]"
        elif self._mirror.signed_by:
            option = f" [signed-by={','.join(self._mirror.signed_by.split())}]"
        line = f"deb{option} {self._mirror.uri} {self.suite} main\n"
        write_whole(self._root / "sources.list", line.encode())
        conf = _APT_CONF.format(root=self._root, architecture=self.architecture)
        write_whole(self._root / "apt.conf", conf.encode())

    def _apt(self, *argv: str, limit: float, cwd: Path | None = None) -> Finished:
        tool, *rest = argv
        return run([tool, "-c", str(self._root / "apt.conf"), *rest], limit=limit, cwd=cwd)

    def _update_error(self, complaint: str) -> Exception:
        line = complaint_of(complaint)
        if "NO_PUBKEY" in complaint or "not signed" in complaint or "invalid sign" in complaint:
            return InfraError(
                f"suite {self.suite}: its signature cannot be verified ({line}); "
                f"install a newer debian-archive-keyring, or set {KEYRING_VARIABLE} to its keyring"
            )
        if _NOT_THERE.search(complaint) or "does not have a Release file" in complaint:
            return NoSuiteError(f"suite {self.suite}: the mirror has no such suite; check its name")
        return NetworkError(
            f"suite {self.suite}: the mirror cannot be reached ({line}); check the network, "
            "or use a kernel that is cached (harness kernels list)"
        )

    def _stale(self) -> str:
        for path in sorted((self._root / "state/lists").glob("*Release")):
            for line in path.read_text(errors="replace").splitlines():
                name, _, value = line.partition(": ")
                if name == "Valid-Until":
                    until = email.utils.parsedate_to_datetime(value.replace("UTC", "+0000"))
                    if until < datetime.datetime.now(datetime.UTC):
                        return f"{self.suite}: the mirror's index is past its Valid-Until ({value})"
        return ""


def _dependencies(fields: dict[str, str]) -> tuple[str, ...]:
    text = ",".join(fields[name] for name in ("pre-depends", "depends") if name in fields)
    first = (clause.split("|")[0].split("(")[0].strip() for clause in text.split(","))
    return tuple(name.partition(":")[0] for name in first if name)
