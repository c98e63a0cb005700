"""Anthropic's own client on an Anthropic backend."""

import base64

import anthropic
import pytest
from conftest import PNG, anthropic_client

ASK = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "name": "get_weather",
    "description": "the weather of a place",
    "input_schema": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
THINKING = {"type": "enabled", "budget_tokens": 1024}


def text_of(message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_plain_message_arrives_whole(anthropic_api):
    message = anthropic_api.messages.create(model="claude", max_tokens=64, messages=ASK)
    assert text_of(message)
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0


def test_an_answer_names_the_request_and_the_backend(anthropic_api):
    raw = anthropic_api.messages.with_raw_response.create(model="claude", max_tokens=64, messages=ASK)
    assert raw.headers["request-id"] == raw.headers["x-request-id"]
    assert raw.headers["berry-backend"] == "anthropic/claude-sonnet-4-5"


def test_a_stream_arrives_event_by_event_and_ends_well(anthropic_api):
    with anthropic_api.messages.create(model="claude", max_tokens=64, messages=ASK, stream=True) as stream:
        kinds = [event.type for event in stream]
    assert kinds[0] == "message_start"
    assert "content_block_delta" in kinds
    assert kinds[-1] == "message_stop"


def test_the_clients_own_stream_helper_puts_the_message_together(anthropic_api):
    with anthropic_api.messages.stream(model="claude", max_tokens=64, messages=ASK) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text
    assert text == text_of(message)


def test_thinking_arrives_before_the_text(anthropic_api):
    message = anthropic_api.messages.create(model="claude", max_tokens=2048, messages=ASK, thinking=THINKING)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].signature


def test_streamed_thinking_keeps_its_signature(anthropic_api):
    with anthropic_api.messages.stream(model="claude", max_tokens=2048, messages=ASK, thinking=THINKING) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].signature


def test_a_tool_call_arrives(anthropic_api):
    message = anthropic_api.messages.create(model="claude", max_tokens=64, messages=ASK, tools=[WEATHER])
    call = next(block for block in message.content if block.type == "tool_use")
    assert message.stop_reason == "tool_use"
    assert call.name == "get_weather"
    assert "location" in call.input


def test_a_streamed_tool_call_can_be_put_together(anthropic_api):
    with anthropic_api.messages.stream(model="claude", max_tokens=64, messages=ASK, tools=[WEATHER]) as stream:
        message = stream.get_final_message()
    call = next(block for block in message.content if block.type == "tool_use")
    assert call.name == "get_weather"
    assert "location" in call.input


def test_an_image_in_the_prompt_is_taken(anthropic_api):
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    message = anthropic_api.messages.create(model="claude", max_tokens=64, messages=[{"role": "user", "content": content}])
    assert text_of(message)


def test_tokens_are_counted(anthropic_api):
    assert anthropic_api.messages.count_tokens(model="claude", messages=ASK).input_tokens > 0


def test_the_list_of_models_is_in_anthropics_shape(anthropic_api, narrow_token):
    models = list(anthropic_api.models.list())
    assert {"chat", "claude"} <= {model.id for model in models}
    assert all(model.type == "model" and model.display_name and model.created_at for model in models)
    with anthropic_client(narrow_token) as narrow:
        assert sorted(model.id for model in narrow.models.list()) == ["chat", "claude", "gemini"]


def test_a_wrong_token_is_an_authentication_error():
    with anthropic_client("berry-no-such-token-at-all") as client, pytest.raises(anthropic.AuthenticationError) as caught:
        client.messages.create(model="claude", max_tokens=64, messages=ASK)
    assert caught.value.body["error"]["type"] == "authentication_error"
    assert caught.value.body["request_id"]


def test_an_unknown_model_is_not_found(anthropic_api):
    with pytest.raises(anthropic.NotFoundError) as caught:
        anthropic_api.messages.create(model="no-such-model", max_tokens=64, messages=ASK)
    assert caught.value.body["error"]["type"] == "not_found_error"


def test_a_model_of_another_protocol_is_refused_with_a_reason(anthropic_api):
    with pytest.raises(anthropic.BadRequestError) as caught:
        anthropic_api.messages.create(model="chat", max_tokens=64, messages=ASK)
    assert caught.value.body["error"]["type"] == "invalid_request_error"


def test_the_backends_own_bad_request_arrives_with_its_body(anthropic_api, journal):
    mark = journal.mark()
    with pytest.raises(anthropic.BadRequestError) as caught:
        anthropic_api.messages.create(model="claude-bad-request", max_tokens=64, messages=ASK)
    assert caught.value.body["error"]["message"]
    assert len(journal.since(mark)) == 1, "a client's own error is not tried again"


def test_a_rate_limit_that_nothing_could_absorb_is_a_rate_limit_error(anthropic_api):
    with pytest.raises(anthropic.RateLimitError) as caught:
        anthropic_api.messages.create(model="claude-rate-limited", max_tokens=64, messages=ASK)
    assert caught.value.body["error"]["type"] == "rate_limit_error"
    assert float(caught.value.response.headers["retry-after"]) > 0


def test_a_failing_backend_is_not_seen_when_another_can_answer(anthropic_api, journal):
    mark = journal.mark()
    message = anthropic_api.messages.create(model="claude-failover", max_tokens=64, messages=ASK)
    assert text_of(message)
    assert [entry["model"] for entry in journal.since(mark)] == ["mock-500", "claude-sonnet-4-5"]


def test_closing_a_stream_cancels_it_at_the_backend(anthropic_api, journal):
    mark = journal.mark()
    stream = anthropic_api.messages.create(model="claude-long", max_tokens=64, messages=ASK, stream=True)
    for event in stream:
        if event.type == "content_block_delta":
            break
    stream.close()
    journal.wait_for(mark, lambda entry: entry["cancelled"])
