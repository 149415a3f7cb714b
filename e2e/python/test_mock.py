"""The mock server is what it stands for: the clouds' own packages are content with it."""

import json

import anthropic
import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import EventStreamError

from backends import CALLS, FAULT, READ, SAID, SAYS

KEYS = {"aws_access_key_id": "KEYID", "aws_secret_access_key": "secret"}
ASKED = [{"role": "user", "content": [{"text": "Say something."}]}]
TOOLS = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": {"type": "object"}}}}]}


def aws(mock, service):
    return boto3.client(
        service,
        endpoint_url=f"http://{mock.address}",
        region_name="eu-west-1",
        config=Config(retries={"total_max_attempts": 1}),
        **KEYS,
    )


@pytest.fixture
def bedrock(mock):
    return aws(mock, "bedrock-runtime")


def test_converse(bedrock):
    answer = bedrock.converse(modelId="m", messages=ASKED)
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": SAID}]}
    assert answer["stopReason"] == "end_turn"
    assert (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]) == (READ, SAYS)


def test_converse_stream(bedrock):
    events = list(bedrock.converse_stream(modelId="m", messages=ASKED)["stream"])
    deltas = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert "".join(deltas) == SAID
    assert events[0] == {"messageStart": {"role": "assistant"}}
    assert events[-1]["metadata"]["usage"]["outputTokens"] == SAYS


def test_converse_tools(bedrock):
    answer = bedrock.converse(modelId="m--tools", messages=ASKED, toolConfig=TOOLS)
    used = [block["toolUse"] for block in answer["output"]["message"]["content"]]
    assert [(use["toolUseId"], use["input"]) for use in used] == CALLS
    events = list(bedrock.converse_stream(modelId="m--tools", messages=ASKED, toolConfig=TOOLS)["stream"])
    inputs = {}
    for event in events:
        if "contentBlockDelta" in event:
            delta = event["contentBlockDelta"]
            index = delta["contentBlockIndex"]
            inputs[index] = inputs.get(index, "") + delta["delta"]["toolUse"]["input"]
    assert [json.loads(text) for text in inputs.values()] == [arguments for _, arguments in CALLS]


def test_converse_errors(bedrock):
    with pytest.raises(bedrock.exceptions.ThrottlingException) as caught:
        bedrock.converse(modelId="m--429", messages=ASKED)
    assert caught.value.response["Error"]["Message"] == FAULT.format(429)
    with pytest.raises(bedrock.exceptions.ValidationException):
        bedrock.converse(modelId="m", messages=[{"role": "assistant", "content": [{"text": "Hm."}]}])
    with pytest.raises(EventStreamError):
        list(bedrock.converse_stream(modelId="m--error", messages=ASKED)["stream"])


def test_count_tokens(bedrock):
    assert bedrock.count_tokens(modelId="m", input={"converse": {"messages": ASKED}})["inputTokens"] == READ


def test_bedrock_asks_who_it_is(mock):
    url = f"http://{mock.address}/model/m/converse"
    answer = httpx.post(url, json={"messages": ASKED})
    assert answer.status_code == 403
    assert answer.headers["x-amzn-errortype"].startswith("MissingAuthenticationTokenException")
    assert httpx.post(url, json={"messages": ASKED}, headers={"authorization": "Bearer key"}).status_code == 200
    elsewhere = AWSRequest("POST", url, data=b"{}")
    SigV4Auth(Credentials("KEYID", "secret"), "sagemaker", "eu-west-1").add_auth(elsewhere)
    answer = httpx.post(url, content=b"{}", headers=dict(elsewhere.headers))
    assert answer.status_code == 403
    assert answer.headers["x-amzn-errortype"].startswith("InvalidSignatureException")
    refused = httpx.post(url, json={"messages": ASKED, "max_tokens": 5}, headers={"authorization": "Bearer key"})
    assert refused.status_code == 400
    assert "max_tokens" in refused.json()["message"]


def test_sagemaker(mock):
    client = aws(mock, "sagemaker-runtime")
    body = {"messages": [{"role": "user", "content": "Say something."}]}
    answer = client.invoke_endpoint(EndpointName="e", Body=json.dumps(body))
    assert json.load(answer["Body"])["choices"][0]["message"]["content"] == SAID
    stream = client.invoke_endpoint_with_response_stream(EndpointName="e", Body=json.dumps({**body, "stream": True}))
    parts = [event["PayloadPart"]["Bytes"] for event in stream["Body"]]
    assert not any(part.endswith(b"\n\n") for part in parts[:-1])
    assert b"".join(parts).endswith(b"data: [DONE]\n\n")
    with pytest.raises(client.exceptions.ValidationError) as caught:
        client.invoke_endpoint(EndpointName="e--400", Body=json.dumps(body))
    assert caught.value.response["Message"] == FAULT.format(400)


CLAUDES = {
    "bedrock": lambda url: anthropic.AnthropicBedrock(
        base_url=url, aws_region="eu-west-1", aws_access_key="KEYID", aws_secret_key="secret", max_retries=0
    ),
    "vertex": lambda url: anthropic.AnthropicVertex(
        base_url=f"{url}/v1", region="europe-west1", project_id="p", access_token="token", max_retries=0
    ),
}


@pytest.mark.parametrize("client", CLAUDES)
def test_claude(mock, client):
    client = CLAUDES[client](f"http://{mock.address}")
    asked = {"max_tokens": 50, "messages": [{"role": "user", "content": "Say something."}]}
    message = client.messages.create(model="claude", **asked)
    assert message.content[0].text == SAID
    with client.messages.stream(model="claude", **asked) as stream:
        final = stream.get_final_message()
    assert [block.text for block in final.content] == [SAID]
    assert final.usage.output_tokens == SAYS
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(model="claude--429", **asked)
