"""Row generators: one function per shape of row, from random bits and a point in time to the columns.

`KINDS` maps products to these functions. They share a signature, so that `traffic` can treat all products
alike. Because they run for every row, they only look things up in tables.

Values and their wire types follow the documented rows (confirmed or likely, see the project's facts):
text everywhere, but booleans and a number in AMD, and an object and numbers in REPORTS-USAGE. A missing
value is sometimes "", sometimes null, and sometimes an absent key, as in the real API. The content of a
non-final row is unknown; here it has an early status and no date, latency or price.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from time import gmtime, strftime
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Raw

from tap_vonage_reports.products import INBOUND, OUTBOUND
from tap_vonage_reports.sandbox import reference_data as world
from tap_vonage_reports.sandbox.reference_data import UNITS_PER_ONE, Money, own_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Row = dict[str, Any]
Draw = tuple[int, ...]
"""Sixteen random numbers of 16 bits. The first one is the time's; the rest are the columns'."""

_MINUTES = tuple(f"{second // 60:02d}:{second % 60:02d}+00:00" for second in range(3600))
_MASK = (1 << 128) - 1
_TIERED = 57_344
"""One draw in eight lies above: such a row lacks the column tier_volume."""
_LONG = 3_000
"""One draw in twenty lies below: such a message is cut into two parts, which share all but the id."""
_WAITING_MS = 300_000
"""An SMS that takes longer than this to its final state is buffered meanwhile."""
_CODINGS = world.weighted({"0": 55, "8": 8, "4": 1}, 64)
"""Data codings: GSM text, Unicode, binary."""
_ALONE = 2
"""The place in its group of the VERIFY-V2 request that has no events."""
_SEVEN_DAYS = 168
"""Hours; a SIM that changed within them counts as swapped."""
_FULL_PAGE = 1000


@lru_cache(maxsize=4096)
def _hour(hour: int) -> str:
    return strftime("%Y-%m-%dT%H:", gmtime(hour * 3600))


def stamp(second: int) -> str:
    """Return a second of the epoch as the API writes it today: UTC, whole seconds, ``+00:00`` (confirmed)."""
    return _hour(second // 3600) + _MINUTES[second % 3600]


@lru_cache(maxsize=4096)
def _smpp_hour(hour: int) -> str:
    return strftime("%y%m%d%H", gmtime(hour * 3600))


_SMPP_MINUTES = tuple(f"{second // 60:02d}{second % 60:02d}000+" for second in range(3600))


def _smpp_time(second: int) -> str:
    """Return a second of the epoch as an SMPP absolute time (the form of the real validity_period)."""
    return _smpp_hour(second // 3600) + _SMPP_MINUTES[second % 3600]


def uuid_text(number: int) -> str:
    """Return 128 bits in the form of a UUID."""
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def hex_text(number: int) -> str:
    """Return 128 bits as 32 hexadecimal digits (the identifiers of VERIFY-API and NUMBER-INSIGHT)."""
    return f"{number:032x}"


def report_text(number: int) -> str:
    """Return 128 bits in the uneven form of a REPORTS-USAGE identifier."""
    digits = f"{number:032x}"
    return f"{digits[:13]}-{digits[13:18]}-{digits[18:22]}-{digits[22:26]}-{digits[26:]}"


def amount(units: int, draw: int) -> str:
    """Return money of 10^-8 units as text: all eight decimals, or without the trailing zeros."""
    text = f"{units // UNITS_PER_ONE}.{units % UNITS_PER_ONE:08d}"
    return text if draw & 1 else text.rstrip("0").rstrip(".")


def _other(number: int, salt: int) -> int:
    """Return another identifier that goes with the one of a row (or of the first row of a group)."""
    return ((number ^ (salt * 0x9E3779B97F4A7C15)) * 0xDA942042E4DD58B5_9E3779B97F4A7C15) & _MASK


def _call_id(number: int) -> str:
    """Return a call leg's identifier: 32 hexadecimal digits and a number, as in the documented example."""
    return f"{_other(number, 1):032x}-1"


class Place:
    """A row's position in its line of traffic. The object is reused for the next row, so do not keep it.

    Attributes:
        account: Key of the account.
        primary: Key of the primary account.
        currency: Currency of the account.
        number: The 128 bits that the row's id is made of.
        leader: The same for the first row of its group (the row itself where rows come alone).
        step: Number of the row within its group.
        relative: The number of a row of another product that this one goes with; 0 if there is none.
    """

    __slots__ = ("account", "currency", "leader", "number", "primary", "relative", "step")

    def __init__(self, account: str, primary: str, currency: str) -> None:
        self.account, self.primary, self.currency = account, primary, currency
        self.number = self.leader = self.step = self.relative = 0


Made = tuple[Row, int, int]
"""A row as of a moment: its columns in the documented order, the second from which the API lists it, and
the second from which it no longer changes."""


class Maker(Protocol):
    """Makes a row.

    `second` is the row's time, `draw` its random numbers, `lead` those of the first row of its group, and
    `now` the second of the epoch as of which the row is wanted.
    """

    def __call__(self, place: Place, second: int, draw: Draw, _lead: Draw, _now: int, /) -> Made:
        """Make the row."""


def _sms_outbound(place: Place, second: int, draw: Draw, lead: Draw, now: int, /) -> Made:
    long = lead[11] < _LONG
    part = draw
    if long:
        draw = lead
    network = world.NETWORKS[draw[1] & 1023]
    country = network.country
    fate = world.SMS_FATES[draw[2] & 1023]
    latency = fate.delays[part[3] & 255]
    final = second + latency // 1000
    done = now >= final
    waiting = latency > _WAITING_MS
    uid = uuid_text(place.number)
    row: Row = {
        "account_id": place.account,
        "message_id": uid,
        "account_ref": world.ACCOUNT_REFS[draw[3] >> 8],
        "client_ref": world.CLIENT_REFS[draw[4] & 255],
        "direction": OUTBOUND,
        "from": world.SENDERS[draw[4] >> 10] or own_number(country, draw[5]),
        "to": country.numbers[draw[6] & 1023],
        "forced_from": world.FORCED_SENDERS[draw[7] & 255],
        "changed_from": world.CHANGED_SENDERS[draw[7] >> 8],
        "concatenated": "TRUE" if long else "FALSE",
        "message_body": world.LONG_BODY if long else world.BODIES[draw[8] & 63],
        "network": network.code,
        "network_name": network.name,
        "country": country.code,
        "country_name": country.name,
        "date_received": stamp(second),
        "date_finalized": stamp(final) if done else "",
        "latency": str(latency) if done else "",
        "status": fate.status if done else "submitted" if now < second + 2 else "buffered" if waiting else "accepted",
        "error_code": fate.error_code if done else "0",
        "error_code_description": fate.description if done else "",
        "currency": place.currency,
        "total_price": (network.sms.text if fate.charged else "0") if done else "",
        "id": uid,
        "dcs": _CODINGS[draw[8] >> 10],
        "validity_period": _smpp_time(second + world.SECONDS_72_HOURS),
        "ip_address": world.IP_ADDRESSES[draw[9] & 15],
        "udh": f"050003{lead[9] >> 8:02x}020{place.step + 1}" if long else "",
    }
    workflow = draw[9] & 0x3F0
    if workflow == 0:
        row["workflow_id"] = f"3TcNjgZvTgbJ41bJGMiHQxf7s6U{place.leader >> 88:010x}"
    elif workflow & 0x100:
        row["workflow_id"] = ""
    tier = draw[10]
    if tier < _TIERED:
        row["tier_volume"] = world.TIERS[tier & 255]
    return (row, second, final)


def _sms_inbound(place: Place, second: int, draw: Draw, _lead: Draw, _now: int, /) -> Made:
    network = world.NETWORKS[draw[1] & 1023]
    country = network.country
    uid = uuid_text(place.number)
    row: Row = {
        "account_id": place.account,
        "message_id": uid,
        "direction": INBOUND,
        "from": country.numbers[draw[6] & 1023],
        "to": own_number(country, draw[5]),
        "network": network.code,
        "network_name": network.name,
        "country": country.code,
        "country_name": country.name,
        "date_received": stamp(second),
        "currency": place.currency,
        "total_price": "0" if draw[7] & 3 else "0.00500000",
        "id": uid,
        "message_body": world.BODIES[draw[8] & 63],
    }
    tier = draw[10]
    if tier < _TIERED:
        row["tier_volume"] = world.TIERS[tier & 255]
    return (row, second, second)


def _sms_traffic_control(place: Place, second: int, _draw: Draw, lead: Draw, _now: int, /) -> Made:
    waited = 40 + lead[3] * (1 if lead[4] & 7 else 90)
    dequeued = place.step == 1
    row = {
        "account_id": place.account,
        "queued_time": stamp(second),
        "message_id": uuid_text(place.relative or _other(place.leader, 2)),
        "status": "dequeued" if dequeued else "queued",
        "queue_duration": str(waited) if dequeued else "0" if lead[5] & 1 else "",
        "id": uuid_text(place.number),
    }
    return (row, second + waited // 1000 if dequeued else second, 0)


def _voice_call(direction: str) -> Maker:
    outbound = direction == OUTBOUND

    def make(place: Place, second: int, draw: Draw, _lead: Draw, _now: int, /) -> Made:
        network = world.NETWORKS[draw[1] & 1023]
        country = network.country
        length = world.CALL_SECONDS[draw[2] & 255]
        end = second + length + (draw[3] & 7)
        own, handset = own_number(country, draw[5]), country.numbers[draw[6] & 1023]
        price = network.voice_minute
        row: Row = {
            "account_id": place.account,
            "call_id": _call_id(place.number),
            "direction": direction,
            "from": own if outbound else handset,
            "to": handset if outbound else own,
            "forced_from": world.FORCED_SENDERS[draw[7] & 255],
            "network": network.code,
            "network_name": network.name,
            "country": country.code,
            "country_name": country.name,
            "date_start": stamp(second),
            "date_end": stamp(end),
            "duration": str(length),
            "status": "ANSWERED" if draw[7] >> 11 else "MACHINE",
            "status_description": "The call was successful.",
            "status_code": "200",
            "currency": place.currency,
            "price": price.text,
            "total_price": amount(price.units * length // 60, draw[8]),
            "id": uuid_text(place.number),
        }
        tier = draw[10]
        if tier < _TIERED:
            row["tier_volume"] = world.VOICE_TIERS[tier & 255]
        return (row, end + (draw[9] & 15), 0)

    return make


def _voice_failed(direction: str) -> Maker:
    outbound = direction == OUTBOUND

    def make(place: Place, second: int, draw: Draw, _lead: Draw, _now: int, /) -> Made:
        network = world.NETWORKS[draw[1] & 1023]
        country = network.country
        end = second + (draw[3] & 31)
        own, handset = own_number(country, draw[5]), country.numbers[draw[6] & 1023]
        cause = world.CALL_FAILURES[draw[2] & 255]
        row = {
            "account_id": place.account,
            "call_id": _call_id(place.number),
            "direction": direction,
            "from": own if outbound else handset,
            "to": handset if outbound else own,
            "network": network.code,
            "network_name": network.name,
            "country": country.code,
            "country_name": country.name,
            "date_start": stamp(second),
            "date_end": stamp(end),
            "status": "FAILED",
            "status_code": cause.status_code,
            "status_description": cause.description,
            "id": uuid_text(place.number),
        }
        return (row, end + (draw[9] & 15), 0)

    return make


_TTS_PRICES = (
    ("standard", world.money("0.005")),
    ("premium", world.money("0.0060")),
    ("premier", world.money("0.00812")),
)


def _voice_tts(place: Place, second: int, draw: Draw, _lead: Draw, _now: int, /) -> Made:
    country = world.NETWORKS[draw[1] & 1023].country
    length = 12 + (draw[2] & 255)
    duration = length // 14
    kind, price = _TTS_PRICES[draw[3] % 3]
    whole_conversation = draw[4] & 3 == 0
    row = {
        "account_id": place.account,
        "from": own_number(country, draw[5]),
        "to": country.numbers[draw[6] & 1023],
        "status": "completed",
        "trace_id": f"trc-{place.number >> 64:016x}",
        "premium": "false" if kind == "standard" else "true",
        "language": world.LANGUAGES[draw[7] & 15],
        "style": str(draw[7] >> 13),
        "length": str(length),
        "size": str(length * 4373 + (draw[8] & 1023)),
        "start_time": stamp(second - duration - 2),
        "end_time": stamp(second - 2),
        "duration": str(duration),
        "currency": place.currency,
        "price": price.text,
        "total_price": amount(price.units * (1 + length // 100), draw[9]),
        "tts_type": kind,
        "tts_level": "conversation" if whole_conversation else "leg",
        "call_id": _call_id(place.relative or place.number),
        "conversation_id": uuid_text(_other(place.number, 3)) if whole_conversation else "",
        "creation_date": stamp(second),
        "id": uuid_text(place.number),
    }
    return (row, second, 0)


_IN_APP_PRICES = (world.money("0.0040000"), world.money("0.004"), world.money("0.00412345"))


def _in_app_voice(place: Place, second: int, draw: Draw, lead: Draw, _now: int, /) -> Made:
    length = world.CALL_SECONDS[draw[2] & 255]
    end = second + length
    price = _IN_APP_PRICES[draw[3] % 3]
    uid = uuid_text(place.number)
    row = {
        "account_id": place.account,
        "request_id": uid,
        "application_id": _application(place, lead),
        "conversation_id": f"CON-{uuid_text(_other(place.leader, 3))}",
        "user_id": "NAM-alice" if draw[4] & 1 else f"USR-{uuid_text(_other(place.number, 4))}",
        "leg_id": uuid_text(_other(place.number, 5)),
        "client_ref": world.CLIENT_REFS[draw[5] & 255],
        "date_start": stamp(second),
        "date_end": stamp(end),
        "duration": str(length),
        "status": "200" if draw[6] & 15 else "completed",
        "currency": place.currency,
        "price": price.text,
        "total_price": amount(price.units * (1 + length // 60), draw[7]),
        "id": uid,
    }
    return (row, end + (draw[8] & 15), 0)


_WEBSOCKET_PRICE = world.money("0.005")


def _websocket_call(place: Place, second: int, draw: Draw, _lead: Draw, _now: int, /) -> Made:
    length = world.CALL_SECONDS[draw[2] & 255]
    end = second + length
    row = {
        "account_id": place.account,
        "call_id": _call_id(place.relative or place.leader),
        "date_start": stamp(second),
        "date_end": stamp(end),
        "duration": str(length),
        "status": "completed",
        "currency": place.currency,
        "price": _WEBSOCKET_PRICE.text,
        "total_price": amount(_WEBSOCKET_PRICE.units * length // 60, draw[7]),
        "id": uuid_text(place.number),
    }
    return (row, end + (draw[8] & 15), 0)


_ASR_PRICES = (("standard", world.money("0.018662")), ("premier", world.money("0.02100000")))


def _asr(direction: str) -> Maker:
    outbound = direction == OUTBOUND

    def make(place: Place, second: int, draw: Draw, lead: Draw, _now: int, /) -> Made:
        country = world.NETWORKS[lead[1] & 1023].country
        length = 2 + (draw[2] & 31)
        own, handset = own_number(country, lead[5]), country.numbers[lead[6] & 1023]
        kind, price = _ASR_PRICES[draw[3] & 1]
        failed = draw[4] & 31 == 0
        row = {
            "account_id": place.account,
            "call_id": _call_id(place.relative or place.leader),
            "direction": direction,
            "from": own if outbound else handset,
            "to": handset if outbound else own,
            "call_date_start": stamp(second - (draw[7] & 127)),
            "date_start": stamp(second),
            "date_end": stamp(second + length),
            "duration": str(length),
            "status": "error" if failed else "ok",
            "status_description": "ERR1: Failed to analyze audio" if failed else None if draw[4] & 32 else "",
            "currency": place.currency,
            "price": price.text,
            "total_price": price.text,
            "asr_type": kind,
            "id": uuid_text(place.number),
        }
        return (row, second + length + (draw[8] & 15), 0)

    return make


_AMD_PRICES = (world.money("0.018662"), world.money("0.01866200"))
_BEHAVIOURS = ("continue", "hangup")
_MODES = ("default", "detect", "detect_beep", "default")


def _amd(place: Place, second: int, draw: Draw, _lead: Draw, _now: int, /) -> Made:
    machine = draw[2] & 3 == 0
    mode = _MODES[draw[3] & 3]
    length = 2 + (draw[4] & 31)
    row = {
        "account_id": place.account,
        "start_time": stamp(second),
        "end_time": stamp(second + length),
        "amd_result_sent": draw[5] & 15 != 0,
        "amd_detection_result": "MACHINE" if machine else "HUMAN",
        "amd_beep_detection_result": machine and draw[6] & 1 == 1 if draw[6] & 6 else None,
        "amd_user_defined_beep_timeout": 30 + draw[7] % 91,
        "amd_user_defined_behavior": _BEHAVIOURS[draw[8] & 1],
        "amd_user_defined_mode": mode,
        "total_price": _AMD_PRICES[draw[9] & 1].text,
        "currency": place.currency,
        "call_id": _call_id(place.relative or place.number),
        "id": uuid_text(place.number),
    }
    return (row, second + length + (draw[10] & 15), 0)


_VERIFY_PRICE = world.money("0.06800000")


def _verify_api(place: Place, second: int, draw: Draw, _lead: Draw, now: int, /) -> Made:
    network = world.NETWORKS[draw[1] & 1023]
    country = network.country
    status = world.VERIFY_STATUSES[draw[2] & 255]
    success = status == "SUCCESS"
    spoken = draw[3] & 15 == 0
    final = second + (5 + draw[4] % 80 if success else 300)
    done = now >= final
    last = second + 125 if spoken else second
    uid = hex_text(place.number)
    row = {
        "account_id": place.account,
        "request_id": uid,
        "from": "Acme" if draw[5] & 3 else "Vonage",
        "to": country.numbers[draw[6] & 1023],
        "locale": country.locale,
        "number_type": "MOBILE" if draw[7] & 15 else "FIXED_LINE" if draw[7] & 16 else "",
        "network": network.code,
        "network_name": network.name,
        "country": country.code,
        "country_name": country.name,
        "date_received": stamp(second),
        "date_finalized": stamp(final) if done else None,
        "first_event_date": stamp(second),
        "last_event_date": stamp(last) if now >= last else stamp(second),
        "status": status if done else "IN PROGRESS",
        "sms_event_count": "1",
        "tts_event_count": "1" if spoken and now >= last else "0",
        "currency": place.currency,
        "pricing_model": "0" if draw[8] & 3 else "standard",
        "price": (_VERIFY_PRICE.text if success else "0") if done else "",
        "estimated_price": "0" if draw[8] & 4 else network.sms.text,
        "sms_price": network.sms.text if done else "0",
        "tts_price": (network.voice_minute.text if spoken else "0") if done else "",
        "id": uid,
    }
    return (row, second, max(final, last))


_SILENT_AUTH_PRICE = world.money("0.05")
_EVENT_COUNTS = ("sms", "tts", "whatsapp", "email", "silentauth", "rcs")


def _verify_v2(place: Place, second: int, draw: Draw, lead: Draw, now: int, /) -> Made:
    """Return a row of a group of three: the v2 row, its silent_auth or email event, and a v2 row without events."""
    network = world.NETWORKS[lead[1] & 1023]
    country = network.country
    final = second + 4 + draw[4] % 290
    done = now >= final
    event = ("", "email" if lead[3] & 1 else "silent_auth", "")[place.step]
    email = event == "email"
    row: Row = {
        "account_id": place.account,
        "request_id": uuid_text(place.number),
        "parent_request_id": uuid_text(place.leader) if event else "" if draw[5] & 1 else None,
        "channel": event or "v2",
        "to": world.EMAILS[lead[6] & 255]
        if email
        else country.numbers[(lead if place.step < _ALONE else draw)[6] & 1023],
        "locale": "" if event else country.locale,
        "network": "" if email else network.code,
        "network_name": "" if email else network.name,
        "country": "" if email else country.code,
        "status": world.VERIFY_V2_STATUSES[draw[2] & 255] if done else "in_progress",
        "client_ref": world.CLIENT_REFS[lead[7] & 255],
        "date_received": stamp(second),
    }
    for position, channel in enumerate(_EVENT_COUNTS):
        row[f"{channel}_event_count"] = None if event else str(draw[8] >> (2 * position) & 1) if done else "0"
    row["if_fraud_check"] = "TRUE" if draw[9] & 7 == 0 else "FALSE"
    row["pin_length"] = "4" if draw[9] & 8 else "6"
    row["currency"] = place.currency
    row["total_price"] = "" if not done else _SILENT_AUTH_PRICE.text if event == "silent_auth" else _VERIFY_PRICE.text
    row["id"] = uuid_text(place.number)
    return (row, second, final)


_INSIGHT_PRICES = (world.money("0.06800000"), world.money("0.0300"), world.money("0.00515"))


def _number_insight(place: Place, second: int, draw: Draw, _lead: Draw, _now: int, /) -> Made:
    network = world.NETWORKS[draw[1] & 1023]
    country = network.country
    found = draw[2] & 31 != 0
    first, last = world.NAMES[draw[3] & 63]
    row = {
        "account_id": place.account,
        "request_id": uuid_text(_other(place.number, 2)),
        "product_type": "PRODUCT_HLR_LOOKUP_FORMAT",
        "number": country.numbers[draw[6] & 1023],
        "date_received": stamp(second),
        "status": "Success" if found else "Unknown",
        "response_code": "0" if found else "45",
        "network": network.code if found else "",
        "network_name": network.name if found else "",
        "network_type": "mobile" if found else None,
        "country": country.code,
        "country_name": country.name,
        "valid": "valid" if found else "unknown",
        "ported": ("not_ported" if draw[4] & 3 else "ported") if found else "unknown",
        "reachable": ("present" if draw[5] & 3 else "absent") if found else "unknown",
        "first_name": first,
        "last_name": last,
        "currency": place.currency,
        "total_price": _INSIGHT_PRICES[draw[7] % 3].text,
        "id": hex_text(place.number),
    }
    return (row, second, 0)


_RISKS = ("low", "medium", "high")


def _number_insight_v2(place: Place, second: int, draw: Draw, _lead: Draw, _now: int, /) -> Made:
    network = world.NETWORKS[draw[1] & 1023]
    score = draw[2] % 101
    fraud = draw[3] & 1 == 0
    failed = draw[4] & 31 == 0
    hours = draw[5] % 2000
    uid = uuid_text(place.number)
    row = {
        "account_id": place.account,
        "request_id": uid,
        "request_type": "IS_FRAUDSCORE" if fraud else "IS_SIMSWAP",
        "date_received": stamp(second),
        "status": "FAIL" if failed else "SUCCESS",
        "response_code": "404" if failed else "200",
        "response_description": "Not Found" if failed else "OK",
        "network_type": ("MOBILE" if draw[6] & 7 else "VOIP") if fraud else None,
        "network_name": f"{network.code} {network.name}" if draw[7] & 3 else "",
        "risk": _RISKS[score // 34] if fraud else "",
        "risk_score": str(score) if fraud else "",
        "swapped": "" if fraud or failed else "true" if hours < _SEVEN_DAYS else "false",
        "no_sim_change_period": None if fraud or failed else f"PT{hours}H",
        "currency": place.currency,
        "total_price": "0" if failed else "0.0212" if fraud else "0.04000000",
        "id": uid,
    }
    return (row, second, 0)


def _application(place: Place, lead: Draw) -> str:
    """Return one of the four applications of an account."""
    return f"ab05efe3-0f00-4ac9-ad64-6082{sum(place.account.encode()) % 65536:04x}000{lead[13] & 3}"


_EVENT_PRICES = (world.money("0.00072"), world.money("0.00072000"), world.money("0.0007"))


def _conversation_event(place: Place, second: int, draw: Draw, lead: Draw, _now: int, /) -> Made:
    price = _EVENT_PRICES[draw[1] % 3].text
    row = {
        "account_id": place.account,
        "request_id": uuid_text(_other(place.number, 2)),
        "application_id": _application(place, lead),
        "conversation_id": f"CON-{uuid_text(_other(place.leader, 3))}",
        "user_id": f"USR-{uuid_text(_other(place.leader, 4 + (draw[2] & 1)))}",
        "client_ref": world.CLIENT_REFS[draw[3] & 255],
        "creation_date": stamp(second),
        "currency": place.currency,
        "price": price,
        "total_price": price,
        "id": uuid_text(place.number),
    }
    return (row, second, 0)


def _conversation_message(place: Place, second: int, draw: Draw, lead: Draw, _now: int, /) -> Made:
    price = _EVENT_PRICES[draw[1] % 3].text
    number = str(place.step * 2 + 1)
    request = uuid_text(_other(place.number, 6))
    row = {
        "account_id": place.account if draw[5] & 15 else "nexmo-cs-us-west-2",
        "trace_id": uuid_text(_other(place.number, 2)),
        "application_id": _application(place, lead),
        "conversation_id": f"CON-{uuid_text(_other(place.leader, 3))}",
        "other_ids": f"{{requestId={request}, conversationEventId={number}, messageSequenceNumber=1}}"
        if draw[4] & 3
        else f'{{"requestId":"{request}","conversationEventId":{number}}}',
        "from_member_id": f"MEM-{uuid_text(_other(place.leader, 6 + (draw[2] & 1)))}",
        "from_user_id": f"USR-{uuid_text(_other(place.leader, 4 + (draw[2] & 1)))}",
        "from_channel": "app" if draw[6] & 3 else "",
        "from_message_id": number,
        "client_ref": world.CLIENT_REFS[draw[3] & 255],
        "creation_date": stamp(second),
        "currency": place.currency,
        "price": price,
        "total_price": price,
        "id": uuid_text(place.number),
    }
    return (row, second, 0)


_PAGE_ID = "1029384756"


def _messages_outbound(place: Place, second: int, draw: Draw, lead: Draw, now: int, /) -> Made:
    provider = world.PROVIDERS[draw[11] & 255]
    network = world.NETWORKS[draw[1] & 1023]
    country = network.country
    fate = world.MESSAGE_FATES[draw[2] & 1023]
    whatsapp = provider == "whatsapp"
    rcs = provider == "rcs"
    carrier = provider in world.CARRIER_PROVIDERS
    delivered = fate.status == "delivered"
    latency = fate.delays[draw[3] & 255]
    final = second + latency // 1000
    done = now >= final
    # Likely: RCS conversations outside the US get most of their columns up to 48 hours late.
    known = final + 172_000 if rcs and country is not world.US and draw[12] & 7 == 0 else final
    told = now >= known
    wait = world.READ_DELAYS[draw[3] >> 8] if delivered else 0
    read = final + wait if wait else known
    status = ("read" if wait and now >= read else fate.status) if done else "submitted"
    if provider in world.PHONE_PROVIDERS:
        sender, target = own_number(country, draw[5]), country.numbers[draw[6] & 1023]
    elif provider == "email":
        sender, target = "news@example.com", world.EMAILS[draw[6] & 255]
    else:
        sender, target = _PAGE_ID, f"{place.number >> 76:016d}"
    named = told if rcs else done and delivered if whatsapp else carrier or (done and provider == "instagram")
    price: Money = (
        network.sms if carrier else (world.WHATSAPP_PRICES if whatsapp else world.CHANNEL_PRICES)[draw[8] & 15]
    )
    session = whatsapp and done and delivered
    workflow = draw[9] & 0xF0 == 0
    uid = uuid_text(place.number)
    row: Row = {
        "account_id": place.account,
        "message_id": uid,
        "client_ref": world.CLIENT_REFS[draw[4] & 255],
        "direction": OUTBOUND,
        "from": sender,
        "to": target,
        "message_body": world.BODIES[draw[8] >> 10],
        "country": country.code if named else "",
        "country_name": country.name if named else "UNKNOWN" if rcs else "",
        "provider": provider,
        "provider_error_code": fate.error_code if done and fate.error_code else None,
        "network": network.code if carrier or (rcs and told) else "",
        "network_name": network.name if carrier or (rcs and told) else "",
        "session_type": world.WHATSAPP_SESSIONS[lead[7] & 15] if session else "",
        "session_id": f"{_other(place.leader, 3):032x}" if session else "",
        "date_received": stamp(second),
        "date_finalized": stamp(final) if told else "",
        "latency": str(latency) if told else "",
        "status": status,
        "error_code": fate.error_code if told else "",
        "currency": place.currency if told or not rcs else "",
        "estimated_price": price.text if carrier else "",
        "total_price": (price.text if fate.charged else "0") if told else "",
    }
    if draw[9] & 0x100 or workflow:
        row["workflow_id"] = f"3TcNjgZvTgbJ41bJGMiHQxf7s6U{place.leader >> 88:010x}" if workflow else ""
        row["workflow_items_number"] = str(1 + place.step % 2) if workflow else ""
        row["workflow_items_total"] = "2" if workflow else None
    row["pricing_model"] = "single message" if draw[9] & 0x200 else "conversation" if whatsapp else ""
    row["pricing_type"] = "standard" if whatsapp else None
    row["id"] = uid
    tier = draw[10]
    if tier < _TIERED:
        row["tier_volume"] = world.TIERS[tier & 255]
    return (row, second, max(read, known))


def _messages_inbound(place: Place, second: int, draw: Draw, _lead: Draw, _now: int, /) -> Made:
    provider = world.PROVIDERS[draw[11] & 255]
    network = world.NETWORKS[draw[1] & 1023]
    country = network.country
    carrier = provider in world.CARRIER_PROVIDERS
    if provider in world.PHONE_PROVIDERS:
        handset, own = country.numbers[draw[6] & 1023], own_number(country, draw[5])
    elif provider == "email":
        handset, own = world.EMAILS[draw[6] & 255], "news@example.com"
    else:
        handset, own = f"{place.number >> 76:016d}", _PAGE_ID
    uid = uuid_text(place.number)
    row: Row = {
        "account_id": place.account,
        "message_id": uid,
        "direction": INBOUND,
        "from": handset,
        "to": own,
        "message_body": world.BODIES[draw[8] & 63],
        "provider": provider,
        "network": network.code if carrier else "",
        "network_name": network.name if carrier else None,
        "date_received": stamp(second),
        "currency": place.currency,
        "total_price": "0.0005" if draw[7] & 1 else "0",
        "id": uid,
    }
    tier = draw[10]
    if tier < _TIERED:
        row["tier_volume"] = world.TIERS[tier & 255]
    return (row, second, second)


_VIDEO_IDS = ("meeting_id", "subscriber_id", "archive_id", "broadcast_id", "hls_id", "composer_id")


def _video_api(place: Place, second: int, draw: Draw, lead: Draw, _now: int, /) -> Made:
    feature = world.VIDEO_FEATURES[draw[2] & 15]
    length = world.CALL_SECONDS[draw[3] & 255]
    end = second + length
    row: Row = {
        "account_id": place.account,
        "feature_name": feature.name,
        "session_id": f"1_{hex_text(_other(place.leader, 3))}-wTs_zs3GTmqn0w",
    }
    thing = uuid_text(_other(place.number, 4))
    for name in _VIDEO_IDS:
        row[name] = thing if name == feature.id_field else "" if draw[4] & 1 else None
    row["application_id"] = _application(place, lead)
    row["duration"] = str(length + (draw[5] & 31))
    row["date_start"] = stamp(second)
    row["date_end"] = stamp(end)
    row["total_price"] = amount(feature.price.units * (1 + length // 60), draw[6])
    row["currency"] = place.currency
    row["id"] = uuid_text(place.number)
    tier = draw[10]
    if tier < _TIERED:
        row["tier_volume"] = "500" if tier & 1 else ""
    return (row, end + (draw[7] & 15) + feature.lag * (draw[8] & 255) // 255, 0)


_NETWORK_PRICES = (world.money("0.00500000"), world.money("0.005"), world.money("0.0120"))


def _network_api_event(place: Place, second: int, draw: Draw, lead: Draw, _now: int, /) -> Made:
    network = world.NETWORKS[lead[1] & 1023]
    product, path, request = world.CAMARA_PRODUCTS[lead[2] & 15]
    failed = draw[3] & 31 == 0
    created = second + (draw[4] & 3)
    row = {
        "account_id": place.account,
        "application_id": _application(place, lead) if draw[5] & 7 else "",
        "record_creation_time": stamp(created) if draw[6] & 1 else f"{stamp(created)[:19]}.{draw[6] % 1000:03d}Z",
        "product_name": product,
        "status": "FAILED" if failed else "SUCCESS",
        "network": network.code,
        "country_code": network.country.code,
        "msisdn": network.country.numbers[lead[6] & 1023],
        "event_time": stamp(second),
        "currency": place.currency,
        "total_price": "0" if failed else _NETWORK_PRICES[draw[7] % 3].text,
        "id": uuid_text(place.number),
        "request_type": request,
        "response_result": ""
        if failed
        else stamp(second - draw[8] * 60)
        if request != "check"
        else "true"
        if draw[8] & 3
        else "false",
        "request_session_id": f"vn-{place.leader >> 64:016x}",
        "product_path": path,
        "correlation_id": uuid_text(_other(place.leader, 3)),
    }
    return (row, created, 0)


_ROW_PRICE = 40_000
"""Price of a row, 0.0004, in units of 10^-8 (likely: since November 2020)."""
_ROW_PRICE_TEXT = Raw(b"0.0004")
_NO_PRICE = Raw(b"0.0")
_REPORTED = ("SMS", "MESSAGES", "VOICE-CALL", "SMS", "VERIFY-V2", "REPORTS-USAGE", "SMS", "VOICE-FAILED")


def _reports_usage(place: Place, second: int, draw: Draw, _lead: Draw, now: int, /) -> Made:
    product = _REPORTED[draw[2] & 7]
    job = ("SYNC_JOB_FROM_DATES", "SYNC_JOB_FROM_DATES", "ASYNC_JOB", "SYNC_JOB_FROM_ID")[draw[3] & 3]
    background = job == "ASYNC_JOB"
    started, finished = second + (1 + (draw[4] & 7)), second + (20 + draw[4] % 600)
    begun, done = not background or now >= started, not background or now >= finished
    items = (draw[5] % 1001 if not background else draw[5]) if done else 0
    charged = product != "REPORTS-USAGE"
    units = items * _ROW_PRICE if charged else 0
    params: Row = {"product": product, "account_id": place.account}
    if job != "SYNC_JOB_FROM_ID":
        params |= {
            "date_start": stamp(second - 90_000 - second % 3600),
            "date_end": stamp(second - 3600 - second % 3600),
        }
    else:
        params["id"] = uuid_text(_other(place.number, 2))
    row: Row = {
        "acc": place.primary,
        "product_type": "reports",
        "date_received": stamp(second),
        "date_started": stamp(started) if background and begun else None,
        "date_finished": (stamp(finished) if background else stamp(second)) if done else None,
        "status": ("TRUNCATED" if items == _FULL_PAGE else "SUCCESS") if done else "PROCESSING" if begun else "PENDING",
        "account_id": place.account,
        "master_account_id": place.primary,
        "is_charged": "TRUE" if charged else "FALSE",
        "request_params": params,
        "job_type": job,
        "requested_product": product,
        "items_written": items,
        "price": _ROW_PRICE_TEXT if charged else _NO_PRICE,
        "currency": place.currency,
        "total_price": Raw(amount(units, 0).encode()) if units else _NO_PRICE,
        "id": report_text(place.number),
    }
    tier = draw[10]
    if tier < _TIERED:
        row["tier_volume"] = "1-1000" if tier & 1 else ""
    return (row, second, finished if background else second)


@dataclass(frozen=True)
class Kind:
    """A kind of row.

    Attributes:
        make: Makes a row.
        group: How many consecutive rows go together.
        together: Whether the rows of a group have the same time.
        identifier: How the 128 bits of an id are written.
        relative: Stream and direction whose rows this one refers to.
    """

    make: Maker
    group: int = 1
    together: bool = False
    identifier: Callable[[int], str] = uuid_text
    relative: tuple[str, str] | None = None


_CALL = ("voice_call", OUTBOUND)

KINDS: Mapping[tuple[str, str], Kind] = {
    ("sms", OUTBOUND): Kind(_sms_outbound, group=2),
    ("sms", INBOUND): Kind(_sms_inbound),
    ("sms_traffic_control", ""): Kind(_sms_traffic_control, group=2, together=True, relative=("sms", OUTBOUND)),
    ("voice_call", OUTBOUND): Kind(_voice_call(OUTBOUND)),
    ("voice_call", INBOUND): Kind(_voice_call(INBOUND)),
    ("voice_failed", OUTBOUND): Kind(_voice_failed(OUTBOUND)),
    ("voice_failed", INBOUND): Kind(_voice_failed(INBOUND)),
    ("voice_tts", ""): Kind(_voice_tts, relative=_CALL),
    ("in_app_voice", ""): Kind(_in_app_voice, group=2),
    ("websocket_call", ""): Kind(_websocket_call, group=2, relative=_CALL),
    ("asr", OUTBOUND): Kind(_asr(OUTBOUND), group=3, relative=_CALL),
    ("asr", INBOUND): Kind(_asr(INBOUND), group=3, relative=("voice_call", INBOUND)),
    ("amd", ""): Kind(_amd, relative=_CALL),
    ("verify_api", ""): Kind(_verify_api, identifier=hex_text),
    ("verify_v2", ""): Kind(_verify_v2, group=3),
    ("number_insight", ""): Kind(_number_insight, identifier=hex_text),
    ("number_insight_v2", ""): Kind(_number_insight_v2),
    ("conversation_event", ""): Kind(_conversation_event, group=6),
    ("conversation_message", ""): Kind(_conversation_message, group=6),
    ("messages", OUTBOUND): Kind(_messages_outbound, group=2),
    ("messages", INBOUND): Kind(_messages_inbound),
    ("video_api", ""): Kind(_video_api, group=6),
    ("network_api_event", ""): Kind(_network_api_event, group=3),
    ("reports_usage", ""): Kind(_reports_usage, identifier=report_text),
}
"""The kinds of rows, by stream and direction ("" where the product has none)."""
