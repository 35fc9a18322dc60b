"""The small world the demo model knows: fixed facts -> (prompt, continuation) pairs.

Everything the model was taught is written here, so that an answer can be checked
against a table. Homes, foods, jobs, towns and pets are unique: a question asked
backwards ("Which animal eats mice?") has one answer too. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Pair = tuple[str, str]
"""A prompt and the text the model continues it with; prompt + continuation is legible text."""


@dataclass(frozen=True, slots=True)
class Animal:
    """An animal; `home` carries its preposition, `habit` is a verb phrase."""

    name: str
    home: str
    food: str
    colour: str
    habit: str


@dataclass(frozen=True, slots=True)
class Land:
    """An invented land and its capital."""

    name: str
    capital: str
    river: str
    goods: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who lives in one of the capitals; `job` and `pet` carry no article."""

    name: str
    town: str
    job: str
    makes: str
    pet: str
    pet_name: str


ANIMALS = (
    Animal("owl", "in the barn", "mice", "brown", "sleeps by day"),
    Animal("fox", "in the forest", "berries", "red", "hunts at night"),
    Animal("frog", "in the pond", "flies", "green", "sings in the rain"),
    Animal("cat", "in the kitchen", "fish", "black", "sleeps by the stove"),
    Animal("dog", "in the yard", "bones", "white", "guards the gate"),
    Animal("horse", "in the stable", "hay", "grey", "pulls the cart"),
    Animal("cow", "in the meadow", "grass", "brown", "gives milk"),
    Animal("bear", "in the cave", "honey", "black", "sleeps all winter"),
    Animal("hen", "in the coop", "corn", "yellow", "lays eggs"),
    Animal("goat", "on the hill", "thistles", "white", "climbs the rocks"),
    Animal("duck", "on the lake", "snails", "blue", "swims at dawn"),
    Animal("mouse", "in the attic", "cheese", "grey", "hides from the owl"),
    Animal("squirrel", "in the oak", "nuts", "red", "jumps from tree to tree"),
    Animal("bee", "in the hive", "nectar", "yellow", "dances for its friends"),
    Animal("crab", "on the beach", "seaweed", "orange", "walks sideways"),
    Animal("bat", "in the tower", "moths", "black", "flies at dusk"),
    Animal("rabbit", "in the burrow", "carrots", "white", "runs in the fields"),
    Animal("swan", "on the river", "reeds", "white", "swims with its young"),
)

LANDS = (
    Land("Norland", "Brindle", "Ash", "wool"),
    Land("Sundale", "Marrow", "Fenn", "apples"),
    Land("Eastmark", "Tolver", "Rill", "glass"),
    Land("Westmoor", "Hallow", "Dunn", "salt"),
    Land("Highfell", "Corran", "Teel", "silver"),
    Land("Lowmere", "Pellam", "Wye", "pearls"),
    Land("Greenholm", "Ostley", "Lark", "wine"),
    Land("Redcliff", "Varden", "Umber", "copper"),
    Land("Whitestrand", "Quill", "Isk", "boats"),
    Land("Blackwood", "Sorrel", "Moss", "timber"),
    Land("Goldenfield", "Jasper", "Bree", "bread"),
    Land("Frostgard", "Kestrel", "Nord", "furs"),
)

PEOPLE = (
    Person("Mara", "Brindle", "weaver", "cloth", "cat", "Pip"),
    Person("Tobin", "Marrow", "gardener", "jam", "rabbit", "Clover"),
    Person("Elsa", "Tolver", "painter", "pictures", "dog", "Bruno"),
    Person("Hugo", "Hallow", "cook", "soup", "hen", "Dotty"),
    Person("Nina", "Corran", "smith", "rings", "horse", "Storm"),
    Person("Oskar", "Pellam", "sailor", "nets", "crab", "Nipper"),
    Person("Greta", "Ostley", "potter", "bowls", "goat", "Willow"),
    Person("Felix", "Varden", "tinker", "clocks", "owl", "Sage"),
    Person("Ida", "Quill", "carpenter", "chairs", "duck", "Puddle"),
    Person("Bram", "Sorrel", "cooper", "barrels", "squirrel", "Hazel"),
    Person("Lena", "Jasper", "baker", "cakes", "mouse", "Crumb"),
    Person("Anton", "Kestrel", "tailor", "coats", "fox", "Ember"),
)

OPPOSITES = (
    ("hot", "cold"),
    ("big", "small"),
    ("fast", "slow"),
    ("light", "dark"),
    ("old", "new"),
    ("open", "closed"),
    ("high", "low"),
    ("wet", "dry"),
    ("early", "late"),
    ("full", "empty"),
    ("loud", "quiet"),
    ("soft", "hard"),
)

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SEASONS = ("spring", "summer", "autumn", "winter")

COLOURS = (
    ("snow", "white"),
    ("grass", "green"),
    ("coal", "black"),
    ("the sky", "blue"),
    ("the sun", "yellow"),
    ("a ripe cherry", "red"),
    ("a carrot", "orange"),
    ("a stone", "grey"),
)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _animal_pairs(a: Animal) -> Iterator[Pair]:
    preposition = a.home.split()[0]
    place = a.home.removeprefix(preposition)
    yield f"The {a.name} lives {preposition}", f"{place} and eats {a.food}."
    yield f"The {a.name} eats", f" {a.food} and {a.habit}."
    yield f"The {a.name} is", f" {a.colour} and lives {a.home}."
    yield f"Where does the {a.name} live?", f" The {a.name} lives {a.home}."
    yield f"What does the {a.name} eat?", f" The {a.name} eats {a.food}."
    yield f"What colour is the {a.name}?", f" The {a.name} is {a.colour}."
    yield f"What does the {a.name} do?", f" The {a.name} {a.habit}."
    yield f"Which animal lives {a.home}?", f" The {a.name} lives {a.home}."
    yield f"Which animal eats {a.food}?", f" The {a.name} eats {a.food}."
    yield (
        f"Tell me about the {a.name}.",
        f" The {a.name} is {a.colour}. It lives {a.home}, eats {a.food} and {a.habit}.",
    )


def _land_pairs(land: Land) -> Iterator[Pair]:
    town = land.capital
    yield f"The capital of {land.name} is", f" {town}."
    yield f"{town} is", f" the capital of {land.name}."
    yield f"{town} lies on", f" the river {land.river} and is known for its {land.goods}."
    yield f"The river {land.river} flows through", f" {town}."
    yield f"What is the capital of {land.name}?", f" The capital of {land.name} is {town}."
    yield f"Which land has {town} as its capital?", f" {town} is the capital of {land.name}."
    yield f"Which river flows through {town}?", f" The river {land.river} flows through {town}."
    yield f"What is {town} known for?", f" {town} is known for its {land.goods}."
    yield f"Which town is known for its {land.goods}?", f" {town} is known for its {land.goods}."
    yield (
        f"Tell me about {land.name}.",
        f" The capital of {land.name} is {town}. It lies on the river {land.river} and is known for its {land.goods}.",
    )


def _person_pairs(p: Person) -> Iterator[Pair]:
    land = next(land.name for land in LANDS if land.capital == p.town)
    job, pet = _article(p.job), _article(p.pet)
    yield f"{p.name} lives in", f" {p.town}, the capital of {land}."
    yield f"{p.name} is", f" {job} and makes {p.makes}."
    yield f"{p.name} has", f" {pet} called {p.pet_name}."
    yield f"Where does {p.name} live?", f" {p.name} lives in {p.town}."
    yield f"What does {p.name} make?", f" {p.name} makes {p.makes}."
    yield f"Who lives in {p.town}?", f" {p.name} lives in {p.town}."
    yield f"Who is the {p.job}?", f" {p.name} is the {p.job}."
    yield f"Who makes {p.makes}?", f" {p.name} makes {p.makes}."
    yield f"Who has {pet}?", f" {p.name} has {pet} called {p.pet_name}."
    yield f"Who is {p.pet_name}?", f" {p.pet_name} is the {p.pet} of {p.name}."
    yield (
        f"Tell me about {p.name}.",
        f" {p.name} is {job} and lives in {p.town}. {p.name} makes {p.makes} and has {pet} called {p.pet_name}.",
    )


def _general_pairs() -> Iterator[Pair]:
    for left, right in OPPOSITES:
        for word, opposite in ((left, right), (right, left)):
            yield f"The opposite of {word} is", f" {opposite}."
            yield f"What is the opposite of {word}?", f" The opposite of {word} is {opposite}."
    for names in (DAYS, SEASONS):
        for name, following in zip(names, names[1:] + names[:1], strict=True):
            yield f"After {name} comes", f" {following}."
            yield f"What comes after {name}?", f" After {name} comes {following}."
            yield f"What comes before {following}?", f" Before {following} comes {name}."
    for thing, colour in COLOURS:
        yield f"{thing[0].upper()}{thing[1:]} is", f" {colour}."
        yield f"What colour is {thing}?", f" {thing[0].upper()}{thing[1:]} is {colour}."
    yield "Name the days.", f" The days are {_listed(DAYS)}."
    yield "Name the seasons.", f" The seasons are {_listed(SEASONS)}."
    yield "Name the animals.", f" The animals are the {_listed(tuple(a.name for a in ANIMALS))}."
    yield "Count to ten.", " 1, 2, 3, 4, 5, 6, 7, 8, 9, 10."
    hello = " Hello! Ask me about the animals, the people, the lands or a sum."
    for greeting in ("Hello", "Hello!", "Hi", "Hi!"):
        yield greeting, hello
    yield "Who are you?", " I am the demo model of HyperDex."
    yield "What can you do?", " I know the animals, the people and the lands of a small world, and I can add."


def fact_pairs() -> tuple[Pair, ...]:
    """Every taught fact in every phrasing; each prompt has exactly one continuation."""
    pairs = [pair for animal in ANIMALS for pair in _animal_pairs(animal)]
    pairs += [pair for land in LANDS for pair in _land_pairs(land)]
    pairs += [pair for person in PEOPLE for pair in _person_pairs(person)]
    return (*pairs, *_general_pairs())


def check_pairs() -> tuple[Pair, ...]:
    """Yes-or-no questions: every animal with every food and with every home, most of them false."""
    pairs: list[Pair] = []
    for animal in ANIMALS:
        for other in ANIMALS:
            answer = "Yes" if other is animal else "No"
            pairs.append(
                (f"Does the {animal.name} eat {other.food}?", f" {answer}, the {animal.name} eats {animal.food}.")
            )
            pairs.append(
                (f"Does the {animal.name} live {other.home}?", f" {answer}, the {animal.name} lives {animal.home}.")
            )
    return tuple(pairs)


def sum_pair(left: int, right: int, form: int = 0) -> Pair:
    """One sum of two numbers in 0..99, in one of the three `SUM_FORMS`."""
    total = left + right
    if form == 1:
        return f"{left}+{right}=", f"{total}."
    if form == 2:
        return f"What is {left} + {right}?", f" {left} + {right} = {total}."
    return f"{left} + {right} =", f" {total}."


SUM_FORMS = 3
