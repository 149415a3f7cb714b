//! Wire languages, one folder each: requests, answers, streams, errors and usage.
