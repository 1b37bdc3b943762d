"""*minimal* - leaves out of answers what was not asked for.

Description
    Where there is an answer, the authority section and the additional section are left out, whichever plugin filled them.
    Denials and delegations stay as they are. For those who ask for signatures (DO), the proofs that belong to an answer from a
    wildcard stay, too (RFC 4035 3.1.3.3), which CoreDNS leaves out.

Syntax
    minimal

Metrics
    None.

Differences
    - Proofs of answers from wildcards stay, for those who ask with DO.

Examples
    Answers as small as they can be:

        example.org {
            minimal
            whoami
        }
"""

from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Query
from kdns.dns.response import Answer, replace, Response
from kdns.dns.types import NOERROR, NSEC, RRSIG

PROOFS = (NSEC, RRSIG, 50)  # and NSEC3


class Minimal(Plugin):
    same_for_everyone = True

    async def answer(self, query: Query, next: Handler) -> Answer:
        other = await next(query)
        if not isinstance(other, Response) or not other.answer or other.rcode != NOERROR:
            return other
        if not other.authority and not other.additional:
            return other
        proofs = tuple(rrset for rrset in other.authority if rrset.type in PROOFS) if query.do else ()
        return replace(other, authority=proofs, additional=())
