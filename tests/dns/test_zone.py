"""What a zone says: the examples of RFC 1034 (delegation) and RFC 4592 (wildcards) as tables, then the rest of a zone's ways.

Zone texts and replies are read by dnspython. A question is `name type`, with `do` for DO; an answer is its code unless that is
NOERROR, `AA`, and the records of the three sections: `answer; ! authority; + additional`. SOA of negative answers are `! SOA`.
"""

import random
import struct
from collections.abc import Iterable, Iterator

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.zone
import pytest

from kdns.dns import names
from kdns.dns.encoding import encode
from kdns.dns.query import Edns, Query, Transport
from kdns.dns.response import RRset
from kdns.dns.ring import Ring
from kdns.dns.types import A, CNAME, NS, SOA, TXT
from kdns.dns.zone import Found, MOST_ALIASES, Zone


def zone_of(text: str, origin: str) -> Zone:
    """A zone of a text that dnspython reads."""
    read = dns.zone.from_text(text, origin, relativize=False, check_origin=False)
    rrsets = []
    for name, ttl, rdata in read.iterate_rdatas():
        rrsets.append(RRset(names.absolute(name.to_text()), rdata.rdtype, ttl, (rdata.to_wire(),)))
    random.Random(7).shuffle(rrsets)  # the order of records says nothing
    return Zone(origin, rrsets, "file")


def said(zone: Zone, question: str) -> str:
    """The reply to a question in the notation above."""
    name, type, *do = question.split()
    query = Query(names.absolute(name), dns.rdatatype.from_text(type), edns=Edns(4096, True) if do else None)
    query.transport = Transport.TCP
    found = zone.lookup(query.name, query.type, query.do)
    wire = encode(query, found.response)
    assert not isinstance(wire, Ring)
    return spoken(dns.message.from_wire(b"\0\7" + wire), query, found)


def spoken(message: dns.message.Message, query: Query, found: Found) -> str:
    parts = [] if message.rcode() == dns.rcode.NOERROR else [dns.rcode.to_text(message.rcode())]
    if message.flags & dns.flags.AA:
        parts.append("AA")
    parts += records(message.answer, "", query) + records(message.authority, "! ", query)
    parts += records(message.additional, "+ ", query) + (["leads out"] if found.leads_out else [])
    return " ".join(parts)


def records(section: Iterable[dns.rrset.RRset], sign: str, query: Query) -> list[str]:
    """The records of a section, sorted; those of the answer in the order of their RRsets, for aliases lead from one to the next."""
    out: list[list[str]] = []
    signatures = []
    for rrset in section:
        owner = sign if rrset.name.to_text() == query.name else f"{sign}{rrset.name.to_text().lower()} "
        kind = dns.rdatatype.to_text(rrset.rdtype)
        if rrset.rdtype == dns.rdatatype.RRSIG:
            signatures += [f"{owner}RRSIG {dns.rdatatype.to_text(rdata.covers())};" for rdata in rrset]
        elif rrset.rdtype == dns.rdatatype.SOA and sign:
            out.append([f"{sign}SOA;"])
        elif rrset.rdtype == dns.rdatatype.NSEC:
            out.append([f"{owner}NSEC {rdata.next};" for rdata in rrset])
        else:
            out.append(sorted(f"{owner}{kind} {rdata.to_text()};" for rdata in rrset))
    flat = [record for rrset_ in out for record in rrset_]
    return (sorted(flat) if sign else flat) + sorted(signatures)


def rows(text: str) -> Iterator[tuple[str, str]]:
    """`question -> answer` on each line; what begins with "..." goes on with the line before."""
    lines: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("..."):
            lines[-1] += line.removeprefix("...")
        else:
            lines.append(line)
    for line in lines:
        question, _, answer = line.partition("->")
        yield question.strip(), answer.strip()


def cases(origin: str, zone: str, table: str) -> list[object]:
    made = zone_of(zone, origin)
    return [pytest.param(made, question, answer, id=f"{origin} {question}") for question, answer in rows(table)]


ROOT = cases(
    ".",  # RFC 1034 6.1: the root and ARPA as C.ISI.EDU had them
    """
$TTL 86400
.                       SOA   SRI-NIC.ARPA. HOSTMASTER.SRI-NIC.ARPA. 870611 1800 300 604800 86400
.                       NS    A.ISI.EDU.
.                       NS    C.ISI.EDU.
.                       NS    SRI-NIC.ARPA.
MIL.                    NS    SRI-NIC.ARPA.
MIL.                    NS    A.ISI.EDU.
EDU.                    NS    SRI-NIC.ARPA.
EDU.                    NS    C.ISI.EDU.
SRI-NIC.ARPA.           A     26.0.0.73
SRI-NIC.ARPA.           A     10.0.0.51
SRI-NIC.ARPA.           MX    0 SRI-NIC.ARPA.
SRI-NIC.ARPA.           HINFO DEC-2060 TOPS20
ACC.ARPA.               A     26.6.0.65
ACC.ARPA.               MX    10 ACC.ARPA.
USC-ISIC.ARPA.          CNAME C.ISI.EDU.
73.0.0.26.IN-ADDR.ARPA. PTR   SRI-NIC.ARPA.
52.0.0.10.IN-ADDR.ARPA. PTR   C.ISI.EDU.
A.ISI.EDU.              A     26.3.0.103
C.ISI.EDU.              A     10.0.0.52
""",
    """
sri-nic.arpa A         -> AA A 10.0.0.51; A 26.0.0.73;
sri-nic.arpa MX        -> AA MX 0 SRI-NIC.ARPA.; + A 10.0.0.51; + A 26.0.0.73;
sri-nic.arpa NS        -> AA ! SOA;
sri-nic.arpa HINFO     -> AA HINFO "DEC-2060" "TOPS20";
52.0.0.10.in-addr.arpa PTR -> AA PTR C.ISI.EDU.;
sir-nic.arpa A         -> NXDOMAIN AA ! SOA;
brl.mil A              -> ! mil. NS A.ISI.EDU.; ! mil. NS SRI-NIC.ARPA.; + a.isi.edu. A 26.3.0.103;
                       ... + sri-nic.arpa. A 10.0.0.51; + sri-nic.arpa. A 26.0.0.73;
mil NS                 -> ! NS A.ISI.EDU.; ! NS SRI-NIC.ARPA.; + a.isi.edu. A 26.3.0.103;
                       ... + sri-nic.arpa. A 10.0.0.51; + sri-nic.arpa. A 26.0.0.73;
mil DS                 -> AA ! SOA;
c.isi.edu A            -> ! edu. NS C.ISI.EDU.; ! edu. NS SRI-NIC.ARPA.; + A 10.0.0.52;
                       ... + sri-nic.arpa. A 10.0.0.51; + sri-nic.arpa. A 26.0.0.73;
usc-isic.arpa A        -> AA CNAME C.ISI.EDU.; leads out
usc-isic.arpa CNAME    -> AA CNAME C.ISI.EDU.;
73.0.0.26.in-addr.arpa PTR -> AA PTR SRI-NIC.ARPA.;
0.0.26.in-addr.arpa PTR    -> AA ! SOA;
arpa A                 -> AA ! SOA;
. NS                   -> AA NS A.ISI.EDU.; NS C.ISI.EDU.; NS SRI-NIC.ARPA.; + a.isi.edu. A 26.3.0.103;
                       ... + c.isi.edu. A 10.0.0.52; + sri-nic.arpa. A 10.0.0.51; + sri-nic.arpa. A 26.0.0.73;
. SOA                  -> AA SOA SRI-NIC.ARPA. HOSTMASTER.SRI-NIC.ARPA. 870611 1800 300 604800 86400;
""",
)

EDU = cases(
    "edu.",  # the same section: EDU with its delegations, name servers inside and outside of what they serve
    """
$TTL 172800
$ORIGIN edu.
@              SOA SRI-NIC.ARPA. HOSTMASTER.SRI-NIC.ARPA. 870729 1800 300 604800 86400
@              NS  SRI-NIC.ARPA.
@              NS  C.ISI
UCI            NS  ICS.UCI
UCI            NS  ROME.UCI
ICS.UCI        A   192.5.19.1
ROME.UCI       A   192.5.19.31
ISI            NS  VAXA.ISI
ISI            NS  A.ISI
VAXA.ISI       A   10.2.0.27
A.ISI          A   26.3.0.103
UDEL           NS  LOUIE.UDEL
UDEL           NS  UMN-REI-UC.ARPA.
LOUIE.UDEL     A   10.0.0.96
YALE           NS  YALE.ARPA.
""",
    """
www.uci.edu A      -> ! uci.edu. NS ICS.UCI.edu.; ! uci.edu. NS ROME.UCI.edu.;
                   ... + ics.uci.edu. A 192.5.19.1; + rome.uci.edu. A 192.5.19.31;
a.isi.edu A        -> ! isi.edu. NS A.ISI.edu.; ! isi.edu. NS VAXA.ISI.edu.;
                   ... + A 26.3.0.103; + vaxa.isi.edu. A 10.2.0.27;
no.such.udel.edu MX -> ! udel.edu. NS LOUIE.UDEL.edu.; ! udel.edu. NS UMN-REI-UC.ARPA.; + louie.udel.edu. A 10.0.0.96;
yale.edu A         -> ! NS YALE.ARPA.;
mit.edu A          -> NXDOMAIN AA ! SOA;
edu NS             -> AA NS C.ISI.edu.; NS SRI-NIC.ARPA.;
""",
)

WILDCARD = cases(
    "example.",  # RFC 4592 2.2.1, and the closest enclosers of 3.3.1
    """
$TTL 3600
example.                 SOA ns.example.com. host.example. 1 7200 1800 86400 300
example.                 NS  ns.example.com.
example.                 NS  ns.example.net.
*.example.               TXT "this is a wildcard"
*.example.               MX  10 host1.example.
sub.*.example.           TXT "this is not a wildcard"
host1.example.           A   192.0.2.1
_ssh._tcp.host1.example. SRV 0 0 22 host1.example.
_ssh._tcp.host2.example. SRV 0 0 22 host2.example.
subdel.example.          NS  ns.example.com.
subdel.example.          NS  ns.example.net.
""",
    """
host3.example MX       -> AA MX 10 host1.example.; + host1.example. A 192.0.2.1;
host3.example A        -> AA ! SOA;
foo.bar.example TXT    -> AA TXT "this is a wildcard";
host1.example MX       -> AA ! SOA;
sub.*.example MX       -> AA ! SOA;
sub.*.example TXT      -> AA TXT "this is not a wildcard";
*.example TXT          -> AA TXT "this is a wildcard";
_telnet._tcp.host1.example SRV -> NXDOMAIN AA ! SOA;
host.subdel.example A  -> ! subdel.example. NS ns.example.com.; ! subdel.example. NS ns.example.net.;
ghost.*.example MX     -> NXDOMAIN AA ! SOA;
_dns._udp.host2.example TXT -> NXDOMAIN AA ! SOA;
_telnet._tcp.host3.example TXT -> AA TXT "this is a wildcard";
_chat._udp.host3.example TXT   -> AA TXT "this is a wildcard";
foobar.*.example TXT   -> NXDOMAIN AA ! SOA;
_tcp.host2.example TXT -> AA ! SOA;
host2.example TXT      -> AA ! SOA;
x.host1.example TXT    -> NXDOMAIN AA ! SOA;
""",
)

ALIASES = cases(
    "example.",
    """
$TTL 60
@          SOA ns host 1 7200 1800 86400 30
@          NS  ns
ns         A   192.0.2.53
ns         AAAA 2001:db8::53
www        CNAME web
web        CNAME host
host       A   192.0.2.1
host       A   192.0.2.2
gone       CNAME nothing
none       CNAME txt
txt        TXT text
out        CNAME www.example.com.
far        CNAME out
a          CNAME b
b          CNAME c
c          CNAME a
self       CNAME self
*.wild     CNAME host
sub        CNAME x.deleg
deleg      NS ns.deleg
ns.deleg   A 192.0.2.54
old        DNAME new
old        TXT here
x.old      A   192.0.2.99
x.new      A   192.0.2.3
over       DNAME example.net.
loop       DNAME loop.loop
long       DNAME {0}.{0}.{0}
svc        HTTPS 1 host alpn=h2
srv        SRV 0 0 80 ns
x\\.y      A   192.0.2.7
x\\.y.deep A   192.0.2.8
""".replace("{0}", "l" * 60),
    """
www.example A      -> AA CNAME web.example.; web.example. CNAME host.example.;
                   ... host.example. A 192.0.2.1; host.example. A 192.0.2.2;
www.example CNAME  -> AA CNAME web.example.;
www.example ANY    -> AA CNAME web.example.;
www.example MX     -> AA CNAME web.example.; web.example. CNAME host.example.; ! SOA;
gone.example A     -> NXDOMAIN AA CNAME nothing.example.; ! SOA;
none.example A     -> AA CNAME txt.example.; ! SOA;
out.example A      -> AA CNAME www.example.com.; leads out
far.example AAAA   -> AA CNAME out.example.; out.example. CNAME www.example.com.; leads out
a.example A        -> AA CNAME b.example.; b.example. CNAME c.example.; c.example. CNAME a.example.;
self.example A     -> AA CNAME self.example.;
q.wild.example A   -> AA CNAME host.example.; host.example. A 192.0.2.1; host.example. A 192.0.2.2;
sub.example A      -> AA CNAME x.deleg.example.; leads out
x.old.example A    -> AA old.example. DNAME new.example.; CNAME x.new.example.; x.new.example. A 192.0.2.3;
y.old.example A    -> NXDOMAIN AA old.example. DNAME new.example.; CNAME y.new.example.; ! SOA;
old.example TXT    -> AA TXT "here";
old.example DNAME  -> AA DNAME new.example.;
a.b.over.example A -> AA over.example. DNAME example.net.; CNAME a.b.example.net.; leads out
{1}.{1}.long.example A -> YXDOMAIN AA long.example. DNAME {0}.{0}.{0}.example.;
svc.example HTTPS  -> AA HTTPS 1 host.example. alpn="h2"; + host.example. A 192.0.2.1; + host.example. A 192.0.2.2;
srv.example SRV    -> AA SRV 0 0 80 ns.example.; + ns.example. A 192.0.2.53; + ns.example. AAAA 2001:db8::53;
x\\.y.example A    -> AA A 192.0.2.7;
z.x\\.y.example A  -> NXDOMAIN AA ! SOA;
y.example A        -> NXDOMAIN AA ! SOA;
deep.example A     -> AA ! SOA;
host.example RRSIG -> AA ! SOA;
""".replace("{0}", "l" * 60).replace("{1}", "x" * 40),
)

F = "f" * 64

SIGNED = cases(
    "example.",  # signatures are not checked here: any octets will do
    f"""
$TTL 60
@        SOA   ns host 1 7200 1800 86400 30
@        NS    ns
@        NSEC  alias SOA NS RRSIG NSEC
alias    CNAME ns
alias    NSEC  dark CNAME RRSIG NSEC
dark     NS    ns.elsewhere.
dark     NSEC  lit NS RRSIG NSEC
lit      NS    ns.elsewhere.
lit      DS    1 8 2 {F}
lit      NSEC  ns NS DS RRSIG NSEC
ns       A     192.0.2.53
ns       NSEC  deep.sub A RRSIG NSEC
deep.sub TXT   x
deep.sub NSEC  *.wild TXT RRSIG NSEC
*.wild   A     192.0.2.1
*.wild   NSEC  @ A RRSIG NSEC
"""
    + "\n".join(
        f"{owner} RRSIG {type} 8 1 60 20300101000000 20200101000000 1 example. AAAA"
        for owner, types in {"@": "SOA NS NSEC", "alias": "CNAME NSEC", "dark": "NSEC", "deep.sub": "TXT NSEC", "lit": "DS NSEC",
                             "ns": "A NSEC", "*.wild": "A NSEC"}.items()
        for type in types.split()
    ),
    f"""
ns.example A do    -> AA A 192.0.2.53; RRSIG A;
ns.example A       -> AA A 192.0.2.53;
alias.example A do -> AA CNAME ns.example.; ns.example. A 192.0.2.53; RRSIG CNAME; ns.example. RRSIG A;
ns.example MX do   -> AA ! NSEC deep.sub.example.; ! SOA; ! RRSIG NSEC; ! example. RRSIG SOA;
ns.example MX      -> AA ! SOA;
sub.example A do   -> AA ! SOA; ! ns.example. NSEC deep.sub.example.; ! example. RRSIG SOA; ! ns.example. RRSIG NSEC;
host.example A do  -> NXDOMAIN AA ! SOA; ! dark.example. NSEC lit.example.; ! example. NSEC alias.example.;
                   ... ! dark.example. RRSIG NSEC; ! example. RRSIG NSEC; ! example. RRSIG SOA;
a.example A do     -> NXDOMAIN AA ! SOA; ! example. NSEC alias.example.; ! example. RRSIG NSEC; ! example. RRSIG SOA;
x.dark.example A do -> ! dark.example. NS ns.elsewhere.; ! dark.example. NSEC lit.example.; ! dark.example. RRSIG NSEC;
x.lit.example A do -> ! lit.example. DS 1 8 2 {F}; ! lit.example. NS ns.elsewhere.; ! lit.example. RRSIG DS;
lit.example DS do  -> AA DS 1 8 2 {F}; RRSIG DS;
z.wild.example A do -> AA A 192.0.2.1; RRSIG A; ! *.wild.example. NSEC example.; ! *.wild.example. RRSIG NSEC;
z.wild.example MX do -> AA ! *.wild.example. NSEC example.; ! SOA; ! *.wild.example. RRSIG NSEC; ! example. RRSIG SOA;
alias.example NSEC -> AA NSEC dark.example.;
alias.example RRSIG -> AA RRSIG CNAME; RRSIG NSEC;
""",
)


@pytest.mark.parametrize(("zone", "question", "answer"), [*ROOT, *EDU, *WILDCARD, *ALIASES, *SIGNED])
def test_what_a_zone_says(zone: Zone, question: str, answer: str) -> None:
    assert answer == said(zone, question)


SOA_RDATA = b"\2ns\0\4host\0" + struct.pack("!5I", 7, 7200, 1800, 86400, 30)


def zone_from(*rrsets: RRset) -> Zone:
    return Zone("example.", [RRset("example.", SOA, 60, (SOA_RDATA,)), *rrsets], "db.example", "file")


def test_an_answer_says_what_it_was_made_from() -> None:
    zone = zone_from(RRset("a.example.", A, 60, (b"\x0a\0\0\1",)))
    for name, type in (("a.example.", A), ("a.example.", TXT), ("b.example.", A)):
        response = zone.lookup(name, type).response
        assert (("db.example",), float("inf"), "file", True) == (
            response.depends, response.stable_for, response.made.by, response.authoritative,
        )  # fmt: skip


def test_the_soa_of_a_negative_answer_has_the_least_ttl_and_other_numbers_are_told() -> None:
    zone = zone_from()
    assert [30] == [rrset.ttl for rrset in zone.lookup("x.example.", A).response.authority]
    assert [60] == [rrset.ttl for rrset in zone.lookup("example.", SOA).response.answer]
    assert (7, 7200, 1800, 86400, 30) == zone.timers


def test_records_of_one_owner_and_type_are_one_rrset_with_the_least_ttl() -> None:
    zone = zone_from(RRset("a.example.", A, 60, (b"\x0a\0\0\1",)), RRset("a.example.", A, 9, (b"\x0a\0\0\2", b"\x0a\0\0\1")))
    answer = (RRset("a.example.", A, 9, (b"\x0a\0\0\1", b"\x0a\0\0\2")),)
    assert answer == zone.lookup("a.example.", A).response.answer
    assert 3 == len(zone)


def test_beside_an_alias_there_is_nothing_and_at_the_apex_no_alias() -> None:
    target, other = b"\1t\7example\0", b"\1u\7example\0"
    zone = zone_from(
        RRset("a.example.", A, 60, (b"\x0a\0\0\1",)),
        RRset("a.example.", CNAME, 60, (target, other)),
        RRset("example.", CNAME, 60, (target,)),
    )
    assert [(CNAME, (target,))] == [(r.type, r.rdata) for r in zone.lookup("a.example.", A).response.answer]
    assert [SOA] == [r.type for r in zone.lookup("example.", CNAME).response.authority]


def test_without_a_soa_negative_answers_are_bare() -> None:
    zone = Zone("hosts.", [RRset("a.hosts.", A, 60, (b"\x0a\0\0\1",))], "hosts")
    assert ((), ()) == (zone.lookup("a.hosts.", TXT).response.authority, zone.lookup("b.hosts.", A).response.authority)
    assert ["a.hosts."] == [rrset.name for rrset in zone.transfer()]


def test_a_transfer_begins_and_ends_with_the_soa() -> None:
    signature = "RRSIG A 8 1 60 20300101000000 20200101000000 1 @ AAAA"
    text = f"$TTL 60\n@ NS ns\nns A 192.0.2.1\nb.c TXT x\n@ SOA ns host 1 7200 1800 86400 30\n@ {signature}"
    zone = zone_of(text, "example.")
    every = list(zone.transfer())
    assert (SOA, SOA) == (every[0].type, every[-1].type)
    expected = {("example.", "SOA"), ("example.", "NS"), ("ns.example.", "A"), ("b.c.example.", "TXT"), ("example.", "RRSIG")}
    assert expected == {(r.name, dns.rdatatype.to_text(dns.rdatatype.RdataType.make(r.type))) for r in every}
    assert len(every) == len(expected) + 1 == len(zone) + 1


def test_a_long_way_of_aliases_ends() -> None:
    links = [RRset(f"a{i}.example.", CNAME, 60, (names.wire(f"a{i + 1}.example."),)) for i in range(1000)]
    assert MOST_ALIASES + 1 == len(zone_from(*links).lookup("a0.example.", A).response.answer)


@pytest.mark.parametrize("label", ["x", r"\000", r"\."])
def test_a_look_up_takes_a_step_for_each_label(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = zone_from(RRset("sub.example.", NS, 60, (b"\2ns\0",)))
    steps: list[str] = []
    upwards = names.upwards
    monkeypatch.setattr(names, "upwards", lambda name: (steps.append(each) or each for each in upwards(name)))
    for count in (10, 100):
        steps.clear()
        assert 3 == zone.lookup(f"{label}." * count + "example.", A).response.rcode
        assert len(steps) <= 2 * count + 4


def test_many_records_of_one_owner_join_in_one_go() -> None:
    every = [RRset("a.example.", A, 60, (struct.pack("!I", i),)) for i in range(60_000)]
    assert 60_000 == len(zone_from(*every).lookup("a.example.", A).response.answer[0].rdata)
