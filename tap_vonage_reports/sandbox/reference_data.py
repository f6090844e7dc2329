"""Tables from which the traffic is generated: countries, networks, prices, errors and texts.

Phone numbers come from ranges that regulators reserve for fiction, and addresses from ranges reserved
for documentation, so no row can identify a real person. Prices are text of varying scale, as the API
sends them, together with the same amount in units of 10^-8 for exact arithmetic.

Tables whose length is a power of two are indexed by bits of a row's random numbers.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")

UNITS_PER_ONE = 100_000_000
"""Money is counted in units of 10^-8, the finest scale seen in a real record (confirmed: eight decimals)."""


class Money(NamedTuple):
    """An amount as the API writes it, and the same in units of 10^-8."""

    text: str
    units: int


def money(text: str) -> Money:
    """Return an amount of the price lists."""
    return Money(text, int(Decimal(text) * UNITS_PER_ONE))


class Country(NamedTuple):
    """A country: its codes, the numbers its regulator keeps for fiction, and a language."""

    code: str
    name: str
    locale: str
    numbers: tuple[str, ...]


class Network(NamedTuple):
    """A network: MCC+MNC (or a word), its country, and what it costs to reach it."""

    code: str
    name: str
    country: Country
    sms: Money
    voice_minute: Money


class Fate(NamedTuple):
    """The outcome of a message: its final status, the carrier's error, and the delay until then.

    Attributes:
        status: Final status.
        error_code: Code of the hand-over; 0 is success.
        description: The code in words.
        delays: 256 delays in milliseconds to the final state.
        charged: True if the message is charged.
    """

    status: str
    error_code: str
    description: str
    delays: tuple[int, ...]
    charged: bool = True


class CallEnd(NamedTuple):
    """The outcome of a call that nobody answered."""

    status_code: str
    description: str


def cycled(values: Iterable[T], size: int) -> tuple[T, ...]:
    """Return the values, repeated until there are `size` of them."""
    return tuple(islice(chain.from_iterable(repeat(tuple(values))), size))


def weighted(shares: Mapping[T, int], size: int = 256) -> tuple[T, ...]:
    """Return a table of `size` entries in which each value occurs according to its share.

    Args:
        shares: Value to share; the shares must sum up to `size`.
        size: Length of the table, a power of two.

    Raises:
        ValueError: If the shares do not sum up to `size`.
    """
    table = tuple(chain.from_iterable(repeat(value, share) for value, share in shares.items()))
    if len(table) != size:
        message = f"The shares sum up to {len(table)}, not {size}"
        raise ValueError(message)
    return table


def _numbers(*blocks: tuple[str, int, int, int]) -> tuple[str, ...]:
    """1024 numbers out of blocks of (prefix, first, last, digits)."""
    return cycled(
        [f"{prefix}{n:0{digits}}" for prefix, first, last, digits in blocks for n in range(first, last + 1)], 1024
    )


GB = Country("GB", "United Kingdom", "en-gb", _numbers(("447700900", 0, 999, 3)))
US = Country(
    "US",
    "United States",
    "en-us",
    _numbers(*((f"1{area}55501", 0, 99, 2) for area in (202, 206, 212, 303, 312, 404, 415, 503, 512, 617))),
)
FR = Country("FR", "France", "fr-fr", _numbers(("3363998", 0, 9999, 4)))
DE = Country("DE", "Germany", "de-de", _numbers(("4917139200", 0, 99, 2), ("493023125", 0, 999, 3)))
SE = Country("SE", "Sweden", "sv-se", _numbers(("46701740", 605, 699, 3)))
AU = Country(
    "AU",
    "Australia",
    "en-au",
    _numbers(("6149157015", 6, 9, 1), ("61491570", 110, 110, 3), ("61491570", 313, 313, 3), ("61491570", 737, 737, 3)),
)
IE = Country("IE", "Ireland", "en-ie", _numbers(("3532091", 0, 9999, 5)))

_NETWORK_SHARES = {
    Network("23410", "Telefonica UK Limited", GB, money("0.0333"), money("0.0121")): 120,
    Network("23415", "Vodafone Limited", GB, money("0.03330000"), money("0.01210000")): 110,
    Network("23420", "Hutchison 3G Ltd", GB, money("0.03420000"), money("0.0127")): 90,
    Network("23430", "EE Limited", GB, money("0.033300"), money("0.0121")): 80,
    Network("310260", "T-Mobile USA, Inc.", US, money("0.0058"), money("0.01270")): 110,
    Network("311480", "Verizon Wireless", US, money("0.00580000"), money("0.01270")): 100,
    Network("310410", "AT&T Mobility", US, money("0.0062"), money("0.01300")): 80,
    Network("US-FIXED", 'United States Landline "PSTN"', US, money("0.00612"), money("0.0069")): 34,
    Network("20801", "Orange", FR, money("0.0628"), money("0.07998")): 60,
    Network("20820", "Bouygues Telecom", FR, money("0.07268000"), money("0.07998")): 40,
    Network("26201", "Telekom Deutschland GmbH", DE, money("0.0726800"), money("0.0812")): 50,
    Network("26202", "Vodafone D2 GmbH", DE, money("0.07268"), money("0.0812")): 50,
    Network("24001", "Telia Sverige AB", SE, money("0.05219"), money("0.04321")): 40,
    Network("50501", "Telstra Corporation Limited", AU, money("0.04512345"), money("0.0499")): 30,
    Network("27202", "Three Ireland (Hutchison) Limited", IE, money("0.06266"), money("0.0288")): 30,
}
NETWORKS = weighted(_NETWORK_SHARES, 1024)

_OWN_NUMBERS = 8
"""The number of virtual numbers that a customer rents in each country."""


def own_number(country: Country, draw: int) -> str:
    """Return one of the customer's virtual numbers in a country."""
    return country.numbers[1023 - draw % _OWN_NUMBERS]


SENDERS = weighted({"Acme Ltd": 20, "AcmeAlert": 10, "NXSMS": 2, "": 32}, 64)
"""Alphanumeric senders; empty where the sender is one of the customer's numbers."""

FORCED_SENDERS = weighted({"": 252, "44770090045": 4})
CHANGED_SENDERS = weighted({"": 250, "NXSMS": 6})


def _spread(start: int, end: int) -> tuple[int, ...]:
    """256 delays between two, dense at the start and thin at the end (geometric)."""
    return tuple(round(start * (end / start) ** (n / 255)) for n in range(256))


SECONDS_72_HOURS = 72 * 3600
_QUICK = _spread(180, 9_000)
_SLOW = _spread(60_000, 6 * 3_600_000)
_VERY_SLOW = _spread(6 * 3_600_000, 71 * 3_600_000)
_AT_ONCE = _spread(5, 400)
_EXPIRY = (SECONDS_72_HOURS * 1000,) * 256

SMS_FATES = weighted(
    {
        Fate("delivered", "0", "Delivered", _QUICK): 890,
        Fate("delivered", "0", "Delivered", _SLOW): 40,
        Fate("delivered", "0", "Delivered", _VERY_SLOW): 8,
        Fate("failed", "1", "Unknown", _QUICK): 12,
        Fate("failed", "2", "Absent Subscriber - Temporary", _SLOW): 18,
        Fate("failed", "6", "Anti-Spam Rejection", _QUICK): 8,
        Fate("rejected", "8", "Handset Error", _AT_ONCE, charged=False): 12,
        Fate("rejected", "15", 'Illegal "From" Number', _AT_ONCE, charged=False): 6,
        Fate("unknown", "99", "General Error", _SLOW): 6,
        Fate("deleted", "50", "Entity Filter", _QUICK): 4,
        Fate("expired", "3", "Absent Subscriber - Permanent", _EXPIRY): 20,
    },
    1024,
)
"""Final states of an SMS (likely: minutes as a rule, `expired` is written after 72 hours)."""

MESSAGE_FATES = weighted(
    {
        Fate("delivered", "", "", _QUICK): 880,
        Fate("delivered", "", "", _SLOW): 70,
        Fate("undeliverable", "", "", _SLOW, charged=False): 40,
        Fate("rejected", "1020", "Invalid params", _AT_ONCE, charged=False): 20,
        Fate("rejected", "1240", "Illegal Sender Address - rejected", _AT_ONCE, charged=False): 14,
    },
    1024,
)

READ_DELAYS = weighted({0: 128, 4: 24, 60: 40, 900: 30, 7_200: 20, 100_000: 10, 400_000: 4})
"""Seconds from delivered to read; 0 is never read (likely: no bound is stated)."""

LATE_SECONDS = weighted({0: 220, 95: 12, 240: 10, 900: 8, 3_000: 4, 9_000: 2})
"""The delays with which rows are listed when late rows are switched on."""

CALL_SECONDS = _spread(3, 5_400)
"""Lengths of calls."""

CALL_FAILURES = weighted(
    {
        CallEnd("480", "Callee currently unavailable"): 90,
        CallEnd("486", "Callee busy"): 60,
        CallEnd("487", "Call cancelled"): 50,
        CallEnd("404", "Number not found"): 30,
        CallEnd("502", "Bad gateway"): 26,
    },
)

BODIES = cycled(
    [
        "Your code is 481516. It is valid for 10 minutes.",
        "Your parcel arrives today between 14:00 and 16:00",
        'She said "see you at 8, then", and left.',
        "Two lines:\nthe second one; with a semicolon",
        'All at once: "quoted, text"\r\nnew line, comma\tand tab \\ backslash',
        "Guten Tag, Ihr Termin wurde bestätigt: morgen, 17:30 Uhr, Größe M",
        "Спасибо за покупку!",
        "ご注文ありがとうございます",
        "مرحبا بك في المتجر",
        "Party tonight \U0001f389\U0001f973 bring \U0001f370",
        "=SUM(A1:A9)",
        "  leading and trailing blanks  ",
        "a" * 160,
        'He answered: ""',
        "NULL",
        "Line separator\u2028and a zero-width\u200bspace",
    ],
    64,
)
LONG_BODY = "Terms and conditions, part of a longer text. " * 3

CLIENT_REFS: tuple[str | None, ...] = weighted(
    {"my-personal-reference": 80, "campaign,2026|spring": 40, 'ref "A"': 8, "": 64, None: 64},
)
ACCOUNT_REFS = weighted({"customer1234": 96, "": 160})
TIERS: tuple[str | None, ...] = weighted({"1-10000": 120, "10001-50000_50001-onwards": 8, "": 96, None: 32})
VOICE_TIERS: tuple[str | None, ...] = weighted({"0-60": 120, "61-onwards": 8, "": 96, None: 32})
IP_ADDRESSES = cycled([f"203.0.113.{n}" for n in range(1, 15)] + ["198.51.100.7", "2001:db8::1f"], 16)
EMAILS = cycled([f"user{n}@example.{top}" for n in range(60) for top in ("com", "org")], 256)
NAMES = weighted({("unknown", "unknown"): 48, ("Ada", "Lovelace"): 8, ("Zoë", "O'Neill"): 8}, 64)

PROVIDERS = weighted(
    {
        "whatsapp": 120,
        "sms": 60,
        "rcs": 24,
        "viber_service_msg": 16,
        "messenger": 14,
        "mms": 10,
        "instagram": 6,
        "email": 6,
    },
)
PHONE_PROVIDERS = frozenset({"whatsapp", "sms", "mms", "rcs", "viber_service_msg"})
CARRIER_PROVIDERS = frozenset({"sms", "mms"})
WHATSAPP_SESSIONS = weighted(
    {"marketing": 6, "utility": 5, "authentication": 3, "service": 1, "referral_conversion": 1},
    16,
)
WHATSAPP_PRICES = cycled([money(text) for text in ("0.06266", "0.00721", "0", "0.0721", "0", "0.01044")], 16)
CHANNEL_PRICES = cycled([money(text) for text in ("0.036", "0.0010", "0.02000000", "0.0081")], 16)

LANGUAGES = cycled(["en-GB", "en-US", "de-DE", "fr-FR", "id-ID", "sv-SE", "cmn-CN"], 16)

VERIFY_STATUSES = weighted({"SUCCESS": 200, "EXPIRED": 24, "FAILED": 20, "CANCELLED": 12})
VERIFY_V2_STATUSES = weighted({"completed": 208, "expired": 24, "failed": 16, "user_rejected": 4, "unused": 4})

CAMARA_PRODUCTS = weighted(
    {
        ("camara-sim-swap", "SimSwap", "check"): 8,
        ("camara-sim-swap", "/camara/sim-swap/v040/retrieve-date", "retrieve-date"): 3,
        ("camara-number-verification", "NumberVerification", "check"): 3,
        ("camara-device-location", "DeviceLocation", "check"): 1,
        ("camara-device-status", "DeviceStatus", "check"): 1,
    },
    16,
)


class Feature(NamedTuple):
    """A feature of the Video API.

    Attributes:
        name: Name in the row.
        id_field: The column that identifies a thing of this feature.
        price: Price per started minute.
        lag: Seconds after its end until the row is listed (likely: HLS up to 2.5 hours).
    """

    name: str
    id_field: str
    price: Money
    lag: int = 0


VIDEO_FEATURES = cycled(
    [
        Feature("Video Session", "meeting_id", money("0")),
        Feature("Subscriber minutes", "subscriber_id", money("0.0041")),
        Feature("Subscriber minutes", "subscriber_id", money("0.00410")),
        Feature("Archiving", "archive_id", money("0.0350")),
        Feature("HLS", "hls_id", money("0.00150"), lag=9_000),
        Feature("Broadcasting", "broadcast_id", money("0.0104")),
        Feature("Experience composer", "composer_id", money("0.02")),
        Feature("SIP_Interconnect", "subscriber_id", money("0.01041234")),
        Feature("Audio_Connector", "subscriber_id", money("0.004")),
        Feature("Live_Captions", "subscriber_id", money("0.0052")),
    ],
    16,
)

REDACTED_FIELDS: Mapping[str, tuple[str, ...]] = {
    "sms/outbound": ("to", "message_body"),
    "sms/inbound": ("from", "message_body"),
    "messages/outbound": ("to", "message_body"),
    "messages/inbound": ("from", "message_body"),
    "voice_call/outbound": ("to",),
    "voice_call/inbound": ("from",),
    "voice_failed/outbound": ("to",),
    "voice_failed/inbound": ("from",),
    "voice_tts/": ("to",),
    "asr/outbound": ("to",),
    "asr/inbound": ("from",),
    "verify_api/": ("to",),
    "verify_v2/": ("to",),
    "number_insight/": ("number", "first_name", "last_name"),
    "network_api_event/": ("msisdn", "response_result"),
}
"""The fields that redaction overwrites, by stream and direction (likely; section 8 of the facts)."""

BLANK_CURRENCY_STREAMS = frozenset({"sms", "verify_api", "number_insight"})
"""Products whose currency is documented as always blank, though EUR was seen (contradiction 6)."""
