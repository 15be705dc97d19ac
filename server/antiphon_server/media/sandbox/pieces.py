"""Answers to the questions of a worker: the size that frames get, and that each piece has been taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from antiphon_server.media.sandbox.job import (
    SAMPLE_BYTES,
    TAKEN,
    AudioJob,
    ChooseSize,
    Dimensions,
    Piece,
    Size,
    VideoJob,
    decode_dimensions,
    decode_piece,
    encode_message,
    longest_decoding_s,
    longest_video_decoding_s,
)

_QUESTION_BYTES = 1024
TakePiece = Callable[[bytes], Awaitable[None]]


async def receive(questions: socket.socket) -> bytes:
    """The next message; empty from a worker that has ended, which is noticed by its exit code."""
    try:
        return await asyncio.get_running_loop().sock_recv(questions, _QUESTION_BYTES)
    except ConnectionError:
        return b""


async def answer_question(
    questions: socket.socket, choose_size: ChooseSize
) -> tuple[Dimensions, Size] | None:
    """Answers one question. A worker that sends an invalid one gets no answer and is killed later."""
    dimensions = decode_dimensions(await receive(questions))
    if dimensions is None:
        return None
    size = choose_size(dimensions)
    # A worker that has ended in the meantime is noticed by its exit code.
    with contextlib.suppress(ConnectionError):
        await asyncio.get_running_loop().sock_sendall(questions, encode_message(size))
    return dimensions, size


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of `job` that a worker announces on `questions`, each in `output`."""

    questions: socket.socket
    output: int
    job: AudioJob
    take_piece: TakePiece

    async def take_all(self, deadline: asyncio.Timeout) -> None:
        """Postpones the deadline with each piece, by what its samples may take and by the server's own time.

        Returns at an invalid announcement: a worker that sends one gets no answer and is killed later.
        """
        left, most = self.job.max_samples, self.job.piece_samples or 0
        while True:
            piece = decode_piece(await receive(self.questions))
            if piece is None or piece.frames or piece.samples > min(most, left):
                return
            allowed_s = longest_decoding_s(piece.samples)
            size_bytes = piece.samples * SAMPLE_BYTES
            if not await hand_over(
                self.questions, self.output, size_bytes, self.take_piece, deadline, allowed_s
            ):
                return
            left -= piece.samples


@dataclass(frozen=True, slots=True)
class VideoPieces:
    """As `Pieces`, after the question for the size: pieces of frames and of sound, in any order."""

    questions: socket.socket
    output: int
    job: VideoJob
    choose_size: ChooseSize
    take_frames: TakePiece
    take_samples: TakePiece

    async def take_all(self, deadline: asyncio.Timeout) -> None:
        answered = await answer_question(self.questions, self.choose_size)
        if answered is None:
            return
        found, size = answered
        frames, samples = found.frames, found.samples
        while True:
            piece = decode_piece(await receive(self.questions))
            if piece is None or piece.frames > frames or piece.samples > samples:
                return
            size_bytes = self._bytes_of(piece, size)
            if size_bytes is None:
                return
            take = self.take_frames if piece.frames else self.take_samples
            allowed_s = longest_video_decoding_s(self.job, piece.frames / found.frames)
            if not await hand_over(self.questions, self.output, size_bytes, take, deadline, allowed_s):
                return
            frames, samples = frames - piece.frames, samples - piece.samples

    def _bytes_of(self, piece: Piece, size: Size) -> int | None:
        """None for a piece that is larger than the job allows."""
        frame_bytes = size.height * size.width * 3
        if piece.frames * frame_bytes > max(self.job.piece_bytes, frame_bytes):
            return None
        if piece.samples > self.job.piece_samples:
            return None
        return piece.frames * frame_bytes + piece.samples * SAMPLE_BYTES


async def hand_over(
    questions: socket.socket,
    output: int,
    size_bytes: int,
    take_piece: TakePiece,
    deadline: asyncio.Timeout,
    allowed_s: float,
) -> bool:
    """Passes a copy of the output on and tells the worker. False if the output does not hold the piece.

    `allowed_s`: the seconds that the worker may have taken for it.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    data = os.pread(output, size_bytes, 0)
    if len(data) != size_bytes:
        return False
    await take_piece(data)
    spent_s = loop.time() - began_s
    deadline.reschedule((deadline.when() or began_s) + spent_s + allowed_s)
    with contextlib.suppress(ConnectionError):
        await loop.sock_sendall(questions, TAKEN)
    return True
