"""What stands behind the codes of a reference, with room for values to come.

The tables of `linker.spelling` are laid out anew for each pass, group after group. Here every group has room
behind its last value, so that the values of one record are written in microseconds and taken back again
once the record has been asked about.

    place, signature, token_starts, numbers, log_frequency   known values of a group | room | the next group
    chars                                                    of all values, as they came | room
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from linker.encode import Codes, Encoded, Encoder, Group
from linker.kernels import kernel, scratch_size, short, word
from linker.model import Model
from linker.program import Tests, Weights, compile_tests, compile_weights
from linker.spelling import LENGTH, LENGTH_BITS, Spelt, ValueTable, spell

T = TypeVar("T", bound=np.generic)

ROOM = 1 << 14  # values of a group to come, at least; a fourth of those known, if that is more
LETTERS = 16  # of a value to come


@dataclass(frozen=True)
class Mark:
    """Where everything stood, to come back to."""

    books: tuple[tuple[int, int], ...]
    runs: tuple[int, ...]
    tokens: tuple[int, ...]
    chars: int


class Roomy:
    """The values of a reference, compiled with its model.

    Attributes:
        table, tests, weights: as the kernels read them; laid out anew where the room ends.
        longest: characters of the longest value.
    """

    def __init__(self, encoder: Encoder, model: Model) -> None:
        self._encoder, self._model, self._least = encoder, model, ROOM
        self._books = [book for one in encoder.groups for book in (one.book, one.tokens) if book is not None]
        listed = {name: table.values for name, table in model.frequencies.items()}
        # The same function as for all values at once: its last bit must be the same too.
        self._frequencies = {
            name: dict(zip(values, np.log2(np.array(list(values.values()))), strict=True))
            for name, values in listed.items()
        }
        self._lay_out()

    def make_room(self) -> None:
        """Lay everything out anew with more room; no value may be there only for a while."""
        self._least *= 2
        self._lay_out()

    def _lay_out(self) -> None:
        """Arrays with room behind every group."""
        groups = self._encoder.groups
        runs = [_merged(group.runs) for group in groups]
        self._room = [len(run.place) + max(self._least, len(run.place) // 4) for run in runs]
        self._base = [0, *np.cumsum(self._room).tolist()]
        values = self._base[-1]
        token_room = [
            len(run.tokens) + max(self._least, len(run.tokens) // 4) if group.tokens is not None else 0
            for group, run in zip(groups, runs, strict=True)
        ]
        self._token_base = [0, *np.cumsum(token_room).tolist()]
        self._tokens = self._token_base[:-1]
        letters = sum(len(run.chars) for run in runs)
        self._chars, self.longest = 0, 0
        self.table = ValueTable(
            np.zeros(letters + max(LETTERS * self._least, letters // 4), np.uint32),
            np.zeros(values, np.int64),
            np.zeros(values, np.uint64),
            np.zeros(self._token_base[-1] + 1, np.int32),
            np.zeros(values + 1, np.int64),
            np.full(values, np.nan),
            0,
        )
        offsets, books = {}, {}
        for g, (group, run) in enumerate(zip(groups, runs, strict=True)):
            self.table.token_starts[self._base[g]] = self._token_base[g]
            self._write(g, 0, run)
            for name in group.names:
                offsets[name], books[name] = (self._base[g], self._room[g]), group.book
        encoded = Encoded(
            self._encoder.columns,
            self._encoder.left,
            self._encoder.left,
            self.table,
            offsets,
            books,
            self._encoder.sketches,
        )
        self.tests: Tests = compile_tests(self._model.comparisons, encoded)
        self.weights: Weights = compile_weights(self._model, encoded)
        self._first = {
            encoded.columns[self.weights.tf_column[place]]: int(self.weights.tf_shift[place])
            for place in zip(*np.nonzero(self.weights.tf_column >= 0), strict=True)
        }
        sketched = [(g, name) for g, group in enumerate(groups) for name in group.names]
        sketched = [(g, name) for g, name in sketched if name in self._encoder.sketches]
        self._sketched = np.array(
            [
                (encoded.columns.index(name), self._encoder.sketches[name], self._base[g])
                for g, name in sketched
            ],
            np.int64,
        ).reshape(-1, 3)

    # --- values ----------------------------------------------------------------------------------

    def mark(self) -> Mark:
        """Where everything stands."""
        return Mark(
            tuple(book.mark() for book in self._books),
            tuple(len(group.runs) for group in self._encoder.groups),
            tuple(self._tokens),
            self._chars,
        )

    def back(self, mark: Mark) -> None:
        """Forget the values that came after a mark."""
        sizes = [group.book.size for group in self._encoder.groups]
        for book, stood in zip(self._books, mark.books, strict=True):
            book.back(stood)
        for group, known, size in zip(self._encoder.groups, mark.runs, sizes, strict=True):
            del group.runs[known:]
            for name in group.names:
                if name in self._first and size > group.book.size:
                    first, rare = self._first[name], self._model.frequencies[name].rare
                    self.weights.log_frequency[first + group.book.size : first + size] = np.log2(rare)
        self._tokens, self._chars = list(mark.tokens), mark.chars

    def learn(self) -> bool:
        """Take in the values that the dictionaries have got since the last time.

        Returns:
            Whether there was room for them; if not, take them back, make room and add them again.
        """
        for g, group in enumerate(self._encoder.groups):
            known = sum(len(run.place) for run in group.runs)
            if group.book.size == known:
                continue
            run = spell(
                group.book, known, measured=group.measured, tokens=group.tokens, is_number=group.is_number
            )
            if not self._fits(g, known, run):
                return False
            group.runs.append(run)
            self._write(g, known, run)
            self._write_frequencies(group, known)
        return True

    def sketch(self, rows: Codes) -> None:
        """Write the signatures of all values into the rows."""
        _sketch(rows, self._sketched, self.table.signature)

    def _fits(self, g: int, known: int, run: Spelt) -> bool:
        return (
            known + len(run.place) <= self._room[g]
            and self._tokens[g] + len(run.tokens) <= self._token_base[g + 1]
            and self._chars + len(run.chars) <= len(self.table.chars)
        )

    def _write(self, g: int, known: int, run: Spelt) -> None:
        """Write a run behind the known values of its group."""
        table, count = self.table, len(run.place)
        values = slice(self._base[g] + known, self._base[g] + known + count)
        if len(run.chars):
            table.place[values] = run.place + (self._chars << LENGTH_BITS)
            table.signature[values] = run.signature
            table.chars[self._chars : self._chars + len(run.chars)] = run.chars
            self._chars += len(run.chars)
            self.longest = max(self.longest, int((run.place & LENGTH).max()))
        begin = self._tokens[g]
        table.token_starts[values.start + 1 : values.stop + 1] = begin + np.cumsum(run.counts)
        table.tokens[begin : begin + len(run.tokens)] = run.tokens
        self._tokens[g] += len(run.tokens)
        table.numbers[values] = run.numbers
        self.table = table._replace(scratch=scratch_size(self.longest))

    def _write_frequencies(self, group: Group, known: int) -> None:
        for name in group.names:
            if name in self._first:
                frequencies, first = self._frequencies[name], self._first[name]
                for code, text in enumerate(group.book.texts(known), start=known):
                    if text in frequencies:
                        self.weights.log_frequency[first + code] = frequencies[text]


def _merged(runs: list[Spelt]) -> Spelt:
    """All runs of a group as one, which takes their place."""
    if len(runs) != 1:
        begins = np.cumsum([0, *(len(run.chars) for run in runs)])
        one = Spelt(
            _all([run.chars for run in runs], np.uint32),
            _all(
                [
                    run.place + (int(begin) << LENGTH_BITS) if len(run.chars) else run.place
                    for run, begin in zip(runs, begins, strict=False)
                ],
                np.int64,
            ),
            _all([run.signature for run in runs], np.uint64),
            _all([run.tokens for run in runs], np.int32),
            _all([run.counts for run in runs], np.int64),
            _all([run.numbers for run in runs], np.float64),
        )
        runs[:] = [one]
    return runs[0]


def _all(parts: Sequence[npt.NDArray[T]], dtype: type[T]) -> npt.NDArray[T]:
    return np.concatenate([np.zeros(0, dtype), *parts])


@kernel
def _sketch(rows: Codes, sketched: npt.NDArray[np.int64], signature: npt.NDArray[np.uint64]) -> None:
    for i in range(len(sketched)):
        column, at, base = sketched[i, 0], sketched[i, 1], sketched[i, 2]
        for row in range(len(rows)):
            code = rows[row, column]
            if code >= 0:
                signed = signature[base + code]
                rows[row, at] = short(signed & word(0xFFFFFFFF))
                rows[row, at + 1] = short(signed >> word(32))
