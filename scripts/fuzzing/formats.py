"""Damage to PNG and TIFF files that keeps them readable up to it."""

import random
import struct
import zlib

from fuzzing.mutators import INTEGERS, NOT_FINITE, mutate_bytes


def mutate_png(rng: random.Random, data: bytes) -> bytes:
    """A damaged PNG whose checksums are right."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size]])
        at += 12 + size
    which = rng.randrange(len(chunks))
    match rng.randrange(7):
        case 0:
            header = bytearray(chunks[0][1])
            header[8 + rng.randrange(5)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 32, 255))
            chunks[0][1] = bytes(header)
        case 1:
            at = rng.choice((0, 4))
            header = bytearray(chunks[0][1])
            header[at : at + 4] = rng.choice((*INTEGERS, 40_000, 10**6)).to_bytes(4, "big")
            chunks[0][1] = bytes(header)
        case 2:
            del chunks[which]
        case 3:
            chunks.insert(rng.randrange(len(chunks) + 1), chunks[which])
        case 4:
            name = rng.choice(
                (
                    b"tEXt",
                    b"zTXt",
                    b"iTXt",
                    b"iCCP",
                    b"PLTE",
                    b"tRNS",
                    b"gAMA",
                    b"cHRM",
                    b"eXIf",
                    b"acTL",
                    b"fcTL",
                    b"IDAT",
                )
            )
            bomb = zlib.compress(bytes(rng.choice((10, 10**6, 10**8))), 9)
            content = rng.choice((b"", b"x\0\0" + bomb, rng.randbytes(20), bomb, b"II*\0\x08\0\0\0\xff\xff"))
            chunks.insert(rng.randrange(1, len(chunks) + 1), [name, content])
        case 5:
            raw = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
            chunks = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
            chunks.insert(-1, [b"IDAT", zlib.compress(mutate_bytes(rng, raw))])
        case 6:
            chunks[which][1] = mutate_bytes(rng, chunks[which][1])
    out = data[:8]
    for name, content in chunks:
        body = name + content
        out += len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return out


def mutate_tiff(rng: random.Random, data: bytes) -> bytes:
    """A TIFF or DNG with damaged tags in its first directory."""
    changed = bytearray(data)
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    entries = [start + 2 + 12 * number for number in range(count)]
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8, 11: 4, 12: 8}
    for _ in range(rng.choice((1, 1, 2, 3))):
        entry = rng.choice(entries)
        _, kind, number, value = struct.unpack_from("<HHII", changed, entry)
        match rng.randrange(8):
            case 0:
                struct.pack_into(
                    "<H", changed, entry, rng.choice((254, 256, 257, 258, 259, 262, 274, 277, 330, 339, 34665, 50717))
                )
            case 1:
                struct.pack_into(
                    "<H", changed, entry + 2, rng.choice((0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 16, 200))
                )
            case 2:
                struct.pack_into("<I", changed, entry + 4, rng.choice((*INTEGERS, number + 1, max(number - 1, 0))))
            case 3:
                struct.pack_into("<I", changed, entry + 8, rng.choice((*INTEGERS, len(data), len(data) - 1, start)))
            case 4:
                struct.pack_into(
                    "<I", changed, start + 2 + 12 * count, rng.choice((start, 4, len(data) - 4, 2**32 - 1))
                )
            case _:
                width = sizes.get(kind, 1)
                at = value if number * width > 4 else entry + 8
                at += width * rng.randrange(max(min(number, 16), 1))
                if kind in (11, 12):
                    new = struct.pack("<f" if kind == 11 else "<d", rng.choice((*NOT_FINITE, 0.0, -1.0, 1e30, 1e-30)))
                else:
                    new = (
                        rng.choice(INTEGERS).to_bytes(8, "little")[:4] + rng.choice(INTEGERS).to_bytes(8, "little")[:4]
                    )
                if at + width <= len(changed):
                    changed[at : at + width] = new[:width]
    return bytes(changed)
