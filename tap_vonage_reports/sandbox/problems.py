"""Refusals in the API's words: RFC 7807 problems with the titles, details and types of the specifications.

The specifications give shape and examples (likely); where they give no text (unknown: windows over 24
hours, more than 20 ids, start after end, unsuitable parameters), the words are the sandbox's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tap_vonage_reports.products import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_REPORTS = "https://developer.vonage.com/api-errors/reports"
_COMMON = "https://developer.vonage.com/api-errors"


class InvalidParameter(NamedTuple):
    """A parameter that the API names in a refusal, and why."""

    name: str
    reason: str


@dataclass
class Refusal(Exception):  # noqa: N818 - what the API gives, not an error of ours
    """A refusal, as an exception.

    Attributes:
        status: HTTP status.
        title: Short name of the problem.
        detail: Its explanation; omitted from the body if empty.
        type: Address that names the kind of problem.
        invalid_parameters: The parameters at fault.
        headers: Further headers of the answer.
    """

    status: int
    title: str
    detail: str = ""
    type: str = f"{_REPORTS}#invalid-request-parameters"
    invalid_parameters: tuple[InvalidParameter, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, instance: str) -> dict[str, object]:
        """Return the problem as the API writes it.

        Args:
            instance: The identifier of the answer.
        """
        body: dict[str, object] = {"type": self.type, "title": self.title}
        if self.detail:
            body["detail"] = self.detail
        body["instance"] = instance
        if self.invalid_parameters:
            body["invalid_parameters"] = [parameter._asdict() for parameter in self.invalid_parameters]
        return body


def unprocessable(*parameters: InvalidParameter) -> Refusal:
    """422 that names the parameters at fault (confirmed shape: title, `name` and `reason`)."""
    return Refusal(
        422, "Unprocessable entity", "The request could not be processed", invalid_parameters=tuple(parameters)
    )


def missing(names: Iterable[str]) -> Refusal:
    """422 for missing parameters (confirmed, on production too)."""
    return unprocessable(*(InvalidParameter(name, "Missing required parameter") for name in names))


def unknown_product() -> Refusal:
    """422 for a product that the API does not know, with the names that it knows (likely)."""
    names = ", ".join(product.name for product in PRODUCTS.values())
    reason = f"Could not resolve product name. Please use one of the following values [{names}]"
    return unprocessable(InvalidParameter("product", reason))


def invalid_filter(names: list[str]) -> Refusal:
    """422 for parameters that do not go with `id` (likely)."""
    return Refusal(
        422,
        "Invalid filter",
        f"The following parameters cannot be used together with id: {', '.join(names)}",
        f"{_REPORTS}#invalid-filter",
    )


def not_past(name: str) -> Refusal:
    """422 for a bound that is not in the past (confirmed: the text ends in ``must be in the past``)."""
    return unprocessable(InvalidParameter(name, f"The value of {name} must be in the past"))


def unauthorized() -> Refusal:
    """401 for wrong credentials (likely; the type is misspelled in the specification)."""
    return Refusal(
        401,
        "Unauthorized",
        "You did not provide correct credentials.",
        f"{_COMMON}/#unathorized",
        headers={"WWW-Authenticate": 'Basic realm="reports"'},
    )


def unprovisioned() -> Refusal:
    """401 for an account that is not provisioned for a product (likely)."""
    return Refusal(
        401, "Unauthorized", "The account is not provisioned for the requested product.", f"{_COMMON}/#unprovisioned"
    )


def forbidden() -> Refusal:
    """403 (likely: 2021 and 3.1.4)."""
    return Refusal(403, "Forbidden", "User not authorized to query the requested data", f"{_COMMON}#forbidden")


def low_balance() -> Refusal:
    """403 for an account without credit (likely: among the types of problems that all of Vonage's APIs share)."""
    return Refusal(
        403,
        "Low balance",
        "This request could not be performed due to your account balance being low.",
        f"{_COMMON}#low-balance",
    )


def malformed() -> Refusal:
    """400 for a body that is no JSON (likely)."""
    return Refusal(400, "Malformed JSON", "The request body is not valid JSON", f"{_COMMON}#invalid-json")


def not_an_object() -> Refusal:
    """400 for a body that is JSON, but no object."""
    return Refusal(400, "Invalid request parameter", "The request body must be an object")


def unknown_report(identifier: str) -> Refusal:
    """404 for a report, or a file, that is not there or not yours (likely)."""
    detail = f"Report {identifier} does not exist, or you do not have access."
    return Refusal(404, "Invalid report ID", detail, f"{_COMMON}#not-found")


def not_abortable(state: str) -> Refusal:
    """409 for aborting a report that is final (confirmed status and title)."""
    detail = f"The report is {state}; only PENDING and PROCESSING reports can be aborted."
    return Refusal(409, "Invalid Abort Operation", detail, f"{_REPORTS}#invalid-abort-operation")


def too_many_reports() -> Refusal:
    """429 for one unfinished report too many (unknown: version 1 states the limit, nobody the answer)."""
    return Refusal(429, "Rate Limited", "Too many reports are being generated", f"{_COMMON}#rate-limit")


def not_found() -> Refusal:
    """404 for a path that the API does not have."""
    return Refusal(404, "Not Found", "The requested resource does not exist", f"{_COMMON}#not-found")


def method_not_allowed() -> Refusal:
    """405 for a method that a path does not take."""
    return Refusal(405, "Method Not Allowed", "The method is not supported", f"{_COMMON}#method-not-allowed")


def rate_limited(retry_after: str | None) -> Refusal:
    """429 (house standard); `Retry-After` in seconds unless None."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Refusal(429, "Rate Limited", "Too many requests", f"{_COMMON}#rate-limit", headers=headers)


def internal_error() -> Refusal:
    """500."""
    return Refusal(500, "Internal Error", "There was an error processing your request", f"{_COMMON}#internal-error")
