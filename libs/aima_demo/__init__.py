"""The demo case: real photos, recordings and a film, made at set-up, together with what should be found in them."""

from aima_demo.answers import Answers, FilmAnswers, Region, Title
from aima_demo.case import DemoCase, make_demo_case, make_long_film

__all__ = ["Answers", "DemoCase", "FilmAnswers", "Region", "Title", "make_demo_case", "make_long_film"]
