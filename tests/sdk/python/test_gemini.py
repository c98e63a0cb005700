"""Google's own client on a Gemini backend."""

import json

import pytest
from conftest import PNG, gemini_client
from google.genai import errors, types

WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="the weather of a place",
            parameters_json_schema={"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
        )
    ]
)
EVENT = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "date": {"type": "string"}},
    "required": ["name", "date"],
}


def with_tools() -> types.GenerateContentConfig:
    return types.GenerateContentConfig(
        tools=[WEATHER], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )


def test_a_plain_answer_arrives_whole(gemini_api):
    answer = gemini_api.models.generate_content(model="gemini", contents="Say hello.")
    assert answer.text
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.total_token_count > 0


def test_the_backend_receives_its_own_model_name(gemini_api, journal):
    mark = journal.mark()
    gemini_api.models.generate_content(model="gemini", contents="Say hello.")
    assert [entry["model"] for entry in journal.since(mark)] == ["gemini-2.5-flash"]


def test_a_stream_arrives_event_by_event_and_ends_well(gemini_api):
    chunks = list(gemini_api.models.generate_content_stream(model="gemini", contents="Say hello."))
    assert "".join(chunk.text or "" for chunk in chunks)
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


def test_a_tool_call_arrives(gemini_api):
    answer = gemini_api.models.generate_content(model="gemini", contents="Weather in Kyiv?", config=with_tools())
    call = answer.function_calls[0]
    assert call.name == "get_weather"
    assert "location" in call.args


def test_a_streamed_tool_call_arrives(gemini_api):
    stream = gemini_api.models.generate_content_stream(model="gemini", contents="Weather in Kyiv?", config=with_tools())
    calls = [call for chunk in stream for call in chunk.function_calls or []]
    assert calls[0].name == "get_weather"
    assert "location" in calls[0].args


def test_an_image_in_the_prompt_is_taken(gemini_api):
    image = types.Part.from_bytes(data=PNG, mime_type="image/png")
    assert gemini_api.models.generate_content(model="gemini", contents=[image, "What is this?"]).text


def test_an_answer_follows_a_json_schema(gemini_api):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=EVENT)
    answer = gemini_api.models.generate_content(model="gemini", contents="An event.", config=config)
    assert {"name", "date"} <= set(json.loads(answer.text))


def test_tokens_are_counted(gemini_api):
    assert gemini_api.models.count_tokens(model="gemini", contents="Say hello.").total_tokens > 0


def test_embeddings_arrive_as_numbers(gemini_api):
    answer = gemini_api.models.embed_content(model="gemini-embed", contents="one")
    assert answer.embeddings[0].values


def test_the_list_of_models_is_in_geminis_shape(gemini_api, narrow_token):
    assert {"models/chat", "models/gemini"} <= {model.name for model in gemini_api.models.list()}
    with gemini_client(narrow_token) as narrow:
        assert sorted(model.name for model in narrow.models.list()) == ["models/chat", "models/claude", "models/gemini"]


def test_a_wrong_token_is_unauthenticated():
    with gemini_client("berry-no-such-token-at-all") as client, pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="gemini", contents="Say hello.")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


def test_an_unknown_model_is_not_found(gemini_api):
    with pytest.raises(errors.ClientError) as caught:
        gemini_api.models.generate_content(model="no-such-model", contents="Say hello.")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_a_model_of_another_protocol_is_refused_with_a_reason(gemini_api):
    with pytest.raises(errors.ClientError) as caught:
        gemini_api.models.generate_content(model="chat", contents="Say hello.")
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


def test_the_backends_own_bad_request_arrives_with_its_body(gemini_api, journal):
    mark = journal.mark()
    with pytest.raises(errors.ClientError) as caught:
        gemini_api.models.generate_content(model="gemini-bad-request", contents="Say hello.")
    assert caught.value.code == 400
    assert caught.value.message
    assert len(journal.since(mark)) == 1, "a client's own error is not tried again"


def test_a_rate_limit_that_nothing_could_absorb_is_resource_exhausted(gemini_api):
    with pytest.raises(errors.ClientError) as caught:
        gemini_api.models.generate_content(model="gemini-rate-limited", contents="Say hello.")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")


def test_a_failing_backend_is_not_seen_when_another_can_answer(gemini_api, journal):
    mark = journal.mark()
    assert gemini_api.models.generate_content(model="gemini-failover", contents="Say hello.").text
    assert [entry["model"] for entry in journal.since(mark)] == ["mock-500", "gemini-2.5-flash"]


def test_leaving_a_stream_cancels_it_at_the_backend(gemini_api, journal):
    mark = journal.mark()
    stream = gemini_api.models.generate_content_stream(model="gemini-long", contents="Say hello.")
    next(stream)
    stream.close()
    journal.wait_for(mark, lambda entry: entry["cancelled"])
