"""Supernets on the Hugging Face Hub, both directions, with our identity check on top.

A repository of ours is an entry's folder: `card.toml`, `README.md` and the files the card lists. What the
hub delivers is compared with the card before anybody gets to see the folder; login, caching, resuming
and proxies are `huggingface_hub`'s business (`HF_TOKEN`, `HF_HOME`, `HF_ENDPOINT`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core.errors import OfaToolkitError, StoreError, first_line
from ofa_toolkit.zoo.card import CARD_FILE
from ofa_toolkit.zoo.entries import HUB_PREFIX, check_files, is_hub_name, load_entry
from ofa_toolkit.zoo.fetching import display, is_offline
from ofa_toolkit.zoo.readme import README_FILE

_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class HubName:
    """A repository on the hub, and which revision of it."""

    repository: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Read `hf-hub:USER/REPO[@REVISION]`.

        Raises:
            StoreError: The text has another form.
            UnknownNameError: It names a repository in another spelling.
        """
        body, _, revision = text.removeprefix(HUB_PREFIX).partition("@")
        if not is_hub_name(text) or not _NAME.fullmatch(body):
            raise StoreError(
                f"'{text}' is not of the form {HUB_PREFIX}USER/REPO[@REVISION].",
                hint=f"Write {HUB_PREFIX}{text}" if _NAME.fullmatch(body) else None,
            )
        return cls(repository=body, revision=revision or None)


def download_from_hub(name: str, *, offline: bool = False, endpoint: str | None = None) -> Path:
    """Fetch an entry from the hub, or check the copy that is here.

    Args:
        name: `hf-hub:USER/REPO[@REVISION]`.
        offline: Use the library's cache only.
        endpoint: Another hub; default `HF_ENDPOINT` or huggingface.co.

    Returns:
        The folder, in the library's cache; do not change it.

    Raises:
        StoreError: The repository cannot be reached, is no entry of ours, or holds other files than its
            card says.
    """
    import huggingface_hub

    wanted = HubName.parse(name)
    local_only = offline or is_offline()
    with _explained(name, "download", offline=local_only):
        folder = Path(
            huggingface_hub.snapshot_download(
                wanted.repository, revision=wanted.revision, endpoint=endpoint, local_files_only=local_only
            )
        )
    if not (folder / CARD_FILE).is_file():
        raise StoreError(
            f"'{name}' is no zoo entry: it has no {CARD_FILE}.",
            hint="Entries are made by `ofa-tk zoo package` and uploaded by `ofa-tk zoo push`.",
        )
    entry = load_entry(folder)
    if entry.card.availability != "included":
        raise StoreError(f"'{name}' holds a card without the files; its availability is not 'included'.")
    problems = check_files(entry)
    if problems:
        raise StoreError(
            f"'{name}' does not hold what its card says: {problems[0]}.",
            hint="Delete the copy with `hf cache rm` and download again, or tell its owner.",
        )
    return folder


def hub_folder(name: str) -> Path:
    """The folder of an entry on the hub, which is fetched where it is not here whole.

    Args:
        name: `hf-hub:USER/REPO[@REVISION]`.

    Raises:
        StoreError: As `download_from_hub`.
    """
    try:
        return download_from_hub(name, offline=True)
    except StoreError:
        if is_offline():
            raise
    display().say(f"Fetching '{name}'")
    return download_from_hub(name)


def push_to_hub(
    folder: Path, name: str, *, private: bool = False, message: str | None = None, endpoint: str | None = None
) -> str:
    """Upload an entry's folder, after checking it.

    Args:
        folder: With `card.toml` and the files it lists; anything else in it is left out.
        name: `hf-hub:USER/REPO[@REVISION]`; the repository is made if it is missing.
        private: Make a new repository private.
        message: Commit message.
        endpoint: Another hub; default `HF_ENDPOINT` or huggingface.co.

    Returns:
        The address of the commit.

    Raises:
        StoreError: The folder is not what its card says, or the hub refuses.
    """
    import huggingface_hub

    wanted = HubName.parse(name)
    entry = load_entry(folder)
    problems = check_files(entry)
    if entry.card.availability != "included" or problems:
        problem = problems[0] if problems else "its files are not in the folder"
        raise StoreError(
            f"'{folder}' is not uploaded: {problem}.", hint="`ofa-tk zoo package` makes a folder."
        )
    if is_offline():
        raise StoreError("Uploading needs the network, and OFA_TK_OFFLINE forbids it.")
    api = huggingface_hub.HfApi(endpoint=endpoint)
    with _explained(name, "upload"):
        api.create_repo(wanted.repository, private=private, exist_ok=True)
        # One commit, so that nobody ever downloads the card of one state with the files of another.
        paths = [CARD_FILE, *(file.path for file in entry.card.files)]
        if (folder / README_FILE).is_file():
            paths.append(README_FILE)
        commit = api.create_commit(
            wanted.repository,
            [
                huggingface_hub.CommitOperationAdd(path_in_repo=path, path_or_fileobj=folder / path)
                for path in paths
            ],
            commit_message=message or f"Upload {entry.name}",
            revision=wanted.revision,
        )
    return str(commit.commit_url)


@contextlib.contextmanager
def _explained(name: str, action: str, *, offline: bool = False) -> Iterator[None]:
    """One line for what the library raises; its transport errors change type between its major versions."""
    from huggingface_hub import errors

    try:
        yield
    except OfaToolkitError:
        raise
    except errors.GatedRepoError as error:
        raise StoreError(
            f"'{name}' asks for its terms to be accepted first.", hint="Do so on its page."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise StoreError(
            f"There is no '{name}', or it is private.",
            hint="For a private one: `hf auth login`, or set HF_TOKEN.",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise StoreError(f"'{name}': no such revision.") from error
    except errors.LocalEntryNotFoundError as error:
        if offline:
            hint = f"`ofa-tk zoo download {name}` fetches it."
            raise StoreError(f"'{name}' is not on this machine.", hint=hint) from error
        raise StoreError(f"Cannot {action} '{name}': the hub does not answer.", hint="Try later.") from error
    except Exception as error:
        raise StoreError(
            f"Cannot {action} '{name}': {first_line(error)}", hint="Is this machine logged in (HF_TOKEN)?"
        ) from error
