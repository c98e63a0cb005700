"""OpenAI's own client on an OpenAI backend."""

import base64
import io
import json
import time

import openai
import pytest
from conftest import PNG, WAV, openai_client
from pydantic import BaseModel

ASK = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "the weather of a place",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}


class Event(BaseModel):
    name: str
    date: str
    participants: list[str]


# === chat ===


def test_a_plain_answer_arrives_whole(openai_api):
    answer = openai_api.chat.completions.create(model="chat", messages=ASK)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_an_answer_names_the_request_and_the_backend(openai_api):
    raw = openai_api.chat.completions.with_raw_response.create(
        model="chat", messages=ASK, extra_headers={"x-request-id": "sdk-test:1"}
    )
    assert raw.headers["x-request-id"] == "sdk-test:1"
    assert raw.headers["berry-backend"] == "openai/gpt-4o-mini"
    assert raw.headers["berry-attempts"] == "1"
    assert raw.parse().choices


def test_the_backend_receives_its_own_model_name(openai_api, journal):
    mark = journal.mark()
    openai_api.chat.completions.create(model="chat", messages=ASK)
    assert [entry["model"] for entry in journal.since(mark)] == ["gpt-4o-mini"]


def test_a_stream_arrives_event_by_event_and_ends_well(openai_api):
    with openai_api.chat.completions.create(model="chat", messages=ASK, stream=True) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


def test_a_stream_gives_usage_when_it_is_asked_for(openai_api):
    stream = openai_api.chat.completions.create(
        model="chat", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    assert [chunk.usage.total_tokens for chunk in stream if chunk.usage][-1] > 0


def test_events_arrive_while_the_backend_still_writes(openai_api):
    start = time.monotonic()
    stream = openai_api.chat.completions.create(model="chat-paced", messages=ASK, stream=True)
    times = [time.monotonic() - start for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    assert len(times) > 3
    assert times[0] < times[-1] / 2, f"everything came at the end: {times}"


def test_a_tool_call_arrives(openai_api):
    answer = openai_api.chat.completions.create(model="chat", messages=ASK, tools=[WEATHER])
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"
    assert "location" in json.loads(call.function.arguments)


def test_a_streamed_tool_call_can_be_put_together(openai_api):
    with openai_api.chat.completions.stream(model="chat", messages=ASK, tools=[WEATHER]) as stream:
        answer = stream.get_final_completion()
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert "location" in json.loads(call.function.arguments)


def test_the_result_of_a_tool_is_taken(openai_api):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"location":"Kyiv"}'}}
    answer = openai_api.chat.completions.create(
        model="chat",
        messages=[
            *ASK,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        ],
    )
    assert answer.choices[0].message.content


def test_an_image_in_the_prompt_is_taken(openai_api):
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = openai_api.chat.completions.create(model="chat", messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content


def test_an_answer_follows_a_json_schema(openai_api):
    answer = openai_api.chat.completions.parse(model="chat", messages=ASK, response_format=Event)
    assert isinstance(answer.choices[0].message.parsed, Event)


# === the other OpenAI routes ===


def test_a_legacy_completion_arrives(openai_api):
    answer = openai_api.completions.create(model="chat", prompt="Say hello.")
    assert answer.choices[0].text


def test_a_response_arrives(openai_api):
    answer = openai_api.responses.create(model="chat", input="Say hello.")
    assert answer.status == "completed"
    assert answer.output_text


def test_a_streamed_response_arrives_in_order_and_completes(openai_api):
    with openai_api.responses.stream(model="chat", input="Say hello.") as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert "response.output_text.delta" in kinds
    assert kinds[-1] == "response.completed"
    assert answer.output_text


def test_embeddings_arrive_as_numbers(openai_api):
    answer = openai_api.embeddings.create(model="embed", input=["one", "two", "three"], encoding_format="float")
    assert len(answer.data) == 3
    assert all(isinstance(number, float) for row in answer.data for number in row.embedding)


def test_embeddings_in_base64_are_what_the_client_asks_for_by_itself(openai_api):
    answer = openai_api.embeddings.create(model="embed", input="one")
    assert all(isinstance(number, float) for number in answer.data[0].embedding)


def test_an_uploaded_recording_is_transcribed(openai_api, journal):
    mark = journal.mark()
    answer = openai_api.audio.transcriptions.create(model="transcribe", file=("speech.wav", io.BytesIO(WAV), "audio/wav"))
    assert answer.text
    assert journal.since(mark)[-1]["model"] == "whisper-1"


def test_an_uploaded_image_is_edited(openai_api, journal):
    mark = journal.mark()
    answer = openai_api.images.edit(model="image", image=("dot.png", io.BytesIO(PNG), "image/png"), prompt="Make it blue.")
    assert answer.data
    assert journal.since(mark)[-1]["model"] == "gpt-image-1"


# === models ===


def test_the_list_of_models_is_what_the_user_may_call(openai_api, narrow_token):
    everything = [model.id for model in openai_api.models.list()]
    assert {"chat", "claude", "gemini", "embed"} <= set(everything)
    assert everything == [model.id for model in openai_api.models.list()], "the order changes from call to call"
    with openai_client(narrow_token) as narrow:
        assert sorted(model.id for model in narrow.models.list()) == ["chat", "claude", "gemini"]


def test_one_model_can_be_looked_up(openai_api):
    assert openai_api.models.retrieve("chat").id == "chat"


# === errors ===


def test_a_wrong_token_is_an_authentication_error():
    with openai_client("berry-no-such-token-at-all") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="chat", messages=ASK)
    assert caught.value.code == "auth_missing_or_invalid"
    assert caught.value.type == "authentication_error"


def test_an_unknown_model_is_not_found(openai_api):
    with pytest.raises(openai.NotFoundError) as caught:
        openai_api.chat.completions.create(model="no-such-model", messages=ASK)
    assert caught.value.code == "model_not_found"


def test_a_model_of_others_cannot_be_used(narrow_token):
    with openai_client(narrow_token) as narrow, pytest.raises((openai.PermissionDeniedError, openai.NotFoundError)) as caught:
        narrow.embeddings.create(model="embed", input="one")
    assert caught.value.code in ("model_forbidden", "model_not_found")


def test_a_model_of_another_protocol_is_refused_with_a_reason(openai_api):
    with pytest.raises(openai.BadRequestError) as caught:
        openai_api.chat.completions.create(model="claude", messages=ASK)
    assert caught.value.code == "invalid_request"


def test_the_backends_own_bad_request_arrives_with_its_body(openai_api, journal):
    mark = journal.mark()
    with pytest.raises(openai.BadRequestError) as caught:
        openai_api.chat.completions.create(model="chat-bad-request", messages=ASK)
    assert caught.value.body["message"]
    assert len(journal.since(mark)) == 1, "a client's own error is not tried again"


def test_a_rate_limit_that_nothing_could_absorb_is_a_rate_limit_error(openai_api):
    with pytest.raises(openai.RateLimitError) as caught:
        openai_api.chat.completions.create(model="chat-rate-limited", messages=ASK)
    assert caught.value.code == "upstream_overloaded"
    assert float(caught.value.response.headers["retry-after"]) > 0


# === failover and cancellation ===


def test_a_failing_backend_is_not_seen_when_another_can_answer(openai_api, journal):
    mark = journal.mark()
    raw = openai_api.chat.completions.with_raw_response.create(model="chat-failover", messages=ASK)
    assert raw.parse().choices[0].message.content
    assert raw.headers["berry-backend"] == "openai/gpt-4o-mini"
    assert [entry["model"] for entry in journal.since(mark)] == ["mock-500", "gpt-4o-mini"]


def test_a_failing_backend_is_not_seen_in_a_stream_either(openai_api):
    stream = openai_api.chat.completions.create(model="chat-failover", messages=ASK, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_closing_a_stream_cancels_it_at_the_backend(openai_api, journal):
    mark = journal.mark()
    stream = openai_api.chat.completions.create(model="chat-long", messages=ASK, stream=True)
    next(iter(stream))
    stream.close()
    journal.wait_for(mark, lambda entry: entry["cancelled"])
