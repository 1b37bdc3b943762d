"""*rewrite* - lets a query be another one, and the reply be of the one that was asked.

Description
    Each directive is a rule. The rules of a server block are tried in the order of the Corefile, wherever else they stand;
    where one fits, the query becomes another one, or something is noted to be done to its reply. After a rule with `stop`,
    the default, no other is tried. What is done to the reply is done in the reverse order. The reply carries the question as
    it was asked; its records carry the names that the rules leave in them.

    What is not for a single client goes through the memo like all else.

Syntax
    rewrite [continue|stop] name [KIND] FROM TO [metadata] [answer auto] [answer name FROM TO] [answer value FROM TO]...
    rewrite [continue|stop] type FROM TO
    rewrite [continue|stop] class FROM TO
    rewrite [continue|stop] ttl [KIND] NAME SECONDS|MIN-MAX
    rewrite [continue|stop] rcode [KIND] NAME FROM TO
    rewrite [continue|stop] cname [KIND] FROM TO
    rewrite [continue|stop] edns0 local set|append|replace CODE DATA [revert]
    rewrite [continue|stop] edns0 local unset CODE
    rewrite [continue|stop] edns0 nsid set|append|replace|unset [revert]
    rewrite [continue|stop] edns0 subnet set|append|replace V4 V6 [revert]
    rewrite [continue|stop] edns0 subnet unset

    The words after continue or stop may also stand in a block.

    KIND            how names are matched: `exact` (the default), `prefix`, `suffix`, `substring`, or `regex`, a regular
                    expression in Go's syntax, found anywhere in the name; TO may then have {0} for what was found and {1},
                    {2} for its groups. Names are in lower case with a dot at the end, and FROM and TO get one where they
                    have none, but FROM of `regex`.
    name            the name asked becomes another. Where that is no name, the reply is SERVFAIL.
    metadata        with `regex`: TO may have {PLUGIN/LABEL} as well (see *metadata*). Where nothing is known by that label
                    the rule does not fit.
    answer auto     the name in the reply, and names below it, become what was asked; with `suffix` all names with that end.
                    `exact` always does that.
    answer name     owners of records that the regular expression FROM fits become TO.
    answer value    the same for names in CNAME, DNAME, MX, NAPTR, NS, PTR, SOA (the primary) and SRV records.
    type, class     the type (A, AAAA, TYPE65280) or class (IN, CH, HS) asked becomes another.
    ttl             TTLs of replies about NAME become SECONDS, or are brought into a range (`30-300`, `-30`, `30-`).
    rcode           the code FROM of replies about NAME becomes TO: names of codes, or numbers up to 23.
    cname           where an alias in the reply points to FROM, it points to TO, and what TO has follows.
    edns0           an EDNS option of the query is set; added where it is not there (`append`); set where it is there
                    (`replace`); or taken out. *forward* sends it to its upstreams. DATA is text, hexadecimal after 0x, or
                    {qname}, {qtype}, {client_ip}, {client_port}, {protocol}, {server_ip}, {server_port} or a label. V4 and V6
                    say how many bits of the client's address are told.
    revert          has no effect: clients never see an option that was put in for them.

    A query with an option set here is not answered by *cache*: another's answer might not be for it.

Metrics
    None.

Examples
    Names of a company are Services:

        . {
            rewrite name suffix .corp.example .prod.svc.cluster.local answer auto
            rewrite stop {
                name regex (.*)-(us-west-1)\\.example\\.org {1}.service.{2}.consul
                answer name (.*)\\.service\\.(us-west-1)\\.consul {1}-{2}.example.org
            }
            whoami
        }

    Names of servers in a reverse zone, and short names for all:

        . {
            rewrite stop {
                name suffix .arpa .arpa
                answer value (.*)\\.service\\.consul\\. {1}.example.org.
            }
            rewrite continue ttl regex (.*)\\.example\\.org 30-300
            rewrite continue rcode substring example.org SERVFAIL NOERROR
            rewrite cname exact cdn.example.net other.example.net
            whoami
        }

    Upstreams learn the client's network, and nobody HINFO:

        . {
            rewrite continue edns0 subnet set 24 56
            rewrite continue edns0 local set 0xffee 0x61626364
            rewrite type HINFO A
            whoami
        }
"""

from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, lines, read
from kdns.core.block import Block
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Made, replace, Response
from kdns.dns.types import ANY, CNAME, IN, NOERROR, OTHER, SERVFAIL
from kdns.plugins.rewrite.edns import EdnsRule
from kdns.plugins.rewrite.rules import Change, ClassRule, NewTarget, NoName, Rule
from kdns.plugins.rewrite.words import read_rule

MADE = Made("rewrite")


@dataclass(frozen=True)
class Options:
    rule: tuple[Rule, bool] = argument(read_rule)  # and whether no other is tried after it
    words: tuple[None, ...] = lines(lambda o: None)  # of the rule, too


class Rewrite(Plugin):
    """The first in a server block has all rules, the others are passed by."""

    table = Options

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.block = block
        every = block.directives(directive.name)
        self.passed_by = every[0] is not directive
        self.rules: list[tuple[Rule, bool]] = [] if self.passed_by else [read(Options, one).options.rule for one in every]
        self.same_for_everyone = all(rule.same_for_everyone for rule, _ in self.rules)
        codes = frozenset(rule.code for rule, _ in self.rules if isinstance(rule, EdnsRule))
        block.send_options(codes)
        if any(isinstance(rule, ClassRule) for rule, _ in self.rules):
            block.answer_any_class()

    async def answer(self, query: Query, next: Handler) -> Answer:
        asked = query
        changes: list[Change | NewTarget] = []
        for rule, stop in self.rules:
            try:
                done = rule.apply(asked, self.block.label)
            except NoName as error:
                why = ExtendedError(OTHER, f"rewritten: {error}")
                return Response(rcode=SERVFAIL, authoritative=False, made=MADE, error=why)
            if done is not None:
                asked = done.query
                changes += done.changes
                if stop:
                    break
        if asked.cls == IN != query.cls:
            next = self.block.behind(self)
        response = await next(asked)
        if not isinstance(response, Response):
            return response
        for change in reversed(changes):
            response = await self._changed(asked, response, change)
            if not isinstance(response, Response):
                return response
        if asked.cls != query.cls:
            response = replace(response, cls=asked.cls)
        if response.rcode > 15 and query.edns is None:  # it cannot be said
            return replace(response, rcode=SERVFAIL)
        return response

    async def _changed(self, query: Query, response: Response, change: Change | NewTarget) -> Answer:
        if not isinstance(change, NewTarget):
            return change(response)
        for at, rrset in enumerate(response.answer):
            if rrset.type == CNAME and (new := change.target(names.text(rrset.rdata[0]))) is not None:
                alias = rrset._replace(rdata=(names.wire(new),))
                alone = replace(response, rcode=NOERROR, answer=(*response.answer[:at], alias), authority=(), additional=())
                return alone if query.type in (CNAME, ANY) else await self.block.follow(query, alone, ())
        return response
