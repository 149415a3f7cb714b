//! What the stand-in promises to the tests that lean on it.

use serde_json::{Value, json};

use super::*;

fn ask(body: &Value) -> Ask {
    Ask::read(body, body["model"].as_str().unwrap_or_default())
}

#[test]
fn calls_a_tool_only_when_asked_and_not_after_its_result() {
    let tools = json!([{"type": "function", "function": {"name": "get_weather"}}]);
    let body = |model: &str, last: Value| json!({"model": model, "tools": tools, "messages": [last]});
    let user = json!({"role": "user", "content": "hi"});
    assert_eq!(ask(&body("m", user.clone())).calls, 0);
    assert_eq!(ask(&body("m--tools", user.clone())).calls, 2);
    assert_eq!(ask(&body("m--tools", json!({"role": "tool", "content": "18"}))).calls, 0);
    let mut forced = body("m", user);
    forced["tool_choice"] = json!("required");
    assert_eq!(ask(&forced).calls, 1);
}

#[test]
fn reads_the_same_in_every_dialect() {
    let schema = json!({"type": "object"});
    let chat = json!({
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say something."}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "required",
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
    });
    let converse = bedrock::plain(&json!({
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": "Say something."}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "f"}}, {"cachePoint": {}}], "toolChoice": {"any": {}}},
        "outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": schema.to_string()}}}},
    }));
    let gemini = gemini::plain(&json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Say something."}]}],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {"responseJsonSchema": schema},
    }));
    for body in [chat, converse, gemini] {
        let ask = Ask::read(&body, "m");
        assert_eq!(ask.text, "Say something.", "{body}");
        assert_eq!((ask.tool.as_deref(), ask.calls, ask.words), (Some("f"), 1, 4), "{body}");
        assert_eq!(ask.schema.as_ref(), Some(&schema), "{body}");
        assert!(!ask.thinks);
    }
}

#[test]
fn no_tool_is_called_after_the_results_of_a_cloud() {
    let call = json!({"toolUse": {"toolUseId": "a", "name": "f", "input": {}}});
    let result = json!({"toolResult": {"toolUseId": "a", "content": [{"text": "18"}]}});
    let converse = bedrock::plain(&json!({
        "messages": [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "f"}}]},
    }));
    let result = json!({"functionResponse": {"name": "f", "response": {}}});
    let gemini = gemini::plain(&json!({
        "contents": [{"role": "user", "parts": [result]}],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
    }));
    for body in [converse, gemini] {
        assert_eq!(Ask::read(&body, "m--tools").calls, 0, "{body}");
    }
}

#[test]
fn reads_faults() {
    assert_eq!(Fault::parse("503"), Some(Fault::Status(503)));
    assert_eq!(Fault::parse("flaky2"), Some(Fault::Flaky(2)));
    assert_eq!(Fault::parse("tools"), None);
    assert_eq!(Fault::parse("200"), None);
}

#[test]
fn examples_meet_their_schema() {
    let schema = json!({"type": "object", "properties": {
        "city": {"type": "string"}, "degrees": {"type": "number"},
        "kind": {"enum": ["a", "b"]}, "list": {"type": "array", "items": {"$ref": "#/$defs/n"}}},
        "$defs": {"n": {"type": "integer"}}});
    assert_eq!(schema::example(&schema), json!({"city": "text", "degrees": 18.5, "kind": "a", "list": [18]}));
}

#[tokio::test]
async fn notes_what_arrives_and_who_leaves() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mock = Mock::start().await.expect("a port");
    let body = json!({"model": "m--silent", "messages": []}).to_string();
    let mut client = tokio::net::TcpStream::connect(mock.address()).await.expect("a connection");
    let head = format!(
        "POST /v1/chat/completions?a=b HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).await.expect("written");
    let mut byte = [0];
    let answer = tokio::time::timeout(std::time::Duration::from_millis(100), client.read(&mut byte)).await;
    assert!(answer.is_err(), "a silent model answered");
    let [seen] = &mock.requests()[..] else { panic!("one request") };
    assert_eq!((seen.path.as_str(), seen.query.as_str()), ("/v1/chat/completions", "a=b"));
    assert!(!seen.left_early);
    drop(client);
    for _ in 0..100 {
        if mock.requests()[0].left_early {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nobody noticed that the client left");
}
