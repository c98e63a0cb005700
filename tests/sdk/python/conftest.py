"""The clients, set up as their vendors' documentation says, and a look into what the simulated provider received."""

import json
import os
import time
import urllib.request

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

URL = os.environ["BERRY_URL"]
MOCK = os.environ["MOCK_URL"]

# A valid PNG of one pixel, and a valid WAV of silence: small, but what the names say.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"

# Clients repeat failed requests by themselves. Here each failure must be seen.
NO_RETRIES = types.HttpRetryOptions(attempts=1)


def openai_client(token: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=token, max_retries=0, timeout=20)


def anthropic_client(token: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=URL, api_key=token, max_retries=0, timeout=20)


def gemini_client(token: str) -> genai.Client:
    return genai.Client(api_key=token, http_options=types.HttpOptions(base_url=URL, timeout=20_000, retry_options=NO_RETRIES))


@pytest.fixture
def token() -> str:
    return os.environ["BERRY_TOKEN"]


@pytest.fixture
def narrow_token() -> str:
    """Of a user who may use chat, claude and gemini only."""
    return os.environ["BERRY_NARROW_TOKEN"]


@pytest.fixture
def openai_api(token):
    with openai_client(token) as client:
        yield client


@pytest.fixture
def anthropic_api(token):
    with anthropic_client(token) as client:
        yield client


@pytest.fixture
def gemini_api(token):
    with gemini_client(token) as client:
        yield client


class Journal:
    """What the simulated provider received, oldest first."""

    def entries(self) -> list[dict]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{MOCK}/__journal", timeout=5) as answer:
            return json.load(answer)

    def since(self, mark: int) -> list[dict]:
        return self.entries()[mark:]

    def mark(self) -> int:
        return len(self.entries())

    def wait_for(self, mark: int, holds, seconds: float = 3.0) -> dict:
        """The first entry after `mark` of which `holds` is true; a cancelled request is noted a moment later."""
        end = time.monotonic() + seconds
        while True:
            seen = self.since(mark)
            found = next((entry for entry in seen if holds(entry)), None)
            if found is not None:
                return found
            assert time.monotonic() < end, f"no such entry in the provider's journal: {seen}"
            time.sleep(0.02)


@pytest.fixture
def journal() -> Journal:
    return Journal()
