"""A page as its readers meet it: its text, its attributes, and whether every element that opens also closes."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input"}


class PageReader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.words, self.addresses, self.tags, self.headings = [], [], [], [], {}

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data", "poster")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> at {self.getpos()} closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)
        if self.open and self.open[-1] in ("h1", "title"):
            self.headings[self.open[-1]] = self.headings.get(self.open[-1], "") + data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def read(html):
    reader = PageReader()
    reader.feed(html)
    reader.close()
    assert not reader.open, f"never closed: {reader.open}"
    return reader
