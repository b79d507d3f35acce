"""One transfer from one source into a partial file: resumed by range, retried with growing pauses.

HTTP is `requests`' business: redirects (with a limit), proxies from the environment, certificates. What
is ours is to go on where a broken transfer stopped, to stop when it leads nowhere, and to say why.
Nothing here decides whether the bytes are right: the store compares them with their identity.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import requests

from ofa_toolkit.core.errors import StoreError
from ofa_toolkit.core.version import __version__

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes that are there and the bytes there will be, when that is known."""

_CHUNK = 1 << 16
_NUMBER = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)
LARGEST_FILE = 8 * 2**30
"""Bytes of a file whose size nobody states."""


@dataclass(frozen=True, kw_only=True)
class TransferPolicy:
    """How patient a transfer is.

    Args:
        connect_timeout_s: Wait for a connection.
        read_timeout_s: Wait for the next bytes.
        retries: Attempts after the first that bring less than `progress_bytes`.
        pause_s: Pause before the first retry; doubled each time, with a random part.
        longest_pause_s: Limit of a pause, also of one the server asks for.
        progress_bytes: An attempt that brings this much is not counted as failed.
        max_redirects: Redirects followed in one request.
        sleep: Waits; replaced in tests.
    """

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    retries: int = 4
    pause_s: float = 0.5
    longest_pause_s: float = 30.0
    progress_bytes: int = 1 << 20
    max_redirects: int = 8
    sleep: Callable[[float], None] = time.sleep


class SourceError(Exception):
    """A source does not deliver; the message is a clause such as `HTTP 404`."""


class _BrokenTransferError(Exception):
    """An attempt ended early and may be repeated."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def copy_local(source: Path, partial: Path, progress: Progress) -> None:
    """Copy a local file over `partial`.

    Raises:
        SourceError: It cannot be read.
        StoreError: The partial file cannot be written.
    """
    try:
        total = source.stat().st_size
        file = source.open("rb")
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from error
    with file:
        _append(partial, _file_chunks(file.read), start=0, limit=total, total=total, progress=progress)


def fetch_url(
    url: str,
    partial: Path,
    *,
    size: int | None,
    limit: int = LARGEST_FILE,
    policy: TransferPolicy,
    progress: Progress,
    notify: Callable[[str], None] = lambda _: None,
) -> None:
    """Bring `partial` to the full length of what `url` serves, going on from what it holds.

    Args:
        url: An `http` or `https` address.
        partial: Kept when the transfer fails for good, so that another source can go on with it.
        size: Bytes the file has, when known.
        limit: Most bytes taken when the size is not known.
        policy: Timeouts and retries.
        progress: Told about every chunk.
        notify: Told why an attempt failed, and how long the next one is waited for.

    Raises:
        SourceError: The source does not have the file, serves something of another length, or keeps failing.
        StoreError: The partial file cannot be written.
    """
    failures = 0
    with requests.Session() as session:
        session.max_redirects = policy.max_redirects
        session.headers["User-Agent"] = f"ofa-toolkit/{__version__}"
        # Byte ranges of a compressed stream would be meaningless.
        session.headers["Accept-Encoding"] = "identity"
        while True:
            before = _size(partial)
            try:
                _attempt(session, url, partial, size=size, limit=limit, policy=policy, progress=progress)
                return
            except _BrokenTransferError as error:
                if _size(partial) - before >= policy.progress_bytes:
                    failures = 0
                failures += 1
                if failures > policy.retries:
                    raise SourceError(f"{error} ({failures} times)") from error
                pause_s = _pause(failures, error.pause_s, policy)
                notify(f"{error}; trying again in {pause_s:.1f} s ({failures} of {policy.retries})")
                policy.sleep(pause_s)


def _attempt(
    session: requests.Session,
    url: str,
    partial: Path,
    *,
    size: int | None,
    limit: int,
    policy: TransferPolicy,
    progress: Progress,
) -> None:
    offset = _size(partial)
    if size is not None and offset > size:
        partial.unlink()
        offset = 0
    if size is not None and offset == size and offset > 0:
        return
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    try:
        response = session.get(
            url,
            headers=headers,
            stream=True,
            timeout=(policy.connect_timeout_s, policy.read_timeout_s),
        )
    except requests.TooManyRedirects:
        raise SourceError(f"more than {policy.max_redirects} redirects") from None
    except requests.Timeout as error:
        raise _BrokenTransferError("no answer in time") from error
    except requests.ConnectionError as error:
        raise _BrokenTransferError(_connection_reason(error)) from error
    except Exception as error:
        # What a server answers reaches parsers of many kinds: whatever they raise, it is the source's doing.
        if "SOCKS" in str(error):
            raise SourceError("the SOCKS proxy needs the package PySocks") from error
        raise SourceError(f"its address or answer is malformed ({type(error).__name__})") from error
    with response:
        start, total = _read_headers(response, offset, partial)
        if size is not None and total is not None and total != size:
            raise SourceError(f"it offers {total} bytes instead of {size}")
        whole = size if size is not None else total
        if whole is not None and size is None and whole > limit:
            raise SourceError(f"it offers {whole} bytes; at most {limit} are expected")
        most = limit if whole is None else whole
        _append(partial, _body(response), start=start, limit=most, total=whole, progress=progress)
        if whole is not None and _size(partial) < whole:
            raise _BrokenTransferError(f"the transfer stopped at {_size(partial)} of {whole} bytes")


def _read_headers(response: requests.Response, offset: int, partial: Path) -> tuple[int, int | None]:
    """Where the body starts in the file, and the file's full length when the server says it."""
    status = response.status_code
    if status == 206 and offset:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            partial.unlink(missing_ok=True)
            raise _BrokenTransferError("it answers with another range than asked for")
        return offset, None if match[3] == "*" else int(match[3])
    if status == 200:
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if _NUMBER.fullmatch(length) and not encoded else None
    if status == 416:
        # What is there is longer than what is served: it came from elsewhere.
        partial.unlink(missing_ok=True)
        raise _BrokenTransferError("it refuses the range asked for")
    if status in _RETRIED_STATUS:
        after = response.headers.get("Retry-After", "")
        raise _BrokenTransferError(f"HTTP {status}", float(after) if _NUMBER.fullmatch(after) else None)
    raise SourceError(f"HTTP {status}")


def _body(response: requests.Response) -> Iterable[bytes]:
    try:
        yield from response.iter_content(_CHUNK)
    except (requests.Timeout, requests.ConnectionError) as error:
        raise _BrokenTransferError(_connection_reason(error)) from error
    except Exception as error:
        raise _BrokenTransferError("the connection broke") from error


def _append(
    partial: Path,
    chunks: Iterable[bytes],
    *,
    start: int,
    limit: int,
    total: int | None,
    progress: Progress,
) -> None:
    """Write chunks into the partial file from `start` on; what was behind it is cut off."""
    position = start
    try:
        _check_space(partial.parent, (total or start) - start)
        with partial.open("r+b" if partial.exists() else "wb") as file:
            file.truncate(start)
            file.seek(start)
            for chunk in chunks:
                position += len(chunk)
                if position > limit:
                    raise SourceError(f"it sends more than {position - len(chunk)} bytes")
                file.write(chunk)
                progress(position, total)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise
        # A disk that is full stays full if what filled it is kept.
        partial.unlink(missing_ok=True)
        raise StoreError(
            f"Cannot write to '{partial.parent}': {error.strerror or error}.",
            hint="Free some space, or set OFA_TK_CACHE to a folder with more.",
        ) from error


def _check_space(folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise StoreError(
            f"'{folder}' has {free} bytes free; {num_bytes} more are needed.",
            hint="Free some space, or set OFA_TK_CACHE to a folder with more.",
        )


def _file_chunks(read: Callable[[int], bytes]) -> Iterable[bytes]:
    while True:
        try:
            chunk = read(_CHUNK)
        except OSError as error:
            raise SourceError(error.strerror or str(error)) from error
        if not chunk:
            return
        yield chunk


def _connection_reason(error: Exception) -> str:
    text = str(error).lower()
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return "no data in time"
    if "refused" in text:
        return "connection refused"
    if "resolve" in text or "name or service" in text:
        return "its host name is not known"
    return "the connection broke"


def _pause(failures: int, asked_s: float | None, policy: TransferPolicy) -> float:
    # Many clients that lost the same server must not come back at the same moment.
    grown = policy.pause_s * 2.0 ** (failures - 1) * (1 + random.random())  # noqa: S311
    return min(max(grown, asked_s or 0.0), policy.longest_pause_s)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
