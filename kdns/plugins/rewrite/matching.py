"""Which names a rule is for, and what becomes of them: exact, prefix, suffix, substring, regex. No I/O."""

from typing import NamedTuple

from kdns.config.patterns import Pattern, Template

KINDS = ("exact", "prefix", "suffix", "substring", "regex")


def dotted(text: str) -> str:
    """Lower case, and with a dot at the end, as names have it."""
    text = text.lower()
    return text if text.endswith(".") else text + "."


class Matching(NamedTuple):
    """The names that a text stands for, by the kind of it; `template` has what takes its place."""

    kind: str
    text: str
    to: str = ""
    pattern: Pattern | None = None
    template: Template | None = None

    def fits(self, name: str) -> bool:
        if self.pattern is not None:
            return self.pattern.matches(name)
        match self.kind:
            case "exact":
                return name == self.text
            case "prefix":
                return name.startswith(self.text)
            case "suffix":
                return name.endswith(self.text)
        return self.text in name

    def replaced(self, name: str) -> str | None:
        """The name with what takes its place, perhaps no name any more; None where the rule is not for it."""
        if self.pattern is not None and self.template is not None:
            found = self.pattern.find(name)
            return None if found is None else self.template.filled(found)
        if not self.fits(name):
            return None
        match self.kind:
            case "exact":
                return self.to
            case "prefix":
                return self.to + name.removeprefix(self.text)
            case "suffix":
                return name.removesuffix(self.text) + self.to
        return name.replace(self.text, self.to)


def matching(kind: str, text: str) -> Matching:
    """From the words of a Corefile; ValueError where it is no regular expression."""
    return Matching(kind, text, "", Pattern(text)) if kind == "regex" else Matching(kind, dotted(text))


def replacing(kind: str, text: str, to: str) -> Matching:
    """The same with what takes the place; ValueError where that names a group that is not there."""
    if kind == "regex":
        pattern = Pattern(text)
        return Matching(kind, text, to, pattern, Template(dotted(to), pattern))
    return Matching(kind, dotted(text), dotted(to))
