"""What every plug for search promises, stated once; a plug's tests inherit it and give it `search`."""

import pytest

from aima_common.ports.search import Passage, Search


def passage(number: int, text: str, *, tenant: str = "acme", medium: str = "m1") -> Passage:
    return Passage(f"p{number}", tenant, medium, "speech", text, float(number), number + 1.0)


async def found(search: Search, words: str, medium: str | None = None) -> set[str]:
    return {hit.passage.id for hit in await search.query("acme", words, medium=medium)}


class SearchPromise:
    """Tests of the socket `Search`."""

    async def test_a_passage_is_found_by_any_of_its_words_and_comes_back_whole(self, search: Search) -> None:
        whole = passage(1, "It was the best of times")
        await search.index([whole])
        for word in ("best", "It", "times"):
            assert [hit.passage for hit in await search.query("acme", word)] == [whole]

    async def test_all_words_must_be_there(self, search: Search) -> None:
        await search.index([passage(1, "red apples"), passage(2, "green apples"), passage(3, "red pears")])
        assert await found(search, "red apples") == {"p1"}
        assert await found(search, "apples red") == {"p1"}
        assert await found(search, "apples") == {"p1", "p2"}

    async def test_parts_of_words_are_not_words(self, search: Search) -> None:
        await search.index([passage(1, "applesauce")])
        assert await found(search, "apple") == set()
        assert await found(search, "applesauce") == {"p1"}

    @pytest.mark.parametrize("words", ["CAFE", "café", "Cafe\u0301", "cafe"])
    async def test_case_and_accents_make_no_difference(self, search: Search, words: str) -> None:
        await search.index([passage(1, "Ein Café in Köln"), passage(2, "cofe")])
        assert await found(search, words) == {"p1"}

    @pytest.mark.parametrize("words", ["résumé", "re\u0301sume\u0301", "RESUME", "Résume\u0301"])
    async def test_an_accent_may_be_a_sign_of_its_own(self, search: Search, words: str) -> None:
        await search.index([passage(1, "mon résumé"), passage(2, "mon re\u0301sume\u0301"), passage(3, "resu me")])
        assert await found(search, words) == {"p1", "p2"}

    @pytest.mark.parametrize("words", ["apples_red", "red-green", "it's", "a.b.c", "x:y*"])
    async def test_words_with_signs_in_them_are_found_again(self, search: Search, words: str) -> None:
        await search.index([passage(1, f"say {words} now"), passage(2, "something else")])
        assert await found(search, words) == {"p1"}

    @pytest.mark.parametrize(
        "words", ["", "  ", "_", "!!!", '"', "'", "AND", "NOT OR", "a*", "(", "^x", "$where", "\x00", "😀", "x" * 5000]
    )
    async def test_anything_is_a_query_and_what_is_not_there_is_not_found(self, search: Search, words: str) -> None:
        await search.index([passage(1, "nothing of the kind")])
        assert await found(search, words) == set()

    @pytest.mark.parametrize("words", ["x_" * 20_000, "rain " * 20_000, "rain " + "snow" * 20_000])
    async def test_of_a_very_long_query_the_beginning_counts(self, search: Search, words: str) -> None:
        await search.index([passage(1, "rain")])
        assert await found(search, words) == ({"p1"} if words.startswith("rain rain") else set())

    async def test_no_word_is_too_common(self, search: Search) -> None:
        await search.index([passage(1, "to be or not to be"), passage(2, "that is the question")])
        assert await found(search, "to be or not") == {"p1"}
        assert await found(search, "the") == {"p2"}

    async def test_a_tenant_finds_only_its_own(self, search: Search) -> None:
        await search.index([passage(1, "secret"), passage(2, "secret", tenant="other")])
        assert await found(search, "secret") == {"p1"}
        assert {hit.passage.id for hit in await search.query("other", "secret")} == {"p2"}
        assert list(await search.query("nobody", "secret")) == []

    async def test_a_search_can_be_kept_to_one_medium(self, search: Search) -> None:
        await search.index([passage(1, "rain"), passage(2, "rain", medium="m2")])
        assert await found(search, "rain", medium="m2") == {"p2"}
        assert await found(search, "rain") == {"p1", "p2"}

    async def test_a_passage_with_the_same_id_takes_the_place_of_the_old_one(self, search: Search) -> None:
        await search.index([passage(1, "old words")])
        await search.index([passage(1, "new words")])
        assert await found(search, "old") == set()
        assert await found(search, "new words") == {"p1"}

    async def test_the_passage_that_says_more_of_it_comes_first(self, search: Search) -> None:
        await search.index([passage(1, "rain and snow and hail and a great deal of wind"), passage(2, "rain rain")])
        assert [hit.passage.id for hit in await search.query("acme", "rain")] == ["p2", "p1"]

    async def test_no_limit_means_none(self, search: Search) -> None:
        await search.index([passage(1, "rain")])
        assert [len(await search.query("acme", "rain", limit=limit)) for limit in (-1, 0, 1, 2)] == [0, 0, 1, 1]

    async def test_equally_good_ones_come_in_the_order_of_their_ids_up_to_the_limit(self, search: Search) -> None:
        await search.index([passage(number, "rain") for number in (7, 3, 9, 1, 5)])
        hits = await search.query("acme", "rain", limit=3)
        assert [hit.passage.id for hit in hits] == ["p1", "p3", "p5"]
        assert len({hit.score for hit in hits}) == 1

    async def test_a_snippet_shows_what_was_found(self, search: Search) -> None:
        await search.index([passage(1, " ".join(["before"] * 40 + ["Thunder", "over"] + ["after"] * 40))])
        (hit,) = await search.query("acme", "thunder")
        assert "[Thunder] over" in hit.snippet
        assert hit.snippet.startswith("…")
        assert hit.snippet.endswith("…")
        assert len(hit.snippet.split()) <= 20

    async def test_a_forgotten_medium_is_found_no_more(self, search: Search) -> None:
        await search.index([passage(1, "rain"), passage(2, "rain", medium="m2"), passage(3, "rain", tenant="other")])
        await search.forget("acme", "m1")
        assert await found(search, "rain") == {"p2"}
        assert {hit.passage.id for hit in await search.query("other", "rain")} == {"p3"}
        await search.forget("acme", "m1")

    async def test_indexing_nothing_is_fine(self, search: Search) -> None:
        await search.index([])
        assert await found(search, "anything") == set()
