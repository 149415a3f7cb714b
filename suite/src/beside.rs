//! A stream that goes on while others come, fail and go.

use std::io::Write;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::message::{body, chunk, delta, last_chunk, status, stream_end, stream_head};
use crate::{Act, ScriptedBackend, Tested, read_to_end};

/// How long it takes.
const LENGTH: Duration = Duration::from_secs(1);

/// The stream, and who reads it.
#[must_use]
pub struct Beside(JoinHandle<String>);

impl Beside {
    /// What its backend does: the script of the first request.
    pub fn script() -> Vec<Act> {
        let rest = [Act::Pause(LENGTH), Act::Write(chunk(&stream_end())), Act::Write(last_chunk())];
        [&[Act::Write(stream_head()), Act::Write(chunk(&delta("beside")))][..], &rest].concat()
    }

    /// Sends the request of the stream, which comes to `backend` before this returns.
    pub fn start(tested: &Tested, backend: &ScriptedBackend, request: &str) -> Self {
        let mut client = tested.connect();
        client.write_all(request.as_bytes()).expect("a request sent");
        backend.request();
        Self(std::thread::spawn(move || read_to_end(&mut client)))
    }

    /// Waits for its end, which is that of a stream that nothing has happened to.
    pub fn is_whole(self) {
        let response = self.0.join().expect("a stream");
        let stream = body(&response);
        assert_eq!(status(&response), 200, "{response}");
        assert!(stream.starts_with(&delta("beside")) && stream.ends_with("data: [DONE]\n\n"), "{response}");
        assert!(response.ends_with("0\r\n\r\n"), "{response}");
    }
}
