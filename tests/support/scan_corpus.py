"""Labelled texts for `scan`: what people and programs write, with and without secrets in it.

Made from a seed, so that precision and recall are the same on every run. Each text comes with the
values that must be found and their kind; the rest must stay. The traps are what looks alike:
order numbers, versions, dates, UUIDs, prices, coordinates, code.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable
from typing import NamedTuple

SEED = 20261124
TEXTS = 4_000


class Labelled(NamedTuple):
    """One text and the (kind, value) pairs in it, in order."""

    text: str
    secrets: tuple[tuple[str, str], ...]


def _luhn(body: str) -> str:
    total = 0
    for place, digit in enumerate(map(int, reversed(body))):
        doubled = digit * 2 if place % 2 == 0 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return body + str(-total % 10)


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def card(rng: random.Random) -> str:
    prefix, size = rng.choice([("4", 16), ("51", 16), ("2345", 16), ("37", 15), ("6011", 16), ("36", 14)])  # fmt: skip
    number = _luhn(prefix + _digits(rng, size - len(prefix) - 1))
    if size == 16 and rng.random() < 0.6:
        return rng.choice([" ", "-"]).join(number[i : i + 4] for i in range(0, 16, 4))
    if size == 15 and rng.random() < 0.5:
        return f"{number[:4]} {number[4:10]} {number[10:]}"
    return number


def ssn(rng: random.Random) -> str:
    area = rng.choice([n for n in range(1, 900) if n != 666])
    separator = rng.choice(["-", "-", " "])
    return f"{area:03}{separator}{rng.randint(1, 99):02}{separator}{rng.randint(1, 9999):04}"


def email(rng: random.Random) -> str:
    name = rng.choice(
        ["ann", "bob.lee", "c_d", "eva+news", "j.o'brien", "müller", "x99", "it-desk"]
    )
    host = rng.choice(["example.com", "mail.example.org", "firma.example", "a-b.example.co.uk", "bücher.example"])  # fmt: skip
    return f"{name}{rng.randint(1, 999)}@{host}"


def phone(rng: random.Random) -> str:
    a, b, c = rng.randint(201, 989), rng.randint(200, 999), rng.randint(0, 9999)
    return rng.choice(
        [
            f"+1 {a} {b} {c:04}",
            f"({a}) {b}-{c:04}",
            f"{a}-{b}-{c:04}",
            f"+49 30 {rng.randint(1000000, 9999999)}",
            f"+44 20 7946 {c:04}",
            f"+33{rng.randint(100000000, 799999999)}",
            f"0041 44 {b} {rng.randint(10, 99)} {rng.randint(10, 99)}",
        ]
    )


def iban(rng: random.Random) -> str:
    country, size = rng.choice([("DE", 18), ("FR", 23), ("GB", 18), ("NL", 14), ("ES", 20)])
    body = _digits(rng, size)
    if country == "GB":
        body = "NWBK" + body[4:]
    if country == "NL":
        body = "ABNA" + body[4:]
    value = "".join(str(int(c, 36)) for c in body + country + "00")
    number = f"{country}{98 - int(value) % 97:02}{body}"
    if rng.random() < 0.5:
        return " ".join(number[i : i + 4] for i in range(0, len(number), 4))
    return number


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt(rng: random.Random) -> str:
    head = _base64url(b'{"alg":"HS256","typ":"JWT"}')
    body = _base64url(b'{"sub":"%d","iat":%d}' % (rng.randint(1, 10**9), rng.randint(1, 10**9)))
    return f"{head}.{body}.{_base64url(rng.randbytes(32))}"


def key(rng: random.Random) -> str:
    upper = string.ascii_uppercase + string.digits
    letters = string.ascii_letters + string.digits
    prefix, alphabet, size = rng.choice(
        [("AKIA", upper, 16), ("ghp_", letters, 36), ("sk_live_", letters, 24), ("AIza", letters, 35),
         ("xoxb-", letters, 24), ("glpat-", letters, 20), ("sk-", letters, 40)]
    )  # fmt: skip
    return prefix + "".join(rng.choices(alphabet, k=size))


def ip(rng: random.Random) -> str:
    if rng.random() < 0.25:
        groups = [f"{rng.randint(0, 0xFFFF):x}" for _ in range(rng.choice([3, 8]))]
        return ":".join(groups) if len(groups) == 8 else f"2001:db8::{groups[0]}:{groups[1]}"
    return ".".join(str(rng.randint(1, 254)) for _ in range(4))


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "card": card, "ssn": ssn, "email": email, "phone": phone, "iban": iban, "jwt": jwt,
    "key": key, "ip": ip,
}  # fmt: skip

FRAMES = [
    "Customer wrote: {} is mine, please update.",
    "{}",
    "see {}, thanks",
    "Notiz vom 12.03.2026: {} (geprüft)",
    '{{"note": "{}", "id": 17}}',
    "user=ann;value={};ok=true",
    "first line\nsecond line has {}\nthird line",
    "<{}>",
    "moved from {} to {}",
    "call log: {}; ticket #48213 closed at 10:20:30",
    "{}\tx",
    "Bitte {} löschen! Danke.",
]


def trap(rng: random.Random) -> str:
    """A text without any secret that looks as if it had one."""
    number = _digits(rng, 16)
    while _luhn(number[:-1]) == number:
        number = _digits(rng, 16)
    return rng.choice(
        [
            f"order {rng.randint(100000, 99999999)} shipped on 2026-{rng.randint(1, 12):02}-17",
            f"serial {number} printed on the back",
            f"v{rng.randint(1, 20)}.{rng.randint(0, 9)}.{rng.randint(0, 99)} released",
            f"version {rng.randint(1, 9)}.{rng.randint(0, 9)}.{rng.randint(0, 9)}.{rng.randint(0, 9)} is out",
            f"started 2026-03-04 10:{rng.randint(10, 59)}:30.123 took 00:01:22",
            f"id 550e8400-e29b-41d4-a716-{_digits(rng, 12)} not found",
            f"price 1.299,00 EUR, was {rng.randint(1, 9999)}.99",
            f"lat {rng.uniform(-90, 90):.6f} lon {rng.uniform(-180, 180):.6f}",
            "std::vector<int> a; b @ c; foo@bar; x = y@z",
            f"mac 00:1b:44:11:3a:{rng.randint(10, 99)} joined",
            f"sha256 {rng.randbytes(32).hex()}",
            f"total of {rng.randint(100, 999)} {rng.randint(100, 999)} units in 12 boxes",
            f"ISBN 978-3-16-148410-0, page {rng.randint(1, 900)}",
            f"ratio 10:20, score {rng.randint(0, 9)}:{rng.randint(0, 9)}, room 4.2.17",
            "The quick brown fox jumps over the lazy dog. " * rng.randint(1, 4),
            f"tracking 1Z{_digits(rng, 16)} is on its way",
            f"000-{rng.randint(10, 99)}-{rng.randint(1000, 9999)} is no number of anyone",
            f"part no. {rng.randint(10, 99)}-{rng.randint(100, 999)}-{rng.randint(10, 99)}",
            f"epoch {rng.randint(1_600_000_000, 1_800_000_000)} ms {rng.randint(1_600_000_000_000, 1_800_000_000_000)}",
            f"tax {rng.randint(1, 40)}% on {rng.randint(10_000, 99_999)} items; SKU AB12{_digits(rng, 6)}",
        ]
    )  # fmt: skip


def corpus(count: int = TEXTS, seed: int = SEED) -> list[Labelled]:
    """Return the labelled texts: two in three hold secrets, the others are traps."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        if number % 3 == 2:
            found.append(Labelled(trap(rng), ()))
            continue
        frame = rng.choice(FRAMES)
        secrets = []
        for _ in range(frame.count("{}")):
            kind = rng.choice(list(MAKERS))
            secrets.append((kind, MAKERS[kind](rng)))
        text = frame.format(*(value for _, value in secrets))
        if rng.random() < 0.2:
            text += " " + trap(rng)
        found.append(Labelled(text, tuple(secrets)))
    return found
