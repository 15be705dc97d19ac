"""Audio leaves a decoder in pieces: its output holds one, and the next follows when it has been read."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from antiphon_server.errors import Overloaded
from antiphon_server.media.sandbox import pieces, pool
from antiphon_server.media.sandbox.job import Dimensions, Piece, Size, VideoJob, decode_size, encode_message
from antiphon_server.media.sandbox.memory_file import memory_file
from antiphon_server.media.sandbox.pieces import VideoPieces
from antiphon_server.media.sandbox.pool import Sandbox
from tests.server.media.test_sandbox import hasty, running_decoders, sandbox, short_job  # noqa: F401

PIECE_SAMPLES = 4_000


async def test_audio_comes_in_pieces_of_which_the_output_holds_one(sandbox: Sandbox) -> None:  # noqa: F811
    """Given a file longer than the output may grow, then each piece is taken before the next is there."""
    whole = (await sandbox.run_job(*short_job())).output
    pieces: list[bytes] = []

    async def take(data: bytes) -> None:
        pieces.append(data)

    (job, data), most = short_job(output_bytes=4 * PIECE_SAMPLES), 4 * PIECE_SAMPLES
    outcome = await sandbox.run_job(replace(job, piece_samples=PIECE_SAMPLES), data, take_piece=take)
    assert outcome.succeeded
    assert [len(piece) for piece in pieces[:-1]] == [most] * (len(pieces) - 1)
    assert len(pieces) > 2
    assert b"".join(pieces) == bytes(whole)
    assert len(outcome.output) == most


async def test_a_job_with_pieces_ends_with_the_error_of_the_one_who_takes_them(sandbox: Sandbox) -> None:  # noqa: F811
    async def refuse(_data: bytes) -> None:
        raise Overloaded("no room")

    job, data = short_job(output_bytes=4 * PIECE_SAMPLES)
    with pytest.raises(Overloaded, match="no room"):
        await sandbox.run_job(replace(job, piece_samples=PIECE_SAMPLES), data, take_piece=refuse)
    assert not running_decoders()


async def test_pieces_that_are_not_taken_keep_a_decoder_only_to_its_deadline(hasty: Sandbox) -> None:  # noqa: F811
    job, data = short_job(output_bytes=4 * PIECE_SAMPLES)
    assert (await hasty.run_job(replace(job, piece_samples=PIECE_SAMPLES), data)).timed_out
    assert not running_decoders()


@pytest.mark.parametrize("samples", [PIECE_SAMPLES + 1, 0])
async def test_an_announcement_of_more_than_a_piece_or_of_nothing_gets_no_answer(samples: int) -> None:
    async def take(_data: bytes) -> None:
        raise AssertionError

    job = replace(short_job()[0], piece_samples=PIECE_SAMPLES)
    ours, theirs = pool._question_sockets()
    with ours, theirs, memory_file() as output:
        os.truncate(output, 8 * PIECE_SAMPLES)
        theirs.send(encode_message(Piece(samples)))
        await asyncio.wait_for(pieces.Pieces(ours, output, job, take).take_all(asyncio.timeout(60)), 60)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


async def test_a_decoder_that_is_killed_before_it_reads_an_answer_is_no_fault_of_the_server() -> None:
    ours, theirs = pool._question_sockets()
    ours.send(b"an answer")
    theirs.close()
    with ours:
        assert await pieces.receive(ours) == b""


FILM = VideoJob("mov", ("h264",), True, 60.0, 100, 2.0, 1, 9, None, 4_096, 190.0, 1 << 20, 100, 2 * 12 * 3)


@pytest.mark.parametrize(
    "piece",
    [Piece(frames=3), Piece(frames=6), Piece(samples=101), Piece(samples=100, frames=1), Piece()],
    ids=["more than a piece", "more than there are", "more samples", "both", "nothing"],
)
async def test_an_announcement_of_frames_beyond_the_job_gets_no_answer(piece: Piece) -> None:
    async def take(_data: bytes) -> None:
        raise AssertionError

    ours, theirs = pool._question_sockets()
    with ours, theirs, memory_file() as output:
        os.truncate(output, 1 << 16)
        theirs.send(encode_message(Dimensions(5, 30, 40, 150)))
        theirs.send(encode_message(piece))
        answers = VideoPieces(ours, output, FILM, lambda _: Size(3, 4), take, take)
        await asyncio.wait_for(answers.take_all(asyncio.timeout(60)), 60)
        assert decode_size(theirs.recv(1024)) == Size(3, 4)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


async def test_frames_and_sound_are_taken_up_to_what_was_announced() -> None:
    taken: list[tuple[str, int]] = []

    async def take_frames(data: bytes) -> None:
        taken.append(("frames", len(data)))

    async def take_samples(data: bytes) -> None:
        taken.append(("samples", len(data)))

    ours, theirs = pool._question_sockets()
    with ours, theirs, memory_file() as output:
        os.truncate(output, 1 << 16)
        theirs.send(encode_message(Dimensions(3, 30, 40, 150)))
        for piece in (Piece(frames=2), Piece(samples=100), Piece(frames=1), Piece(samples=51)):
            theirs.send(encode_message(piece))
        answers = VideoPieces(ours, output, FILM, lambda _: Size(3, 4), take_frames, take_samples)
        async with asyncio.timeout(60) as deadline:
            before_s = deadline.when()
            await answers.take_all(deadline)
            assert deadline.when() > before_s + 60 / 4
    assert taken == [("frames", 72), ("samples", 400), ("frames", 36)]
