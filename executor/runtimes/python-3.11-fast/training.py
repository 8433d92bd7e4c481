"""What the interpreter is trained on: the kinds of code that short programs and their tests are made of.

The compiler lays the interpreter out for what this file does often. It is run with a count: `train(n)`.
"""

import bisect
import collections
import copy
import dataclasses
import decimal
import fractions
import functools
import heapq
import itertools
import json
import math
import operator
import random
import re
import string
import typing

WORDS = (
    "the quick brown fox jumps over a lazy dog while seven wizards quietly explain how bright vixens "
    "jump and frogs quack in the misty morning near an old stone bridge"
).split()


def is_prime(number):
    if number < 2:
        return False
    for divisor in range(2, int(number**0.5) + 1):
        if number % divisor == 0:
            return False
    return True


def integers(size):
    total = 0
    for first in range(1, size):
        for second in range(first, size):
            if (first * second + first) % 7 == 3 or second % 3 == 0 and first != second:
                total += first - second
            elif first > second // 2:
                total ^= first & second
    count = sum(1 for number in range(size * 8) if is_prime(number))
    divisors = [i for i in range(1, size * 10) if (size * 360) % i == 0]
    a, b = size * 1001, 462
    while b:
        a, b = b, a % b
    digits = 0
    number = 3**size
    while number:
        number, digit = divmod(number, 10)
        digits += digit
    return total, count, divisors, a, digits, pow(7, size, 10007), bin(size), hex(total), math.factorial(size)


def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


@functools.lru_cache(maxsize=None)
def steps(number):
    return 0 if number == 1 else 1 + steps(number // 2 if number % 2 == 0 else 3 * number + 1)


def floats(size):
    points = [(math.sin(i), math.cos(i) * 2.0) for i in range(size)]
    nearest = min(
        math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) for a, b in itertools.combinations(points[:20], 2)
    )
    low, high = 0.0, 4.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if middle**3 - 2 * middle - 5 > 0:
            high = middle
        else:
            low = middle
    mean = sum(x for x, _ in points) / len(points)
    spread = math.sqrt(sum((x - mean) ** 2 for x, _ in points) / size)
    return round(nearest, 6), round(low, 4), f"{spread:.3f}", abs(mean) < 1, str(spread), float("2.5") + int(3.7)


def strings(size):
    text = " ".join(random.choice(WORDS) for _ in range(size))
    counts = {}
    for letter in text:
        counts[letter] = counts.get(letter, 0) + 1
    words = text.split()
    capital = " ".join(word.capitalize() for word in words)
    backwards = "".join(reversed(text))
    is_palindrome = all(text[i] == text[-1 - i] for i in range(len(text) // 2))
    shifted = "".join(chr((ord(c) - 97 + 5) % 26 + 97) if c.isalpha() else c for c in text.lower())
    vowels = sum(1 for c in text if c in "aeiou")
    out = ""
    for index, word in enumerate(words):
        if index % 2 and not word.startswith("b"):
            out += word.upper().strip() + "-"
        else:
            out += word[::-1] + str(index)
    replaced = text.replace("quick", "slow").find("fox"), text.count("a"), text.index(" ")
    formatted = "%s has %d words, %5.2f" % (words[0], len(words), 1.5) + f"{size:>8}|{size:08b}" + "{}-{!r}".format(1, "x")
    matches = re.findall(r"\b[aeiou]\w*", text), re.sub(r"(\w)(\w*)", r"\2\1", text), re.split(r"\s+", text)
    depth = 0
    for symbol in "(()(()))" * (size // 8):
        depth += 1 if symbol == "(" else -1
        if depth < 0:
            break
    return counts, capital, backwards, is_palindrome, shifted, vowels, out, replaced, formatted, matches, string.digits


def lists(size):
    numbers = [random.randrange(-size, size * 3) for _ in range(size)]
    squares = [n * n for n in numbers if n % 2]
    ordered = sorted(numbers)
    by_digits = sorted(numbers, key=lambda n: (sum(int(d) for d in str(abs(n))), n), reverse=True)
    bubble = numbers[:24]
    for i in range(len(bubble)):
        for j in range(len(bubble) - 1 - i):
            if bubble[j] > bubble[j + 1]:
                bubble[j], bubble[j + 1] = bubble[j + 1], bubble[j]
    grid = [[(row * column) % 10 for column in range(12)] for row in range(12)]
    turned = [list(row) for row in zip(*grid)]
    flat = [cell for row in turned for cell in row]
    best = current = numbers[0]
    for number in numbers[1:]:
        current = max(number, current + number)
        best = max(best, current)
    sieve = [True] * (size * 4)
    for i in range(2, size * 2):
        if sieve[i]:
            for j in range(i * i, len(sieve), i):
                sieve[j] = False
    queue, seen = collections.deque([(0, 0)]), {(0, 0)}
    while queue:
        x, y = queue.popleft()
        for dx, dy in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            place = (x + dx, y + dy)
            if 0 <= place[0] < 9 and 0 <= place[1] < 9 and place not in seen and grid[place[0]][place[1]] != 5:
                seen.add(place)
                queue.append(place)
    heap = numbers[:]
    heapq.heapify(heap)
    smallest = [heapq.heappop(heap) for _ in range(min(10, size))]
    merged, left, right = [], ordered[::2], ordered[1::2]
    while left and right:
        merged.append(left.pop(0) if left[0] <= right[0] else right.pop(0))
    merged.extend(left or right)
    pairs = list(zip(numbers, ordered)) + list(enumerate(squares))
    numbers.remove(numbers[0])
    numbers.insert(3, 7)
    numbers.reverse()
    assert merged == ordered and [1, [2, (3, "x")]] == [1, [2, (3, "x")]] and numbers != ordered
    return by_digits[:3], flat, best, smallest, pairs, sum(sieve), bisect.bisect(ordered, 3), any(numbers), all(bubble)


def tables(size):
    groups = collections.defaultdict(list)
    for word in WORDS * 2:
        groups["".join(sorted(word))].append(word)
    counter = collections.Counter(letter for word in WORDS for letter in word)
    by_value = dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))
    first, second = set(range(0, size, 2)), {n for n in range(size) if n % 3 == 0}
    both = first & second, first | second, first - second, 4 in first, frozenset(second)
    distance = {}
    a, b = WORDS[1], WORDS[2]
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if not i or not j:
                distance[i, j] = i + j
            else:
                change = a[i - 1] != b[j - 1]
                distance[i, j] = min(distance[i - 1, j] + 1, distance[i, j - 1] + 1, distance[i - 1, j - 1] + change)
    table = [[0] * (size + 1) for _ in range(8)]
    for row in range(1, 8):
        for column in range(1, size + 1):
            table[row][column] = max(table[row - 1][column], table[row][column - 1] + (column % row == 0))
    inverted = {value: key for key, value in counter.items()}
    for key, value in list(by_value.items()):
        if value < 3:
            del by_value[key]
        else:
            by_value.setdefault(key.upper(), value)
    text = json.dumps({"groups": groups, "size": [size, None, True, 1.5]})
    return both, distance, table[-1][-1], inverted, json.loads(text), counter.most_common(3), by_value == copy.deepcopy(by_value)


@dataclasses.dataclass(order=True)
class Item:
    weight: int
    name: str = "item"


class Node:
    def __init__(self, value, left=None, right=None):
        self.value = value
        self.left = left
        self.right = right

    def insert(self, value):
        side = "left" if value < self.value else "right"
        child = getattr(self, side)
        if child is None:
            setattr(self, side, Node(value))
        else:
            child.insert(value)

    def __iter__(self):
        if self.left:
            yield from self.left
        yield self.value
        if self.right:
            yield from self.right


class Shape:
    sides = 0

    def area(self):
        raise NotImplementedError

    @property
    def name(self):
        return type(self).__name__

    def __repr__(self):
        return f"{self.name}({self.sides})"

    def __eq__(self, other):
        return isinstance(other, Shape) and self.sides == other.sides


class Square(Shape):
    sides = 4

    def __init__(self, length):
        super().__init__()
        self.length = length

    def area(self):
        return self.length**2


def objects(size):
    root = Node(size // 2)
    for value in random.sample(range(size * 2), size):
        root.insert(value)
    stack, account = [], {"balance": 0}
    for value in root:
        stack.append(value)
        while len(stack) > 1 and stack[-1] > stack[-2] + 2:
            stack.pop()
        account["balance"] += value

    def counter(start, *values, step=1, **options):
        nonlocal_total = [start]

        def add(amount):
            nonlocal_total[0] += amount * step
            return nonlocal_total[0]

        for value in values:
            add(value)
        return add(options.get("last", 0))

    shapes = [Square(n) for n in range(size)]
    total = sum(shape.area() for shape in shapes) + counter(1, 2, 3, step=2, last=4)
    caught = 0
    for value in ["1", "x", None, 3, [], {}]:
        try:
            caught += int(value) + [1, 2][int(value)]
        except (ValueError, TypeError) as error:
            caught += len(str(error))
        except IndexError:
            caught += 1
        finally:
            caught += 1
    items = sorted(Item(n % 5, str(n)) for n in range(size // 2))
    return total, caught, items[0], repr(shapes[:2]), Square(1) == Square(2), list(map(operator.attrgetter("weight"), items))


def generators(size):
    def primes():
        number = 2
        while True:
            if is_prime(number):
                yield number
            number += 1

    first = list(itertools.islice(primes(), size // 4))
    chunks = [first[i : i + 3] for i in range(0, len(first), 3)]
    orders = list(itertools.permutations("abcd")), list(itertools.product([0, 1], repeat=5)), list(itertools.accumulate(first))
    grouped = [(key, len(list(run))) for key, run in itertools.groupby("aaabbbccd" * 3)]
    reduced = functools.reduce(lambda a, b: a * b % 1_000_007, first, 1)
    subsets = [[x for i, x in enumerate("abcdef") if mask >> i & 1] for mask in range(64)]
    hanoi = []

    def move(count, source, target, spare):
        if count:
            move(count - 1, source, spare, target)
            hanoi.append((source, target))
            move(count - 1, spare, target, source)

    move(6, "a", "b", "c")
    return chunks, orders, grouped, reduced, subsets, hanoi, list(filter(None, map(str.strip, WORDS)))


def big_numbers(size):
    value = 1
    for number in range(1, size):
        value *= number
    half = fractions.Fraction(0)
    for number in range(1, 20):
        half += fractions.Fraction(1, number * (number + 1))
    cents = sum((decimal.Decimal("0.01") * n for n in range(20)), decimal.Decimal(0))
    return str(value), half, cents, value % 1_000_000_007, math.gcd(value, 10**9), math.isqrt(value), value.bit_length()


SOURCE = '''
from typing import List, Tuple, Optional


def solve(numbers: List[int], limit: Optional[int] = None) -> Tuple[int, ...]:
    """ Return the numbers below a limit, each once, in ascending order.
    >>> solve([3, 1, 2, 3], 3)
    (1, 2)
    """
    result = []
    for number in sorted(set(numbers)):
        if limit is not None and number >= limit:
            break
        result.append(number * 2 if number % 2 == 0 else number)
    return tuple(result[:]) or (0,)


def check(candidate):
    assert candidate([3, 1, 2, 3], 3) == (1, 4)
    assert candidate([]) == (0,), "empty"
    assert candidate([5, 4, 3, 2, 1]) == (1, 4, 3, 8, 5)
    assert candidate([-1, -2, 10], limit=5) == (-4, -1)
    assert abs(len(candidate([1.5, 2.5])) - 2.0) < 1e-6


check(solve)
'''


def sources(size):
    for number in range(size):
        exec(compile(f"{SOURCE}\nvalue = {number}\n", "<program>", "exec"), {"__name__": "solution"})


def train(rounds):
    for turn in range(rounds):
        random.seed(turn)
        size = 40 + turn % 3 * 20
        for task in (integers, floats, strings, lists, tables, objects, generators, big_numbers):
            task(size)
        fibonacci(13)
        steps.cache_clear()
        sum(steps(number) for number in range(1, size))
        sources(4)
