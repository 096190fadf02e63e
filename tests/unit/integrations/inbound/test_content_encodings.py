"""Compressed bodies: all encodings, in rows, broken, and bombs."""

import gzip
import random
import zlib

import brotli
import pytest
import zstandard

from integrations.inbound.content_encodings import MAX_BYTES, TooLarge, unpack


def deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def zstd_stream(data):
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(data) + packer.flush()


def br(data):
    return brotli.compress(data, quality=5)


PACKERS = {
    "gzip": ("gzip", gzip.compress),
    "X-GZIP": ("x-gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "deflate": ("deflate", deflate),
    "br": ("br", br),
    "zstd": ("zstd", zstandard.compress),
    "zstd stream": (" ZSTD ", zstd_stream),
}
PACKED = pytest.mark.parametrize(("name", "pack"), PACKERS.values(), ids=PACKERS)
# Text that does not pack well, so that its parts are spread over the packed bytes.
TEXT = " ".join(str(number) for number in random.Random(1).choices(range(10**9), k=9_000)).encode()


def unpacked(data, encoding):
    return unpack(data, headers={"content-encoding": encoding})


@PACKED
def test_each_encoding_is_unpacked(name, pack):
    for data in (b"", b"x", TEXT, b"\0" * MAX_BYTES):
        assert unpacked(pack(data), name) == (data, "")


def test_two_encodings_in_a_row_are_unpacked_and_three_are_not():
    twice = br(gzip.compress(TEXT))
    assert unpacked(twice, "gzip, identity,, br") == (TEXT, "")
    thrice = zstandard.compress(twice)
    body, fault = unpacked(thrice, "gzip, br, zstd")
    assert body == thrice
    assert fault == "The body has 3 encodings; 2 are read at most."


def test_a_body_that_is_not_packed_stays_as_it_is():
    assert unpack(TEXT, headers={}) == (TEXT, "")
    assert unpacked(TEXT, "identity") == (TEXT, "")


def test_an_unknown_encoding_is_a_fault():
    assert unpacked(TEXT, "compress") == (TEXT, "The encoding “compress” is not known.")


@PACKED
def test_a_body_that_was_unpacked_on_the_way_is_kept(name, pack):
    body, fault = unpacked(b'{"status": "down"}', name)
    assert body == b'{"status": "down"}'
    assert fault == f"The body could not be unpacked as {name.strip().lower()}."


# Of zstd, the smallest part that can be unpacked is a block, and the text is one.
OF_SMALL_PARTS = pytest.mark.parametrize(
    ("name", "pack"), [PACKERS[name] for name in ("gzip", "zlib", "deflate", "br")]
)


@OF_SMALL_PARTS
def test_what_came_of_a_stream_that_breaks_off_is_kept(name, pack):
    packed = pack(TEXT)
    body, fault = unpacked(packed[: len(packed) * 3 // 4], name)
    assert len(body) > len(TEXT) // 2
    assert TEXT.startswith(body)
    assert fault == f"The {name} data is damaged or incomplete; {len(body):,} bytes of it could be read."


@OF_SMALL_PARTS
def test_what_came_before_damage_is_kept(name, pack):
    packed = bytearray(pack(TEXT))
    packed[len(packed) // 2 :] = random.Random(2).randbytes(len(packed) - len(packed) // 2)
    body, _ = unpacked(bytes(packed), name)
    assert body[: len(TEXT) // 4] == TEXT[: len(TEXT) // 4]


@pytest.mark.parametrize("pack", [zstandard.compress, zstd_stream])
def test_the_whole_blocks_of_a_zstd_stream_that_breaks_off_are_kept(pack):
    data = TEXT * 5
    body, fault = unpacked(pack(data)[:-10], "zstd")
    assert len(body) >= 128 * 1024
    assert data.startswith(body)
    assert "damaged or incomplete" in fault
    packed = pack(TEXT)[:-10]
    assert unpacked(packed, "zstd") == (packed, "The body could not be unpacked as zstd.")


def test_a_wrong_check_sum_loses_nothing():
    packed = gzip.compress(b"short")
    body, fault = unpacked(packed[:-8] + bytes(8), "gzip")
    assert body == b"short"
    assert fault == "The gzip data is damaged or incomplete; 5 bytes of it could be read."


def test_streams_behind_each_other_are_one_body():
    assert unpacked(gzip.compress(b"a") + gzip.compress(b"b") + b"\0\0", "gzip") == (b"ab", "")
    assert unpacked(zstandard.compress(b"a") + zstandard.compress(b"b"), "zstd") == (b"ab", "")
    many = gzip.compress(b"a") * 40_000
    body, fault = unpacked(many, "gzip")
    assert body == b"a" * 100
    assert "damaged or incomplete" in fault


@PACKED
@pytest.mark.parametrize("size", [MAX_BYTES + 1, 40 * MAX_BYTES], ids=["just too large", "bomb"])
def test_a_body_that_unpacks_to_more_than_the_limit_is_too_large(name, pack, size):
    with pytest.raises(TooLarge):
        unpacked(pack(bytes(size)), name)


def test_a_bomb_in_a_bomb_is_too_large():
    with pytest.raises(TooLarge):
        unpacked(gzip.compress(gzip.compress(bytes(40 * MAX_BYTES))), "gzip, gzip")
    with pytest.raises(TooLarge):
        unpacked(bytes(MAX_BYTES + 1), "gzip")


def test_a_window_that_would_take_much_memory_is_not_read():
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = packer.compress(TEXT) + packer.flush()
    assert unpacked(packed, "zstd")[0] == packed
