"""Texts of upstream failures, and error pages of the platforms on which servers of the protocol run."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

__all__ = ["OVERLOADED", "Kind", "page", "quota_message"]

Kind = Literal["vercel", "cloudflare", "netlify", "nginx"]

_UPSTREAM = "https://generativelanguage.googleapis.com/v1/models/gemini-pro:streamGenerateContent"
_PREFIX = f"[GoogleGenerativeAI Error]: Error fetching from {_UPSTREAM} "
OVERLOADED = f"{_PREFIX}[503 Service Unavailable] The model is overloaded. Please try again later."


def quota_message(retry_in: float | None) -> str:
    """What the upstream says when its quota is used up, before the server trims it.

    Args:
        retry_in: Seconds, named at the end as the upstream at times does; None leaves that out, as recorded.
    """
    message = (
        f"{_PREFIX}[429 Too Many Requests] Quota exceeded for quota metric 'Generate Content API requests per"
        " minute' and limit 'GenerateContent request limit per minute for a region'"
    )
    return message if retry_in is None else f"{message}. Please retry in {retry_in:g}s."


def page(status: int, kind: Kind) -> tuple[str, dict[str, str]]:
    """The body and the headers of a platform's error page."""
    reason = reason_of(status)
    if kind == "vercel":
        code = "FUNCTION_INVOCATION_TIMEOUT" if status == 504 else "FUNCTION_INVOCATION_FAILED"
        text = f"An error occurred with your deployment\n\n{code}\n\niad1::abcde-1764000000000-0123456789ab\n"
        return text, {"content-type": "text/plain; charset=utf-8", "server": "Vercel", "x-vercel-error": code}
    if kind == "cloudflare":
        title = f"example.com | {status}: {reason}"
        headers = {"content-type": "text/html; charset=UTF-8", "server": "cloudflare", "cf-ray": "8f00-FRA"}
        return _CLOUDFLARE.format(title=title, reason=reason, status=status), headers
    if kind == "netlify":
        return _NETLIFY, {"content-type": "text/html", "server": "Netlify"}
    if kind == "nginx":
        return _NGINX.format(title=f"{status} {reason}"), {"content-type": "text/html", "server": "nginx"}
    raise ValueError(f"no page of {kind!r} is known: use 'vercel', 'cloudflare', 'netlify' or 'nginx'")


def reason_of(status: int) -> str:
    """The reason phrase of a status, Cloudflare's own among them; "" where there is none."""
    try:
        return _CLOUDFLARE_REASONS.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return ""


_CLOUDFLARE_REASONS = {
    520: "Web server is returning an unknown error",
    521: "Web server is down",
    522: "Connection timed out",
    523: "Origin is unreachable",
    524: "A timeout occurred",
    525: "SSL handshake failed",
}

_CLOUDFLARE = """<!DOCTYPE html>
<html class="no-js" lang="en-US">
<head>
<title>{title}</title>
<meta charset="UTF-8" />
<meta name="robots" content="noindex, nofollow" />
</head>
<body>
<div id="cf-wrapper"><div id="cf-error-details">
<h1><span>{reason}</span> <span>Error code {status}</span></h1>
<p>Visit cloudflare.com for more information.</p>
</div></div>
</body>
</html>
"""

_NETLIFY = """<HTML>
<HEAD>
<TITLE>Inactivity Timeout</TITLE>
</HEAD>
<BODY BGCOLOR="white" FGCOLOR="black">
<H1>Inactivity Timeout</H1>
<HR>
<FONT FACE="Helvetica,Arial"><B>
Description: Too much time has passed without sending any data for document.
</B></FONT>
<HR>
</BODY>
"""

_NGINX = (
    "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
