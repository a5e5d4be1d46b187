"""Sound files in bad company, and files whose content is bad: tables, text, random bytes."""

from __future__ import annotations

import random

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from tests.common.malformed.base import (
    CANARY,
    COMPRESSED,
    EXPLICIT,
    IMPLICIT,
    PIXEL_HEADER,
    Case,
    Cases,
    body,
    changed,
    dataset,
    element,
    meta_of,
    written,
)


def preambles() -> Cases:
    """A preamble may be anything: sound files with those of programs, and damaged ones."""
    for name, start in (
        ("exe", b"MZ\x90\0\3\0\0\0"),
        ("elf", b"\x7fELF\2\1\1\0"),
        ("script", b"#!/bin/sh\nrm -rf /\n"),
        ("tiff", b"II*\0\x08\0\0\0"),
        ("zip", b"PK\3\4"),
        ("png", b"\x89PNG\r\n\x1a\n"),
    ):
        yield Case(name, "preamble", written(dataset(), start), "read")
        yield Case(f"{name}-cut", "preamble", written(dataset(), start)[:700], "refused")
        yield Case(f"{name}-alone", "preamble", start.ljust(2048, b"\0"), "refused")


def directories() -> Cases:
    """A DICOMDIR is an index and no image; what it names is never opened."""
    for path in (["..", "..", "ETC", "PASSWD"], ["..\\..\\WINDOWS"], ["/etc/passwd"], [CANARY]):
        made = dataset()
        made.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
        record = dataset()
        del record.PixelData
        record.ReferencedFileID = path
        made.DirectoryRecordSequence = [record]
        del made.PixelData
        yield Case(f"dicomdir-{len(path)}-{path[0][:4]!r}", "dicomdir", written(made), "refused")


def tables() -> Cases:
    """Lookup tables and float pixels that cannot be used."""
    for name, values in {
        "short": {"LUTDescriptor": [256, 0, 16], "LUTData": bytes(6)},
        "none": {"LUTDescriptor": [256, 0, 16]},
        "bits": {"LUTDescriptor": [2, 0, 99], "LUTData": bytes(4)},
    }.items():
        for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
            item = Dataset()
            for key, value in values.items():
                setattr(item, key, value)
            yield Case(f"{keyword}-{name}", "tables", changed(**{keyword: [item]}), "refused")
    made = dataset()
    made.PhotometricInterpretation = "PALETTE COLOR"
    made.RedPaletteColorLookupTableDescriptor = [256, 0, 16]
    yield Case("palette", "tables", written(made), "refused")
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        made = dataset()
        del made.PixelData
        made.BitsAllocated = 32
        made.FloatPixelData = np.full((16, 16), value, "<f4").tobytes()
        yield Case(f"float-{name}", "tables", written(made), "refused")


def canaries() -> Cases:
    """Values that a careless message would quote."""
    whole = written(dataset())
    for keyword, where, value in (
        ("photometric", b"\x28\x00\x04\x00CS", b"MONOCHROME2 "),
        ("window", b"\x28\x00\x50\x10DS", b"2048"),
    ):
        at = whole.index(where) + 8
        text = CANARY.encode()[: len(value)].ljust(len(value))
        data = whole[:at] + text + whole[at + len(value) :]
        yield Case(keyword, "canary", data, "refused")
    for keyword in ("NumberOfFrames", "WindowWidth", "RescaleSlope", "VOILUTFunction"):
        tag = {"NumberOfFrames": 0x0008, "WindowWidth": 0x1051, "RescaleSlope": 0x1053}
        vr = {"NumberOfFrames": "IS", "VOILUTFunction": "CS"}.get(keyword, "DS")
        added = element(0x0028, tag.get(keyword, 0x1056), vr, CANARY.encode())
        at = whole.index(PIXEL_HEADER)
        yield Case(keyword, "canary", whole[:at] + added + whole[at:], "refused")
    meta = meta_of(uid.UID("1.2.840.10008.1.2.1"))
    at = meta.index(b"1.2.840.10008.1.2.1")
    text = CANARY.encode().ljust(19, b"\0")
    yield Case("syntax", "canary", meta[:at] + text + meta[at + 19 :] + body(), "refused")


def noise(rng: random.Random) -> Cases:
    """Random bytes, alone and behind what a file begins with."""
    for i, size in enumerate([0, 1, 7, 131, 132, 133, 1000, 4096, 100_000, 2**20]):
        yield Case(f"alone-{i}", "noise", rng.randbytes(size), "refused")
        for name, start in (
            ("dicm", b"\0" * 128 + b"DICM"),
            ("meta", meta_of(EXPLICIT)),
            ("implicit", meta_of(IMPLICIT)),
            ("png", b"\x89PNG\r\n\x1a\n"),
            ("jpeg", b"\xff\xd8\xff\xe0"),
            ("tiff", b"II*\0"),
            ("bmp", b"BM"),
        ):
            yield Case(f"{name}-{i}", "noise", start + rng.randbytes(size), "refused")


def fuzzed(rng: random.Random) -> Cases:
    """Some bytes of a header changed at random."""
    for syntax in (EXPLICIT, IMPLICIT, *COMPRESSED):
        whole = written(dataset(syntax))
        end = whole.index(b"\xe0\x7f\x10\x00")
        for i in range(25):
            copy = bytearray(whole)
            for _ in range(rng.choice((1, 3, 20))):
                copy[rng.randrange(132, end)] = rng.randrange(256)
            yield Case(f"{syntax.keyword}-{i}", "fuzzed", bytes(copy), "either")
