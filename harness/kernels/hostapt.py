# SPDX-License-Identifier: GPL-2.0-only
"""The Debian mirror that this machine already uses, from its own apt configuration.

Both formats of sources.list(5) are read, the one-line and the deb822 one. Only addresses and
keys are taken over: options such as ``trusted=yes`` or an architecture are not.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from harness.kernels.command import complaint_of, run
from harness.vocabulary import InfraError

MIRROR_VARIABLE = "HARNESS_DEBIAN_MIRROR"
SECURITY_VARIABLE = "HARNESS_DEBIAN_SECURITY_MIRROR"
KEYRING_VARIABLE = "HARNESS_DEBIAN_KEYRING"

_KEYRING_NAME = "debian-archive"
_STABLE = ("buster", "bullseye", "bookworm", "trixie", "forky", "duke")
_CODENAMES = frozenset([*_STABLE, "sid", "unstable", "experimental", "rc-buggy"])
_ALIASES = frozenset(["oldoldstable", "oldstable", "stable", "testing"])
_POCKET = re.compile(r"-(security|updates|backports|backports-sloppy|proposed-updates)$|/updates$")


class Source(Struct, frozen=True, kw_only=True):
    """One line of an apt configuration: one address, one suite.

    ``signed_by`` is what the configuration says: a keyring path, fingerprints, a whole key
    block (several lines), or "" for apt's global keys.
    """

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""


class Mirror(Struct, frozen=True, kw_only=True):
    """An address that serves suites, and the key its Release files must be signed with."""

    uri: str
    signed_by: str


class Mirrors(Struct, frozen=True, kw_only=True):
    """The main and the security mirror; ``note`` says what was derived, not read."""

    main: Mirror
    security: Mirror
    note: str = ""

    def of(self, suite: str) -> Mirror:
        """The mirror on which ``suite`` lives."""
        return self.security if suite.endswith(("-security", "/updates")) else self.main


def host_mirrors(environ: Mapping[str, str] = os.environ) -> Mirrors:
    """The mirrors named in the environment, else those of this machine's apt.

    Raises:
        InfraError: neither names a Debian mirror.
        ToolMissingError: apt is not installed.
    """
    named = environ.get(MIRROR_VARIABLE, "")
    if named:
        key = environ.get(KEYRING_VARIABLE, "") or _installed_keyring()
        main = Mirror(uri=named.rstrip("/"), signed_by=key)
        security = environ.get(SECURITY_VARIABLE, "").rstrip("/")
        return _with_security(main, Mirror(uri=security, signed_by=key) if security else None)
    return choose_mirrors(read_sources(_configuration_files()))


def _installed_keyring() -> str:
    """Where the package debian-archive-keyring puts it; "" (apt's global keys) if not there."""
    path = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return str(path) if path.is_file() else ""


def choose_mirrors(sources: Iterable[Source]) -> Mirrors:
    """Pick the Debian mirrors out of an apt configuration that may name other archives too.

    Raises:
        InfraError: there is no Debian mirror in it.
    """
    usable = [source for source in sources if "main" in source.components and _likeness(source)]
    by_likeness = sorted(usable, key=_likeness, reverse=True)  # stable: first in the file wins
    main = next((source for source in by_likeness if not _is_security(source)), None)
    if main is None:
        raise InfraError(
            f"apt configuration of this machine: no Debian mirror in it; set {MIRROR_VARIABLE} to "
            f"one's address and {KEYRING_VARIABLE} to its keyring "
            "(apt-get install debian-archive-keyring)"
        )
    security = next((source for source in by_likeness if _is_security(source)), None)
    return _with_security(_mirror(main), _mirror(security) if security else None)


def _with_security(main: Mirror, security: Mirror | None) -> Mirrors:
    if security is not None:
        return Mirrors(main=main, security=security)
    derived = Mirror(uri=f"{main.uri}-security", signed_by=main.signed_by)
    note = (
        f"no security mirror is configured: security updates are looked for at {derived.uri} "
        f"(set {SECURITY_VARIABLE} if they are elsewhere)"
    )
    return Mirrors(main=main, security=derived, note=note)


def _mirror(source: Source) -> Mirror:
    return Mirror(uri=source.uri.rstrip("/"), signed_by=source.signed_by)


def _is_security(source: Source) -> bool:
    return source.suite.endswith(("-security", "/updates"))


def _likeness(source: Source) -> int:
    """How surely this is Debian's own archive: 0 is not at all.

    Other archives use Debian's suite names too (``bookworm main``), so a suite's name alone is
    believed only where apt's global keys sign it.
    """
    suite = _POCKET.sub("", source.suite)
    if suite not in _CODENAMES | _ALIASES:
        return 0
    by_key = 4 if _KEYRING_NAME in source.signed_by else 0
    by_path = 2 if re.search(r"/debian(-security)?/?$", source.uri) else 0
    by_suite = 1 if not source.signed_by and suite in _CODENAMES else 0
    return by_key + by_path + by_suite


# --- reading sources.list(5) -------------------------------------------------------------------


def _configuration_files() -> Sequence[Path]:
    """The files that this machine's apt reads its sources from."""
    done = run(
        [
            "apt-config",
            "shell",
            "LIST",
            "Dir::Etc::sourcelist/f",
            "PARTS",
            "Dir::Etc::sourceparts/d",
        ],
        limit=30,
    )
    if done.status != 0:
        raise InfraError(f"apt-config: {complaint_of(done.stderr)}; mend /etc/apt/apt.conf.d")
    values = dict(
        word.partition("=")[::2] for word in shlex.split(done.stdout.decode(errors="replace"))
    )
    parts = Path(values.get("PARTS", "/dev/null"))
    files = [Path(values["LIST"])] if "LIST" in values else []
    if parts.is_dir():
        files += sorted(path for path in parts.iterdir() if path.suffix in {".list", ".sources"})
    return [path for path in files if path.is_file()]


def read_sources(paths: Iterable[Path]) -> tuple[Source, ...]:
    """The binary-package sources of these files, in order.

    Raises:
        InfraError: a file cannot be read.
    """
    found: list[Source] = []
    for path in paths:
        try:
            text = path.read_text(errors="replace")
        except OSError as error:
            raise InfraError(f"{path}: {error.strerror}; make it readable") from error
        parse = parse_deb822 if path.suffix == ".sources" else parse_one_line
        found.extend(parse(text))
    return tuple(found)


def parse_one_line(text: str) -> Iterator[Source]:
    """``deb [option=value …] URI SUITE COMPONENT…`` lines; others are skipped, as apt does."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<rest>[^#]*)", line)
        fields = match["rest"].split() if match else []
        if match is None or len(fields) < 2:
            continue
        options = dict(word.partition("=")[::2] for word in (match["options"] or "").split())
        yield Source(
            uri=fields[0],
            suite=fields[1],
            components=tuple(fields[2:]),
            signed_by=options.get("signed-by", ""),
        )


def parse_deb822(text: str) -> Iterator[Source]:
    """``Types: URIs: Suites: Components:`` stanzas; disabled ones and sources are skipped."""
    for fields in stanzas(text):
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").strip().lower() in {"no", "false", "0", "off"}:
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(
                    uri=uri,
                    suite=suite,
                    components=tuple(fields.get("components", "").split()),
                    signed_by=fields.get("signed-by", "").strip(),
                )


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """RFC 822-like stanzas, as deb822(5): field names in lower case, continuation lines kept.

    A continuation line loses its first blank; a line of a single dot stands for an empty one.
    """
    fields: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t" and name:
            rest = line[1:]
            fields[name] += "\n" + ("" if rest.strip() == "." else rest)
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
