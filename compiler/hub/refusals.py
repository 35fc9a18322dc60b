"""What a hub's refusal means and what the user can do about it.

In: a status, the hub's error code, what was asked. Out: one error of ours. Text
the hub sent is never part of it, nor is the token.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from compiler.errors import HubError, HyperDexError, UsageError

_ABSENT = (ConnectionRefusedError, socket.gaierror)
_LOGIN = "set HF_TOKEN or run `hf auth login`"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of the hub.

    Attributes:
        model_id: repository.
        revision: branch, tag or commit as asked for.
        host: host name of the hub.
        has_token: whether a token was sent.
        file: file within the repository, or "" for its listing.
    """

    model_id: str
    revision: str
    host: str
    has_token: bool
    file: str = ""

    def __str__(self) -> str:
        return f"{self.model_id}/{self.file}" if self.file else self.model_id


class Transient(Exception):
    """A failure that may pass: worth another attempt after a pause.

    Attributes:
        wait_s: seconds the hub asked to wait, 0 when it did not say.
        progressed: whether this attempt moved the work on.
        unreachable: no answer came at all, as opposed to a refusal.
        absent: there is nobody to wait for: no such name, or the connection was refused.
    """

    def __init__(
        self,
        reason: str,
        *,
        wait_s: float = 0.0,
        progressed: bool = False,
        unreachable: bool = True,
        absent: bool = False,
    ) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.progressed = progressed
        self.unreachable = unreachable
        self.absent = absent


class Unreachable(HubError):
    """No useful answer came, after every attempt; a whole local copy may do instead."""


def explain_status(status: int, code: str, retry_after: str, request: Request) -> HyperDexError | Transient:
    """Return what an HTTP error status means.

    Args:
        status: HTTP status, 300 or more.
        code: the `X-Error-Code` header, or "".
        retry_after: the `Retry-After` header, or "".
        request: what was asked.
    """
    if status == 429 or status >= 500 or status == 408:
        wait_s = float(retry_after) if retry_after.isdecimal() and len(retry_after) < 8 else 0.0
        reason = "too many requests (429)" if status == 429 else f"server error {status}"
        return Transient(reason, wait_s=wait_s, unreachable=False)
    if code == "GatedRepo":
        return _gated(request)
    if code == "RevisionNotFound":
        return HubError(
            f"{request.model_id} has no revision {request.revision!r} at {request.host}",
            "name an existing branch, tag or commit with --revision",
        )
    if code == "EntryNotFound":
        return HubError(f"{request} does not exist at {request.host} in revision {request.revision!r}")
    if status in (401, 403) and request.has_token and code != "RepoNotFound":
        return HubError(
            f"{request.host} refuses {request} to your token ({status})",
            "the token is expired or lacks the right to read it: " + _LOGIN,
        )
    if status in (401, 403, 404):
        advice = "check the spelling" if request.has_token else f"check the spelling; if it is private, {_LOGIN}"
        return HubError(f"{request} does not exist at {request.host}, or is private ({status})", advice)
    if status == 451:
        return HubError(f"{request} is blocked at {request.host} for legal reasons (451)")
    return HubError(f"{request.host} answers {status} for {request}", "try again later")


def explain_client(error: Exception, request: Request) -> HyperDexError | Transient:
    """Return what an exception of the huggingface_hub client, of any version, means."""
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    if isinstance(error, HFValidationError):
        return UsageError(f"the hub's rules do not allow model id {request.model_id!r}", "check the spelling")
    if isinstance(error, OfflineModeIsEnabled):
        return HubError(f"{request} was not asked for: HF_HUB_OFFLINE is set", "unset it or place the files by hand")
    response = getattr(error, "response", None)
    if response is not None:
        headers = response.headers
        code, retry_after = headers.get("X-Error-Code") or "", headers.get("Retry-After") or ""
        return explain_status(int(response.status_code), code, retry_after, request)
    if isinstance(error, (ValueError, KeyError, TypeError, AttributeError)):
        return malformed(request)
    return explain_network(error, request)


def explain_network(error: BaseException, request: Request) -> HyperDexError | Transient:
    """Return what a failed connection means; a rejected certificate does not pass by waiting."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return HubError(
                f"the certificate of {request.host} is not trusted: {link.verify_message}",
                "set SSL_CERT_FILE to your network's certificates",
            )
    if any(isinstance(link, TimeoutError) or "Timeout" in type(link).__name__ for link in chain):
        return Transient("no answer in time")
    said = [link.strerror for link in chain if isinstance(link, OSError) and link.strerror]
    absent = any(isinstance(link, _ABSENT) for link in chain)
    return Transient(str(said[-1]) if said else type(error).__name__, absent=absent)


def malformed(request: Request) -> HubError:
    """Return the error for an answer that is no answer."""
    return HubError(f"{request.host} gives a malformed answer for {request}", "check HF_ENDPOINT")


def give_up(trouble: Transient, request: Request) -> HubError:
    """Return the error for the last of several transient failures."""
    if trouble.unreachable:
        return Unreachable(
            f"{request.host} cannot be reached for {request}: {trouble}",
            "check the network, or place the files in ckpt/ by hand",
        )
    return Unreachable(f"{request.host} does not deliver {request}: {trouble}", "try again later")


def _gated(request: Request) -> HubError:
    step = "wait until it is granted to your account" if request.has_token else _LOGIN
    return HubError(f"{request.model_id} is gated", f"ask for access on its page at {request.host}, then {step}")


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: object = error
    while isinstance(link, BaseException) and link not in chain:
        chain.append(link)
        link = getattr(link, "reason", None) or link.__cause__ or link.__context__
    return chain
