import socket

import pytest


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def unused_port():
    return _free_port()


@pytest.fixture
def two_ports():
    return [_free_port(), _free_port()]
