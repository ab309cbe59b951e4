"""A language model over a vocabulary of 1,000 tokens on Tiny Shakespeare: rows, teacher and student.

A row is a position of the text: its features are the tokens before it, its label is the token that stands there. So
next-token prediction is a classification with 1,000 classes, and every part of this project takes it as it is.

Shape legend, this file:  N rows, B rows of a batch, L tokens of a stretch or context, D width, C classes.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from limbeck.data import TensorSet
from limbeck.data.order import private_generator
from limbeck.files import read_tensors, write_tensors
from limbeck.types import Columns

CLASSES = 1000
CONTEXT = 32
"""Tokens that a row holds, and that the teacher reads."""
STUDENT_CONTEXT = 8
"""The last of them, which the student reads."""
STRETCH = 64
"""Tokens of the stretches that the teacher is trained on, each of them predicted from those before it."""
SPLITS = ("train", "validation", "test")


def read_streams(data: Path, work: Path) -> dict[str, Tensor]:
    """Each split as one stream of tokens, {split: (L,) int64}; the vocabulary is learnt on the training text."""
    kept = work / "tokens.safetensors"
    if not kept.is_file():
        work.mkdir(parents=True, exist_ok=True)
        write_tensors(kept, _tokenized({split: _text(data, split) for split in SPLITS}))
    return read_tensors(kept)


def _text(data: Path, split: str) -> str:
    from pyarrow import parquet

    (path,) = sorted((data / "data").glob(f"{split}-*.parquet"))
    (text,) = parquet.read_table(path)["text"].to_pylist()
    return text


def _tokenized(texts: dict[str, str]) -> dict[str, Tensor]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    # Byte-level with the bytes that occur as its alphabet: a whole alphabet would leave 191 classes that never come.
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator([texts["train"]], trainers.BpeTrainer(vocab_size=CLASSES, show_progress=False))
    return {split: torch.tensor(tokenizer.encode(text).ids) for split, text in texts.items()}


def rows_of(stream: Tensor, positions: Tensor | None = None) -> TensorSet:
    """Rows of a stream: all that have a whole context, or those at the given positions.  Ids are positions."""
    ids = torch.arange(CONTEXT, len(stream)) if positions is None else positions
    contexts = stream.unfold(0, CONTEXT, 1)[ids - CONTEXT]  # (N, L)
    return TensorSet(contexts, labels=stream[ids], ids=ids, classes=[str(token) for token in range(CLASSES)])


def sampled_positions(stream: Tensor, count: int, seed: int) -> Tensor:
    """Some of the positions that have a whole context, ascending.  -> (count,) int64."""
    drawn = torch.randperm(len(stream) - CONTEXT, generator=private_generator(seed, "rows"))[:count]
    return drawn.sort().values + CONTEXT


@final
class Recurrent(nn.Module):
    """The teacher's architecture: a gated recurrent unit between tied embeddings (Press & Wolf 2017)."""

    def __init__(self, width: int = 256, dropout: float = 0.4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, width)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.bias = nn.Parameter(torch.zeros(CLASSES))
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def at_each(self, tokens_BL: Tensor) -> Tensor:
        """Logits of the token after each one.  (B, L) -> (B, L, C)."""
        return self._out(self._states(tokens_BL))

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Logits of the token after the last.  (B, L) -> (B, C)."""
        return self._out(self._states(tokens_BL)[:, -1])

    def _states(self, tokens_BL: Tensor) -> Tensor:
        scale = self.embedding.embedding_dim**0.5
        states, _ = self.recurrent(self.dropout(scale * self.embedding(tokens_BL)))
        return self.dropout(states)

    def _out(self, states: Tensor) -> Tensor:
        return states @ self.embedding.weight.T + self.bias


def student_network(*, width: int = 32, hidden: int = 128, dropout: float = 0.0) -> nn.Module:
    """A feed-forward language model (Bengio et al. 2003) of the last few tokens."""
    return nn.Sequential(
        nn.Embedding(CLASSES, width),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(STUDENT_CONTEXT * width, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, CLASSES),
    )


def last_tokens(columns: Columns) -> Tensor:
    """The student's `prepare`: the end of each context."""
    return columns["features"][:, -STUDENT_CONTEXT:]


def train_member(
    stream: Tensor,
    seed: int,
    *,
    epochs: int = 8,
    rate: float = 3e-3,
    batch: int = 32,
    say: Callable[[str], None] = print,
) -> Recurrent:
    """Train one member of the teacher on all tokens of a stream; `rate` is reached after a tenth of the steps."""
    torch.manual_seed(seed)
    member = Recurrent()
    steps_per_epoch = len(stream) // (STRETCH * batch)
    optimizer = torch.optim.AdamW(member.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps_per_epoch, pct_start=0.1)
    for epoch in range(epochs):
        total = 0.0
        for stretches in _stretches(stream, batch, private_generator(seed, "stretches", epoch)):
            loss = cross_entropy(member.at_each(stretches[:, :-1]).flatten(0, 1), stretches[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(member.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        say(f"member {seed}, epoch {epoch + 1}: training loss {total / steps_per_epoch:.4f}")
    return member.eval()


def _stretches(stream: Tensor, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Cut the stream, from another first token each epoch, and shuffle the pieces: batches (B, L + 1)."""
    start = int(torch.randint(STRETCH, (), generator=generator))
    pieces = stream[start:].unfold(0, STRETCH + 1, STRETCH)
    order = torch.randperm(len(pieces), generator=generator)
    whole = len(stream) // (STRETCH * batch) * batch
    for chosen in order[:whole].split(batch):
        if len(chosen) == batch:
            yield pieces[chosen]


@torch.no_grad()
def answers(module: nn.Module, inputs: Tensor, batch: int = 512) -> Tensor:
    """Logits on all rows.  (N, L) -> (N, C)."""
    return torch.cat([module(part) for part in inputs.split(batch)])


def mean_nll(logits: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy with the labels, in nats a token."""
    return float(cross_entropy(logits.double(), labels)) if len(labels) else math.nan
