//! Raw messages: what backends answer, what clients send, and what is in either.

/// The value of a header in a raw message.
pub fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let head = message.split("\r\n\r\n").next()?;
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A response with a content-length.
pub fn sized(status: u16, content_type: &str, extra: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{extra}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The head of a chunked stream of events.
pub fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()
}

/// One chunk.
pub fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// The end of a chunked body.
pub fn last_chunk() -> Vec<u8> {
    b"0\r\n\r\n".to_vec()
}

/// An event of a chat completion stream with this text.
pub fn delta(text: &str) -> String {
    format!(
        r#"data: {{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#
    ) + "\n\n"
}

/// The events that end a chat completion stream: finish, usage, done.
pub fn stream_end() -> String {
    concat!(
        r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        "\n\n",
        r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}"#,
        "\n\n",
        "data: [DONE]\n\n"
    )
    .to_owned()
}

/// A whole chat completion.
pub fn completion() -> &'static str {
    r#"{"id":"c1","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}"#
}

/// A chat request whose connection ends with it.
pub fn chat_request(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// A small chat.
pub const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
/// The same, as a stream.
pub const STREAM: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// The status of a raw response.
pub fn status(response: &str) -> u16 {
    response
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("{response:?}"))
}

/// The body of a raw response, taken out of its chunks.
pub fn body(response: &str) -> String {
    let Some((head, body)) = response.split_once("\r\n\r\n") else { panic!("{response:?}") };
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let mut out = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            break;
        }
        out.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").expect("the end of a chunk");
    }
    out
}

/// The body as JSON.
pub fn json(response: &str) -> serde_json::Value {
    serde_json::from_str(&body(response)).unwrap_or_else(|error| panic!("{error}: {response}"))
}

/// A line of the access log by which others can be compared: without what each has of its own, its id and times.
pub fn comparable(mut line: serde_json::Value) -> serde_json::Value {
    const OWN: [&str; 6] = [
        "start_time",
        "duration",
        "x-request-id",
        "time_to_first_token_ms",
        "time_per_output_token_ms",
        "duration_ms",
    ];
    let without = |line: &mut serde_json::Value| {
        if let Some(members) = line.as_object_mut() {
            members.retain(|name, _| !OWN.contains(&name.as_str()));
        }
    };
    without(&mut line);
    if let Some(tried) = line.get_mut("tollgate.tried") {
        tried.as_array_mut().into_iter().flatten().for_each(without);
    }
    line
}

/// A raw response by which others can be compared: its head in one order and way of writing, and `*` for what each has of its own: its id,
/// the time, and the headers in `varying`.
pub fn transcript(response: &str, varying: &[&str]) -> String {
    let Some((head, body)) = response.split_once("\r\n\r\n") else { panic!("{response:?}") };
    let (start, lines) = head.split_once("\r\n").unwrap_or((head, ""));
    let mut lines: Vec<String> = lines
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .map(|(name, value)| {
            match ["date", "x-request-id", "x-tollgate-request-id"]
                .iter()
                .chain(varying)
                .any(|own| *own == name)
            {
                true => format!("{name}: *"),
                false => format!("{name}: {value}"),
            }
        })
        .collect();
    lines.sort();
    let id = header(response, "x-request-id").unwrap_or("no id");
    format!("{start}\n{}\n\n{}", lines.join("\n"), body.replace(id, "*"))
}
