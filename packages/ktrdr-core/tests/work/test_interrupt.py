"""Ctrl+C once is a request, twice an end; afterwards signals do what they did before."""

from __future__ import annotations

import signal
import threading

import pytest

from ktrdr.core.work.interrupt import cancel_on_interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_asks_and_the_second_interrupts(number, capsys):
    before = signal.getsignal(number)
    with cancel_on_interrupt() as cancellation:
        assert not cancellation.requested
        signal.raise_signal(number)
        assert cancellation.requested
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and thread.daemon:
                thread.join(5)
        assert capsys.readouterr().err == "Stopping; press Ctrl+C again to stop at once.\n"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_handlers_come_back_after_a_failure_too():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="broken"), cancel_on_interrupt():
        raise RuntimeError("broken")
    assert signal.getsignal(signal.SIGINT) is before


def test_only_the_signals_that_are_named_are_taken_over():
    before = signal.getsignal(signal.SIGTERM)
    with cancel_on_interrupt([signal.SIGINT]):
        assert signal.getsignal(signal.SIGTERM) is before
        assert signal.getsignal(signal.SIGINT) is not before


def test_another_thread_than_the_main_one_gets_a_cancellation_without_signals():
    before = signal.getsignal(signal.SIGINT)
    found = []

    def work() -> None:
        with cancel_on_interrupt() as cancellation:
            found.append((cancellation.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, before)]
