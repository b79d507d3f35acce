"""The store delivers the right bytes or a clear error; nothing wrong or partial ever lies in the cache."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from ofa_toolkit.core.errors import StoreError
from ofa_toolkit.zoo.card import FileFacts
from ofa_toolkit.zoo.store import Store
from ofa_toolkit.zoo.transfer import TransferPolicy
from tests.unit.zoo.mirror_server import Fault, Mirror, serve

CONTENT = random.Random(7).randbytes(300_000)
PAUSES: list[float] = []
POLICY = TransferPolicy(connect_timeout_s=5, read_timeout_s=0.3, retries=3, sleep=PAUSES.append)


def facts(content: bytes = CONTENT, **changes: Any) -> FileFacts:
    known: dict[str, Any] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return FileFacts(path="weights/net", **(known | changes))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OFA_TK_MIRROR", "OFA_TK_OFFLINE", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    PAUSES.clear()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(root=tmp_path / "cache", policy=POLICY)


def blobs(store: Store) -> list[bytes]:
    folder = store.folder / "blobs"
    return [path.read_bytes() for path in folder.iterdir()] if folder.is_dir() else []


def assert_whole_or_nothing(store: Store) -> None:
    assert all(blob == CONTENT for blob in blobs(store))


def fetch_from(store: Store, *mirrors: Mirror, **changes: Any) -> Path:
    return store.fetch("entry", facts(mirrors=tuple(f"{m.url}/net" for m in mirrors), **changes))


def test_a_good_mirror_is_asked_once_and_then_never_again(store: Store) -> None:
    with serve(CONTENT) as mirror:
        path = fetch_from(store, mirror)
        assert path.read_bytes() == CONTENT
        assert fetch_from(store, mirror) == path
        assert len(mirror.requests) == 1
    assert not list((store.folder / "partial").iterdir())
    assert store.find("entry", facts()) == path


SURVIVED: list[tuple[Fault, int]] = [
    ("dies_once", 2),
    ("truncated_range", 3),
    ("ignores_range", 1),
    ("busy_once", 2),
    ("no_length", 1),
]


@pytest.mark.parametrize(("fault", "num_requests"), SURVIVED)
def test_faults_a_mirror_can_recover_from(store: Store, fault: Fault, num_requests: int) -> None:
    with serve(CONTENT, fault) as mirror:
        assert fetch_from(store, mirror).read_bytes() == CONTENT
        assert len(mirror.requests) == num_requests
        assert all(asked != "bytes=0-" for asked in mirror.ranges)


def test_an_attempt_that_brought_much_does_not_count_as_failed(store: Store) -> None:
    policy = TransferPolicy(read_timeout_s=0.3, retries=1, progress_bytes=30_000, sleep=PAUSES.append)
    with serve(CONTENT, "dies") as mirror, pytest.raises(StoreError):
        fetch_from(Store(root=store.folder, policy=policy), mirror)
    assert len(mirror.requests) > policy.retries + 1


FATAL: list[tuple[Fault, str]] = [
    ("dies", "stopped|broke"),
    ("flipped", "SHA-256"),
    ("redirects", "redirects"),
    ("missing", "HTTP 404"),
    ("stalls", "no data in time"),
    ("silent", "no answer in time"),
    ("too_long", "offers 300004 bytes instead of 300000"),
]


@pytest.mark.parametrize(("fault", "reason"), FATAL)
def test_a_bad_mirror_alone_is_a_clear_error(store: Store, fault: Fault, reason: str) -> None:
    with serve(CONTENT, fault) as mirror, pytest.raises(StoreError, match=reason) as caught:
        fetch_from(store, mirror)
    assert "'weights/net' (300 KB) of 'entry'" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert blobs(store) == []


@pytest.mark.parametrize("fault", [fault for fault, _ in FATAL] + ["wrong_range"])
def test_the_next_mirror_makes_up_for_a_bad_one(store: Store, fault: Fault) -> None:
    with serve(CONTENT, fault) as bad, serve(CONTENT) as good:
        assert fetch_from(store, bad, good).read_bytes() == CONTENT


def test_every_mirror_dying_leaves_a_beginning_that_the_next_run_continues(store: Store) -> None:
    with serve(CONTENT, "dies") as first, serve(CONTENT, "dies") as second:
        with pytest.raises(StoreError):
            fetch_from(store, first, second)
        assert blobs(store) == []
        second.fault = "none"
        second.ranges.clear()
        first.fault = "missing"
        assert fetch_from(store, first, second).read_bytes() == CONTENT
        assert len(second.ranges) == 1
        assert second.ranges[0] not in (None, "bytes=0-")


def test_a_spoilt_beginning_is_thrown_away_and_the_same_mirror_asked_again(store: Store) -> None:
    partial = store.folder / "partial" / f"sha256-{hashlib.sha256(CONTENT).hexdigest()}"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 1000)
    with serve(CONTENT) as mirror:
        assert fetch_from(store, mirror).read_bytes() == CONTENT
        assert mirror.ranges == ["bytes=1000-", None]


def test_a_beginning_longer_than_the_file_is_thrown_away(store: Store) -> None:
    git = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    partial = store.folder / "partial" / f"git-{git}"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT + b"more")
    with serve(CONTENT) as mirror:
        path = fetch_from(store, mirror, size=None, sha256=None, git_blob_sha1=git)
    assert path.read_bytes() == CONTENT


def test_gits_identity_alone_is_enough_to_refuse_a_flipped_byte(store: Store) -> None:
    git = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    with serve(CONTENT, "flipped") as bad, pytest.raises(StoreError, match="git identity"):
        fetch_from(store, bad, size=None, sha256=None, git_blob_sha1=git)
    assert blobs(store) == []


def test_pauses_grow_and_respect_what_the_server_asks_for(store: Store) -> None:
    with serve(CONTENT, "dies") as mirror, pytest.raises(StoreError):
        fetch_from(store, mirror)
    assert len(PAUSES) == POLICY.retries
    assert all(2**n * 0.5 <= pause <= 2**n for n, pause in enumerate(PAUSES))
    PAUSES.clear()
    with serve(CONTENT, "busy_once") as mirror:
        fetch_from(Store(root=store.folder.with_name("other"), policy=POLICY), mirror)
    assert PAUSES == [7.0]


def test_a_damaged_cache_is_noticed_and_repaired(store: Store) -> None:
    messages: list[str] = []
    telling = Store(root=store.folder, policy=POLICY, notify=messages.append)
    with serve(CONTENT) as mirror:
        path = fetch_from(telling, mirror)
        path.chmod(0o644)
        path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
        assert telling.find("entry", facts()) is None
        assert fetch_from(telling, mirror).read_bytes() == CONTENT
    assert "damaged" in messages[0]


def test_a_full_disk_is_told_and_nothing_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = opened(self, mode, *args, **kwargs)
        if self.parent.name == "partial" and "b" in mode:
            return _FullDisk(file)
        return file

    monkeypatch.setattr(Path, "open", full)
    with serve(CONTENT) as mirror, pytest.raises(StoreError, match="No space left") as caught:
        fetch_from(store, mirror)
    assert "OFA_TK_CACHE" in str(caught.value.hint)
    assert list((store.folder / "partial").iterdir()) == []
    assert blobs(store) == []


class _FullDisk:
    """A file that takes 100,000 bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        if self._file.tell() + len(data) > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self._file.write(data))

    def __enter__(self) -> _FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_file_that_cannot_fit_is_refused_before_it_is_fetched(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with serve(CONTENT) as mirror, pytest.raises(StoreError, match="1000 bytes free; 300000 more are needed"):
        fetch_from(store, mirror)


FETCH = """
import sys
from pathlib import Path
from ofa_toolkit.zoo.card import FileFacts
from ofa_toolkit.zoo.store import Store
root, url, size, sha256 = sys.argv[1:]
file = FileFacts(path="weights/net", size=int(size), sha256=sha256, mirrors=(url,))
print("ready", flush=True)
sys.stdin.readline()
print(Store(root=Path(root)).fetch("entry", file), flush=True)
"""


def start(store: Store, mirror: Mirror) -> subprocess.Popen[str]:
    known = facts()
    arguments = [str(store.folder), f"{mirror.url}/net", str(known.size), str(known.sha256)]
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_at_once_fetch_it_once(store: Store) -> None:
    with serve(CONTENT) as mirror:
        processes = [start(store, mirror) for _ in range(2)]
        for process in processes:
            go(process)
        paths = {process.communicate(timeout=60)[0].strip() for process in processes}
        assert [process.returncode for process in processes] == [0, 0]
        assert len(mirror.requests) == 1
    assert len(paths) == 1
    assert_whole_or_nothing(store)


KILLED = """
import json, os, random, signal, sys
from pathlib import Path
from ofa_toolkit.zoo.card import FileFacts
from ofa_toolkit.zoo.store import Store

root, url, size, sha256 = sys.argv[1:]
file = FileFacts(path="weights/net", size=int(size), sha256=sha256, mirrors=(url,))

def fetch_until(line, folder):
    # Counts the lines run in the zoo's own modules and dies for good at one of them.
    count = 0
    def trace(frame, event, argument):
        nonlocal count
        if "/ofa_toolkit/zoo/" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        if count == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    Store(root=folder).fetch("entry", file)
    sys.settrace(None)
    return count

num_lines = fetch_until(-1, Path(root) / "whole")
draw = random.Random(11)
for number, line in enumerate(sorted(draw.sample(range(1, num_lines + 1), 10))):
    folder = Path(root) / str(number)
    child = os.fork()
    if child == 0:
        fetch_until(line, folder)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    left = [path.name for path in folder.glob("blobs/*")]
    wrong = [path.name for path in folder.glob("blobs/*") if path.stat().st_size != int(size)]
    Store(root=folder).fetch("entry", file)
    print(json.dumps([os.WIFSIGNALED(status), left, wrong]))
"""


def test_sigkill_at_ten_random_moments(store: Store) -> None:
    """Killed at any line between the first and the last, then finished by an ordinary run."""
    known = facts()
    with serve(CONTENT) as mirror:
        arguments = [str(store.folder), f"{mirror.url}/net", str(known.size), str(known.sha256)]
        printed = subprocess.run(
            [sys.executable, "-c", KILLED, *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
    rounds = [json.loads(line) for line in printed.splitlines()]
    assert len(rounds) == 10
    assert all(was_killed and not wrong for was_killed, _, wrong in rounds)
    for number in range(10):
        folder = store.folder / str(number)
        assert [path.read_bytes() for path in folder.glob("blobs/*")] == [CONTENT]
        assert not list(folder.glob("partial/*"))


def test_offline_takes_the_cache_and_local_mirrors_only(store: Store, tmp_path: Path) -> None:
    with serve(CONTENT) as mirror:
        offline = Store(root=store.folder, offline=True)
        with pytest.raises(StoreError, match="not on this machine, and the network is not allowed") as caught:
            fetch_from(offline, mirror)
        assert mirror.url in str(caught.value.hint)
        assert mirror.requests == []
        fetch_from(store, mirror)
        assert fetch_from(offline, mirror).read_bytes() == CONTENT


def test_offline_by_environment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_TK_OFFLINE", "1")
    with serve(CONTENT) as mirror, pytest.raises(StoreError, match="network is not allowed"):
        fetch_from(store, mirror)


def _as_file(tmp_path: Path) -> str:
    (tmp_path / "anything").write_bytes(CONTENT)
    return str(tmp_path / "anything")


def _as_folder(tmp_path: Path) -> str:
    (tmp_path / "net").write_bytes(CONTENT)
    return str(tmp_path)


def _as_tree(tmp_path: Path) -> str:
    (tmp_path / "entry" / "weights").mkdir(parents=True)
    (tmp_path / "entry" / "weights" / "net").write_bytes(CONTENT)
    return (tmp_path / "with space").as_uri().replace("with%20space", "")


@pytest.mark.parametrize("layout", [_as_file, _as_folder, _as_tree])
def test_local_mirrors(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Callable[[Path], str]
) -> None:
    place = tmp_path / "mirror"
    place.mkdir()
    monkeypatch.setenv("OFA_TK_MIRROR", layout(place))
    offline = Store(root=store.folder, offline=True)
    assert offline.fetch("entry", facts()).read_bytes() == CONTENT


def test_a_wrong_file_in_a_local_mirror_does_no_harm(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net").write_bytes(CONTENT[::-1])
    monkeypatch.setenv("OFA_TK_MIRROR", str(tmp_path))
    with serve(CONTENT) as mirror:
        assert fetch_from(store, mirror).read_bytes() == CONTENT
    assert (tmp_path / "net").read_bytes() == CONTENT[::-1]


def test_a_local_mirror_that_does_not_exist_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_TK_MIRROR", "/nowhere/at/all")
    with pytest.raises(StoreError, match="'/nowhere/at/all' does not exist"):
        store.fetch("entry", facts())


def test_mirrors_of_the_user_come_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(CONTENT) as mine, serve(CONTENT) as theirs:
        monkeypatch.setenv("OFA_TK_MIRROR", f" {mine.url}/base/ ,")
        fetch_from(store, theirs)
        assert mine.requests == ["/base/entry/weights/net"]
        assert theirs.requests == []


def test_proxies_come_from_the_environment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(CONTENT) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        path = store.fetch("entry", facts(mirrors=("http://mirror.invalid/files/net",)))
        assert path.read_bytes() == CONTENT
        assert proxy.requests == ["http://mirror.invalid/files/net"]


def test_an_unknown_identity_needs_consent_and_is_held_to_what_was_seen(store: Store) -> None:
    unknown = {"size": None, "sha256": None}
    with serve(CONTENT) as mirror:
        with pytest.raises(StoreError, match="nobody can tell") as caught:
            fetch_from(store, mirror, **unknown)
        assert "--accept-unknown" in str(caught.value.hint)
        assert mirror.requests == []
        willing = Store(root=store.folder, policy=POLICY, accept_unknown=True)
        path = fetch_from(willing, mirror, **unknown)
        assert path.read_bytes() == CONTENT
        assert fetch_from(store, mirror, **unknown) == path
        path.unlink()
        mirror.fault = "flipped"
        with pytest.raises(StoreError, match="SHA-256"):
            fetch_from(willing, mirror, **unknown)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="Cannot write to the cache") as caught:
        Store(root=tmp_path / "cache").fetch("entry", facts(mirrors=("http://127.0.0.1:1/net",)))
    assert "OFA_TK_CACHE" in str(caught.value.hint)


def test_credentials_do_not_reach_messages(store: Store) -> None:
    with serve(CONTENT, "missing") as mirror:
        address = mirror.url.replace("http://", "http://me:secret@") + "/net?token=secret"
        with pytest.raises(StoreError, match="404") as caught:
            store.fetch("entry", facts(mirrors=(address,)))
    assert "secret" not in caught.value.message


def test_progress_reaches_the_full_length(store: Store) -> None:
    seen: list[tuple[int, int | None]] = []
    with serve(CONTENT) as mirror:
        fetch_from(Store(root=store.folder, progress=lambda done, total: seen.append((done, total))), mirror)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_requests_errors_that_are_os_errors_are_not_taken_for_a_full_disk() -> None:
    """`requests` derives its errors from OSError; the store tells reading and writing apart by that."""
    assert issubclass(requests.ConnectionError, OSError)


@pytest.mark.parametrize("fault", ["huge_length", "odd_length", "odd_pause", "odd_redirect"])
@pytest.mark.parametrize("is_size_known", [True, False])
def test_malformed_answers_move_on_to_the_next_mirror(
    store: Store, fault: Fault, is_size_known: bool
) -> None:
    git = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    unknown = {"size": None, "sha256": None, "git_blob_sha1": git, "approximate_size": len(CONTENT)}
    with serve(CONTENT, fault) as bad, serve(CONTENT) as good:
        path = fetch_from(store, bad, good, **({} if is_size_known else unknown))
    assert path.read_bytes() == CONTENT


def test_a_whole_file_in_a_cache_of_others_is_taken_without_a_lock(store: Store) -> None:
    with serve(CONTENT) as mirror:
        path = fetch_from(store, mirror)
        for lock in (store.folder / "locks").iterdir():
            lock.unlink()
        (store.folder / "locks").rmdir()
        (store.folder / "locks").write_text("nobody can lock here")
        assert fetch_from(store, mirror) == path


def test_retries_say_what_they_wait_for_and_offline_never_says_later(store: Store, tmp_path: Path) -> None:
    said: list[str] = []
    with serve(CONTENT, "busy_once") as mirror:
        fetch_from(Store(root=store.folder, policy=POLICY, notify=said.append), mirror)
    assert any("HTTP 503; trying again in 7.0 s (1 of 3)" in text for text in said)
    (tmp_path / "net").write_bytes(CONTENT[::-1])
    wrong = Store(root=tmp_path / "other", offline=True, mirrors=[str(tmp_path)])
    with pytest.raises(StoreError, match="another file") as caught:
        wrong.fetch("entry", facts())
    assert "ater" not in str(caught.value.hint)


@pytest.mark.skipif(importlib.util.find_spec("socks") is not None, reason="PySocks is installed")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4"])
def test_a_socks_proxy_names_the_package_it_needs(
    store: Store, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:9")
    mirrors = ("http://mirror.invalid/net", "http://other.invalid/net")
    with pytest.raises(StoreError, match="the SOCKS proxy needs the package PySocks") as caught:
        store.fetch("entry", facts(mirrors=mirrors))
    assert caught.value.hint == "pip install pysocks"
    assert PAUSES == []
