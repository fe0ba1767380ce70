"""What stands behind the codes of a reference, with room for values to come.

The tables of `linker.spelling` are laid out anew for each pass, group after group. Here every group has room
behind its last value, so that the values of one record are written in microseconds and taken back again
once the record has been asked about.

    place, token_starts, numbers, signature, log_frequency   known values of a group | room | the next group
    chars                                                    of all values, as they came | room
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from linker.codebook import Codebook
from linker.encode import Codes, Encoded, Encoder, Group
from linker.kernels import kernel, scratch_size, short, word
from linker.model import Model
from linker.program import Tests, Weights, compile_tests, compile_weights
from linker.spelling import LENGTH, LENGTH_BITS, SEPARATOR, Looks, Spelt, ValueTable, spell
from linker.views import text_cell

ROOM = 1 << 14  # values of a group to come, at least; a fourth of those known, if that is more
LETTERS = 16  # of a value to come
FEW = 32  # values that are spelt without a query


@dataclass(frozen=True)
class Mark:
    """Where everything stood, to come back to."""

    books: tuple[tuple[int, int], ...]
    known: tuple[int, ...]
    runs: tuple[int, ...]
    tokens: tuple[int, ...]
    chars: int


class Roomy:
    """The values of a reference, compiled with its model.

    Attributes:
        table, tests, weights: as the kernels read them; laid out anew where the room ends.
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
        runs = [_merged(group.runs) if group.looks else None for group in groups]
        self._known = [group.book.size for group in groups]
        self._room = [known + max(self._least, known // 4) for known in self._known]
        # A group whose values are only equal or not has no place in the tables.
        spelt = [room if run is not None else 0 for room, run in zip(self._room, runs, strict=True)]
        self._base = [0, *np.cumsum(spelt).tolist()]
        tokens = [0 if run is None else len(run.tokens) for run in runs]
        token_room = [
            many + max(self._least, many // 4) if group.tokens is not None else 0
            for group, many in zip(groups, tokens, strict=True)
        ]
        self._token_base = [0, *np.cumsum(token_room).tolist()]
        self._tokens = self._token_base[:-1]
        values = self._base[-1]
        letters = sum(len(run.chars) for run in runs if run is not None)
        self._chars, self._longest = 0, 0
        self._signature = np.zeros(values, np.uint64)
        self.table = ValueTable(
            chars=np.zeros(letters + max(LETTERS * self._least, letters // 4), np.uint32),
            place=np.zeros(values, np.int64),
            tokens=np.zeros(self._token_base[-1] + 1, np.int32),
            token_starts=np.zeros(values + 1, np.int64),
            numbers=np.full(values, np.nan),
            vectors=np.zeros(0),
            vector_starts=np.zeros(values + 1, np.int64),
            scratch=0,
        )
        offsets, books = {}, {}
        for g, (group, run) in enumerate(zip(groups, runs, strict=True)):
            if run is not None:
                self.table.token_starts[self._base[g]] = self._token_base[g]
                self._write(g, 0, run)
            for name in group.names:
                offsets[name], books[name] = (self._base[g], self._room[g]), group.book
        encoder = self._encoder
        encoded = Encoded(
            encoder.columns, encoder.left, encoder.left, self.table, offsets, books, encoder.sketches, {}
        )
        self.tests: Tests = compile_tests(self._model.comparisons, encoded)
        self.weights: Weights = compile_weights(self._model, encoded)
        self._first = {
            encoded.columns[self.weights.tf_column[place]]: int(self.weights.tf_shift[place])
            for place in zip(*np.nonzero(self.weights.tf_column >= 0), strict=True)
        }
        self._sketched = np.array(
            [
                (encoded.columns.index(name), encoder.sketches[name], self._base[g])
                for g, group in enumerate(groups)
                for name in group.names
                if name in encoder.sketches
            ],
            np.int64,
        ).reshape(-1, 3)

    # --- values ----------------------------------------------------------------------------------

    def mark(self) -> Mark:
        """Where everything stands."""
        return Mark(
            tuple([book.mark() for book in self._books]),
            tuple(self._known),
            tuple([len(group.runs) for group in self._encoder.groups]),
            tuple(self._tokens),
            self._chars,
        )

    def back(self, mark: Mark) -> None:
        """Forget the values that came after a mark."""
        for book, stood in zip(self._books, mark.books, strict=True):
            book.back(stood)
        for g, group in enumerate(self._encoder.groups):
            if self._known[g] == mark.known[g]:
                continue
            del group.runs[mark.runs[g] :]
            for name in group.names:
                if name in self._first:
                    first, rare = self._first[name], self._model.frequencies[name].rare
                    self.weights.log_frequency[first + mark.known[g] : first + self._known[g]] = np.log2(rare)
        self._known, self._tokens, self._chars = list(mark.known), list(mark.tokens), mark.chars

    def learn(self) -> bool:
        """Take in the values that the dictionaries have got since the last time.

        Returns:
            Whether there was room for them; if not, take them back, make room and add them again.
        """
        for g, group in enumerate(self._encoder.groups):
            known, size = self._known[g], group.book.size
            if size == known:
                continue
            if size > self._room[g]:
                return False
            if group.looks:
                spelt = _spell_few if size - known <= FEW else spell
                run = spelt(group.book, known, group.looks, group.tokens)
                tokens, chars = self._tokens[g] + len(run.tokens), self._chars + len(run.chars)
                if tokens > self._token_base[g + 1] or chars > len(self.table.chars):
                    return False
                group.runs.append(run)
                self._write(g, known, run)
            self._write_frequencies(group, known)
            self._known[g] = size
        return True

    def sketch(self, rows: Codes) -> None:
        """Write the signatures of all values into the rows."""
        _sketch(rows, self._sketched, self._signature)

    def _write(self, g: int, known: int, run: Spelt) -> None:
        """Write a run behind the known values of its group."""
        table, count = self.table, len(run.place)
        values = slice(self._base[g] + known, self._base[g] + known + count)
        if len(run.signature):
            table.place[values] = run.place + (self._chars << LENGTH_BITS)
            self._signature[values] = run.signature
            table.chars[self._chars : self._chars + len(run.chars)] = run.chars
            self._chars += len(run.chars)
            self._longest = max(self._longest, int((run.place & LENGTH).max()))
        if len(run.counts):
            begin = self._tokens[g]
            table.token_starts[values.start + 1 : values.stop + 1] = begin + np.cumsum(run.counts)
            table.tokens[begin : begin + len(run.tokens)] = run.tokens
            self._tokens[g] += len(run.tokens)
        if len(run.numbers):
            table.numbers[values] = run.numbers
        self.table = table._replace(scratch=scratch_size(self._longest))

    def _write_frequencies(self, group: Group, known: int) -> None:
        adjusted = [name for name in group.names if name in self._first]
        if not adjusted:
            return
        book = group.book
        texts = book.few_texts(known) if book.size - known <= FEW else book.texts(known).to_list()
        for name in adjusted:
            frequencies, first = self._frequencies[name], self._first[name]
            for code, text in enumerate(texts, start=known):
                if text in frequencies:
                    self.weights.log_frequency[first + code] = frequencies[text]


def _spell_few(book: Codebook, first: int, looks: Looks, tokens: Codebook | None) -> Spelt:
    """As `spelling.spell` for values that are few: without a query, which takes longer than they do."""
    run = spell(book, first, replace(looks, counted=False, subtracted=False), None)
    if not (looks.counted or looks.subtracted):
        return run
    texts, counts, ids, numbers = book.few_texts(first), run.counts, run.tokens, run.numbers
    if looks.counted:
        listed = [_ids(text, tokens) if tokens is not None else [] for text in texts]
        counts = np.array([len(some) for some in listed], np.int64)
        ids = np.array([one for some in listed for one in some], np.int32)
    if looks.subtracted:
        numbers = np.array([float(text) if looks.numeric else np.nan for text in texts])
    return replace(run, counts=counts, tokens=ids, numbers=numbers)


def _ids(text: str, tokens: Codebook) -> list[int]:
    """Ids of the tokens of a list, ascending."""
    code, ids = np.empty((1, 1), np.int32), []
    for token in text.split(SEPARATOR):
        tokens.add(text_cell(token), code, 0)
        ids.append(int(code[0, 0]))
    return sorted(ids)


def _merged(runs: list[Spelt]) -> Spelt:
    """All runs of a group as one, which takes their place."""
    if len(runs) > 1:
        begins = np.cumsum([0, *(len(run.chars) for run in runs)]).tolist()
        places = [run.place + (begin << LENGTH_BITS) for run, begin in zip(runs, begins, strict=False)]
        runs[:] = [
            Spelt(
                np.concatenate([run.chars for run in runs]),
                np.concatenate(places),
                np.concatenate([run.signature for run in runs]),
                np.concatenate([run.tokens for run in runs]),
                np.concatenate([run.counts for run in runs]),
                np.concatenate([run.numbers for run in runs]),
                np.concatenate([run.vectors for run in runs]),
                np.concatenate([run.sizes for run in runs]),
            )
        ]
    return runs[0]


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
