"""The wire: listings through huggingface_hub, bytes through plain HTTP GET.

Every request goes through one retry rule and one mapping of refusals. The token
goes to the hub's own origin only: a redirect elsewhere drops it.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from compiler.errors import HubError, UsageError
from compiler.hub.refusals import (
    Request,
    Transient,
    explain_client,
    explain_network,
    explain_status,
    give_up,
    malformed,
)
from compiler.sanitize import one_line

DEFAULT_ENDPOINT = "https://huggingface.co"
PIECE_BYTES = 1 << 20

_TRUE = frozenset({"1", "on", "yes", "true"})
_HOST = re.compile(
    r"(?=.{1,253}$)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+", re.ASCII
)
_CLIENT_LOGGER = "huggingface_hub.utils._http"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to put up with a failing network.

    Attributes:
        attempts: failures in a row before giving up.
        attempts_absent: the same while nobody has answered yet and there is nobody to wait for.
        first_wait_s: pause after the first failure; doubles each time.
        longest_wait_s: upper limit of that pause.
        longest_asked_s: longest pause the hub may ask for; above it we give up.
        timeout_s: silence on a connection that counts as a failure.
    """

    attempts: int = 5
    attempts_absent: int = 2
    first_wait_s: float = 1.0
    longest_wait_s: float = 16.0
    longest_asked_s: float = 300.0
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Client:
    """Asks one hub; the token is not part of its repr."""

    endpoint: str
    token: str = field(repr=False)
    patience: Patience
    on_message: Callable[[str], None]
    opener: urllib.request.OpenerDirector = field(repr=False, compare=False)

    def request(self, model_id: str, revision: str, file: str = "") -> Request:
        """Describe a request for messages."""
        return Request(model_id, revision, urlsplit(self.endpoint).hostname or "", bool(self.token), file)

    def model_info(self, model_id: str, revision: str | None) -> Any:
        """Return huggingface_hub's ModelInfo with sizes and hashes of the files."""
        from huggingface_hub import HfApi

        request = self.request(model_id, revision or "main")
        api = HfApi(endpoint=self.endpoint, token=self.token or False)

        def ask() -> Any:
            try:
                with printable_log():
                    return api.model_info(
                        model_id, revision=revision, files_metadata=True, timeout=self.patience.timeout_s
                    )
            except Exception as error:  # requests', httpx's or the client's own, by version
                raise explain_client(error, request) from None

        return self.persist(request, ask)

    def file_metadata(self, request: Request) -> Any:
        """Return huggingface_hub's HfFileMetadata: size and etag as the file's own address gives them."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        def ask() -> Any:
            try:
                url = hf_hub_url(request.model_id, request.file, revision=request.revision, endpoint=self.endpoint)
                with printable_log():
                    return get_hf_file_metadata(url, token=self.token or False, timeout=self.patience.timeout_s)
            except Exception as error:  # requests', httpx's or the client's own, by version
                raise explain_client(error, request) from None

        return self.persist(request, ask)

    def read(self, request: Request, limit_bytes: int) -> bytes:
        """Return a small file; one byte more than `limit_bytes` when it is longer."""

        def ask() -> bytes:
            with self.open(request) as response:
                return b"".join(pieces(response, limit_bytes + 1, request))

        return self.persist(request, ask)

    def persist(self, request: Request, ask: Callable[[], T]) -> T:
        """Call `ask` until it does not raise Transient.

        Raises:
            HubError: it failed too often in a row, or the hub asks for too long a pause.
        """
        failures, answered = 0, False
        while True:
            try:
                return ask()
            except Transient as trouble:
                failures = 1 if trouble.progressed else failures + 1
                answered |= not trouble.absent
                attempts = self.patience.attempts if answered else self.patience.attempts_absent
                wait_s = min(self.patience.first_wait_s * 2 ** (failures - 1), self.patience.longest_wait_s)
                if failures >= attempts or trouble.wait_s > self.patience.longest_asked_s:
                    raise give_up(trouble, request) from None
                wait_s = max(wait_s, trouble.wait_s)
                reason = str(trouble)
            self.on_message(one_line(f"{request}: {reason}, trying again in {wait_s:g} s"))
            time.sleep(wait_s)

    @contextmanager
    def open(self, request: Request, offset: int = 0) -> Iterator[http.client.HTTPResponse]:
        """Open a file of the hub from byte `offset` on.

        Raises:
            Transient: worth another attempt.
            HubError: the hub refuses.
        """
        from huggingface_hub import hf_hub_url

        try:
            url = hf_hub_url(request.model_id, request.file, revision=request.revision, endpoint=self.endpoint)
        except ValueError as error:  # a name the hub would refuse
            raise explain_client(error, request) from None
        asked = urllib.request.Request(url, headers={"User-Agent": "hyperdex", "Accept-Encoding": "identity"})
        if offset:
            asked.add_header("Range", f"bytes={offset}-")
        if self.token:
            asked.add_unredirected_header("Authorization", f"Bearer {self.token}")
        try:
            response = self.opener.open(asked, timeout=self.patience.timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                code, retry_after = error.headers.get("X-Error-Code", ""), error.headers.get("Retry-After", "")
            raise explain_status(error.code, code, retry_after, request) from None
        except (OSError, http.client.HTTPException) as error:
            raise explain_network(error, request) from None
        except ValueError:  # redirected to what is no address
            raise malformed(request) from None
        with response:
            yield response


def connect(token: str | None, patience: Patience, on_message: Callable[[str], None]) -> Client:
    """Return a client for `$HF_ENDPOINT` with `token`, else the user's stored one.

    Raises:
        UsageError: the endpoint is not an http address, or the token not a token.
    """
    endpoint = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    if not _is_address(endpoint):
        raise UsageError("HF_ENDPOINT is not an http or https address", f"unset it to use {DEFAULT_ENDPOINT}")
    chosen = (token if token is not None else _stored_token()).strip()
    if not chosen.isascii() or not chosen.isprintable() or " " in chosen:
        raise UsageError("the hub token contains characters a token cannot have", "copy it again")
    opener = urllib.request.build_opener(_Redirects(), _Https())
    return Client(endpoint, chosen, patience, on_message, opener)


def _is_address(endpoint: str) -> bool:
    """Whether requests can be built from a text: a scheme, a host, perhaps a port and a path, nothing else."""
    if not endpoint.isascii() or not endpoint.isprintable() or any(sign in endpoint for sign in ' "<>\\^`{|}'):
        return False  # before it is taken apart, which drops some of these unseen
    return _names_host(endpoint) and not {"?", "#"} & set(endpoint)


def _names_host(url: str) -> bool:
    """Whether a url is of http or https, and its host and port can be those of a machine."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # brackets, or a port that is none
        return False
    return parts.scheme in ("http", "https") and port != 0 and _HOST.fullmatch(parts.hostname or "") is not None


def is_offline(asked: bool) -> bool:
    """Whether the option or the environment forbids the network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return asked or any(os.environ.get(name, "").lower() in _TRUE for name in names)


def pieces(response: IO[bytes], limit_bytes: int, request: Request) -> Iterator[bytes]:
    """Yield the body of a response, at most `limit_bytes` of it.

    Raises:
        Transient: the connection broke.
    """
    left = limit_bytes
    while left > 0:
        try:
            piece = response.read(min(left, PIECE_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise explain_network(error, request) from None
        if not piece:
            return
        left -= len(piece)
        yield piece


class _Https(urllib.request.HTTPSHandler):
    """Loads the trusted certificates when the first https address is opened, not before."""

    def __init__(self) -> None:
        urllib.request.AbstractHTTPHandler.__init__(self)
        self._trusted: ssl.SSLContext | None = None

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        if self._trusted is None:
            self._trusted = _trust()
        return self.do_open(http.client.HTTPSConnection, req, context=self._trusted)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, never from https to http; the token stays at its origin."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:  # brackets: not even taken apart
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_302

    def http_error_308(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        return self.http_error_302(req, fp, 307, msg, headers)

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if not _names_host(newurl) or (old.scheme, new.scheme) == ("https", "http"):
            fp.close()
            raise HubError(f"{old.hostname} redirects to an address that is not safe", "check HF_ENDPOINT")
        followed = super().redirect_request(req, fp, code, msg, headers, newurl)
        secret = req.unredirected_hdrs.get("Authorization")
        if followed is not None and secret and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            followed.add_unredirected_header("Authorization", secret)
        return followed


class _Printable(logging.Filter):
    """Makes log records printable: the client logs warnings that the hub sends."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = one_line(record.getMessage(), 300), ()
        return True


@contextmanager
def printable_log() -> Iterator[None]:
    """Make what the hub's own client logs in the block printable."""
    logger, only_printable = logging.getLogger(_CLIENT_LOGGER), _Printable()
    logger.addFilter(only_printable)
    try:
        yield
    finally:
        logger.removeFilter(only_printable)


def _trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle:
        try:
            context.load_verify_locations(bundle)
        except OSError:
            raise UsageError("REQUESTS_CA_BUNDLE names no readable certificates") from None
    return context


def _stored_token() -> str:
    from huggingface_hub import get_token

    if os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").lower() in _TRUE:
        return ""
    try:
        return get_token() or ""
    except Exception:
        raise HubError("the stored hub token cannot be read", "run `hf auth login`") from None
