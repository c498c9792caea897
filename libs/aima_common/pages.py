"""Many documents, a page at a time: a store's answer, and what is held of it, stay small however much there is."""

from collections.abc import AsyncIterator

from aima_common.ports.documents import Document, Documents, Range, Where

PAGE = 1000
"""Documents that are read at once."""


async def every(documents: Documents, collection: str, where: Where | None = None) -> AsyncIterator[Document]:
    """Walk the documents that match, by their ids. Each page is as of its own moment.

    Whoever walks may change or remove what it was given. What comes meanwhile is met where its id is behind the page.
    """
    behind: Where = {}
    while page := await documents.find(collection, {**(where or {}), **behind}, order=["id"], limit=PAGE):
        for document in page:
            yield document
        if len(page) < PAGE:
            return
        # No id lies between the last one and this.
        behind = {"id": Range(at_least=page[-1].id + "\x00")}
