"""Octets and text that were changed a little, or a lot: what a fuzzer tries. All chance is the caller's."""

from collections.abc import Sequence
from random import Random

ODD_OCTETS = bytes((0, 1, 2, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xC1, 0xFE, 0xFF))
LONGEST = 4096  # octets


def mutated(rnd: Random, seeds: Sequence[bytes], most: int = 4) -> bytes:
    """One of the seeds after up to `most` changes."""
    octets = bytearray(seeds[int(rnd.random() * len(seeds))])
    for _ in range(int(rnd.random() * (most + 1))):
        at = int(rnd.random() * (len(octets) + 1))
        match int(rnd.random() * 9):
            case 0:
                octets[at : at + 1] = bytes((int(rnd.random() * 256),))
            case 1:
                octets[at : at + 1] = ODD_OCTETS[int(rnd.random() * 11) :][:1]
            case 2:
                if at < len(octets):
                    octets[at] ^= 1 << int(rnd.random() * 8)
            case 3:
                del octets[at : at + 1 + int(rnd.random() * 8)]
            case 4:
                octets[at:at] = rnd.randbytes(1 + int(rnd.random() * 8))
            case 5:
                del octets[at:]
            case 6:
                octets[at:at] = octets[at : at + 1 + int(rnd.random() * 40)]
            case 7:
                other = seeds[int(rnd.random() * len(seeds))]
                octets[at:] = other[int(rnd.random() * len(other)) :]
            case 8:
                octets[at:at] = octets[:at] * int(1 + rnd.random() * 3)
    return bytes(octets[:LONGEST])


def changed_text(rnd: Random, seeds: Sequence[str], words: Sequence[str], most: int = 5) -> str:
    """One of the seeds after up to `most` changes of its words and lines; now and then of its characters."""
    lines = rnd.choice(seeds).split("\n")
    for _ in range(rnd.randrange(most + 1)):
        at = rnd.randrange(len(lines))
        match rnd.randrange(9):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[rnd.randrange(len(lines))])
            case 2:
                lines.insert(at, rnd.choice(rnd.choice(seeds).split("\n")))
            case 3 | 4 | 5:
                parts = lines[at].split(" ")
                parts[rnd.randrange(len(parts))] = rnd.choice(words)
                lines[at] = " ".join(parts)
            case 6:
                lines[at] += f" {rnd.choice(words)}"
            case 7:
                other = rnd.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 8:
                lines[at] = mutated(rnd, [lines[at].encode()]).decode(errors=rnd.choice(("replace", "ignore")))
        lines = lines or [""]
    return "\n".join(lines)
