"""*loadbalance* - lets answers with several addresses begin with another one each time.

Description
    Most clients use the first address of an answer. `round_robin` turns the addresses: each answer starts one
    further, and the first of them anywhere, so that over many answers every address stands first equally often, in
    replies from the memo too. MX records are shuffled. Aliases stand before addresses, as some clients need.

    `weighted` takes one address by chance, as a file weighs them, and puts it first; the others stay as they are.

    `prefer` then moves the addresses within some prefixes to the front.

Syntax
    loadbalance [round_robin | weighted FILE] {
        reload DURATION
        prefer PREFIX...
    }

    - `round_robin` is the default.
    - FILE has lines of a name, and below each name lines of an address and its weight, 1 to 255; an address that is
      not there weighs 1. A line that starts with `#` is a comment. A relative path starts where *root* says.
    - `reload`, with `weighted`, is how often the file is read again, 30s by default; 0s for never. A file that became
      wrong is reported in the log, and the weights stay as they were.
    - `prefer` takes prefixes such as 10.9.20.0/24, the most wanted first.

    Replies that `weighted` made, and those that `prefer` reordered, do not come from the memo.

Metrics
    None.

Examples
    The default:

        . {
            loadbalance
            whoami
        }

    Addresses of one's own network first:

        . {
            loadbalance round_robin {
                prefer 10.9.20.0/24 192.168.1.0/24
            }
            whoami
        }

    By weight, from a file that may come later:

        example.com {
            loadbalance weighted db.example.com.weights {
                reload 10s
            }
            whoami
        }
"""

import asyncio
import logging
import os
import random
from ipaddress import ip_address, ip_network, IPv4Network, IPv6Network

from kdns.config.directive import Directive
from kdns.core.plugin import Handler
from kdns.core.site import Site
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import replace, Response, RRset
from kdns.dns.types import A, AAAA, MX, NOERROR, SRV

log = logging.getLogger(__name__)

ADDRESSES = (A, AAAA)
Section = tuple[RRset, ...]
Weights = dict[tuple[str, bytes], int]  # by owner name and packed address


def setup(directive: Directive, site: Site) -> "RoundRobin":
    site.once(directive)
    policy = directive.choice(("round_robin", "weighted"), at=0) if directive.args else "round_robin"
    directive.arguments(*((2, 2) if policy == "weighted" else (0, 1)))
    reload = 30.0
    prefer: list[IPv4Network | IPv6Network] = []
    for option in directive.block:
        if option.name == "prefer":
            prefer += [_prefix(option, text) for text in option.arguments(1)]
        elif option.name == "reload" and policy == "weighted":
            reload = option.duration()
        else:
            raise option.unknown(("reload", "prefer") if policy == "weighted" else ("prefer",))
    if policy == "round_robin":
        return RoundRobin(prefer)
    weighted = Weighted(prefer, os.path.join(site.root, directive.args[1]), reload)
    try:
        weighted.read()
    except FileNotFoundError:
        if not reload:
            raise directive.error(f"there is no file '{weighted.path}'") from None
        log.warning("there is no file '%s' yet: all addresses weigh the same", weighted.path)
    except (OSError, ValueError) as error:
        raise directive.error(str(error)) from None
    return weighted


def _prefix(option: Directive, text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise option.error(f"prefer: '{text}' is no prefix such as 10.0.0.0/8 or 2001:db8::/32") from None


class RoundRobin:
    def __init__(self, prefer: list[IPv4Network | IPv6Network]) -> None:
        self.prefer = prefer

    async def answer(self, query: Query, next: Handler) -> Response:
        response = await next(query)
        answer = response.answer
        if response.rcode != NOERROR or not answer:
            return response
        if answer[-1].type not in ADDRESSES and any(rrset.type in ADDRESSES for rrset in answer):
            response = replace(response, answer=tuple(sorted(answer, key=lambda rrset: rrset.type in ADDRESSES)))
        response = self.turn(query, response)
        return self.preferred(response) if self.prefer else response

    def turn(self, query: Query, response: Response) -> Response:
        last = response.answer[-1]
        if last.type in ADDRESSES:
            return replace(response, rotate=True) if len(last.rdata) > 1 else response
        if any(rrset.type == MX and len(rrset.rdata) > 1 for rrset in response.answer):
            shuffled = tuple(_shuffled(rrset) if rrset.type == MX else rrset for rrset in response.answer)
            return replace(response, answer=shuffled, stable_for=0.0)
        return response

    def preferred(self, response: Response) -> Response:
        """The same with what is preferred first; the octets are then others each time."""
        found = [rrset for rrset in response.answer if rrset.type in ADDRESSES and len(rrset.rdata) > 1]
        if len({self._rank(octets) for rrset in found for octets in rrset.rdata}) < 2:
            return response
        answer = []
        for rrset in response.answer:
            if rrset in found:
                before = _shuffled(rrset).rdata if response.rotate else rrset.rdata
                rrset = rrset._replace(rdata=tuple(sorted(before, key=self._rank)))
            answer.append(rrset)
        return replace(response, answer=tuple(answer), rotate=False, stable_for=0.0)

    def _rank(self, octets: bytes) -> int:
        address = ip_address(octets)
        return next((rank for rank, prefix in enumerate(self.prefer) if address in prefix), len(self.prefer))


class Weighted(RoundRobin):
    def __init__(self, prefer: list[IPv4Network | IPv6Network], path: str, reload: float) -> None:
        super().__init__(prefer)
        self.path, self.reload = path, reload
        self.text = ""  # of the file as it was read last
        self.trouble = ""
        self.weights: Weights = {}

    def turn(self, query: Query, response: Response) -> Response:
        if query.type not in (A, AAAA, SRV):
            return response
        answer, additional = self.first(response.answer), self.first(response.additional)
        if answer is response.answer and additional is response.additional:
            return response
        return replace(response, answer=answer, additional=additional, stable_for=0.0)

    def first(self, section: Section) -> Section:
        """The section with one of its addresses moved to the front of them."""
        places = [(i, j) for i, rrset in enumerate(section) if rrset.type in ADDRESSES for j in range(len(rrset.rdata))]
        if len(places) < 2:
            return section
        weights = [self.weights.get((section[i].name, section[i].rdata[j]), 1) for i, j in places]
        i, j = random.choices(places, weights)[0]
        rrset = section[i]
        taken = rrset._replace(rdata=(rrset.rdata[j], *rrset.rdata[:j], *rrset.rdata[j + 1 :]))
        at = places[0][0]
        others = [other for other in section if other is not rrset]
        return (*others[:at], taken, *others[at:])

    def read(self) -> None:
        """Take the weights from the file; OSError, or ValueError with file and line, where that cannot be."""
        with open(self.path, encoding="utf-8") as file:
            text = file.read()
        if text != self.text:
            self.text = text
            self.weights = parse_weights(text, self.path)
            log.info("%d weights are read from '%s'", len(self.weights), self.path)

    async def run(self) -> None:
        while self.reload:
            await asyncio.sleep(self.reload)
            try:
                self.read()
                self.trouble = ""
            except (OSError, ValueError) as error:
                if str(error) != self.trouble:
                    self.trouble = str(error)
                    log.error("the weights stay as they were: %s", error)


def _shuffled(rrset: RRset) -> RRset:
    return rrset._replace(rdata=tuple(random.sample(rrset.rdata, len(rrset.rdata))))


def parse_weights(text: str, path: str) -> Weights:
    """The weights that a file gives; ValueError with file and line where it is wrong."""
    weights: Weights = {}
    owner = ""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if len(words) == 1:
                owner = names.absolute(words[0])
                continue
            if len(words) > 2 or not owner:
                raise ValueError("a line is a name, or below a name an address and its weight")
            if not (words[1].isascii() and words[1].isdigit() and 1 <= int(words[1]) <= 255):
                raise ValueError(f"'{words[1]}' is no weight from 1 to 255")
            weights[owner, names.packed(words[0])] = int(words[1])
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
    return weights
