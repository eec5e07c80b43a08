#![no_main]
//! Bytes as a request: what is accepted has a canonical form that reads back to the same request.

use callgate_core::json::Limits;
use callgate_core::request::Request;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = Request::parse(bytes, &Limits::REQUEST) else { return };
    let canonical = request.canonical();
    assert_eq!(Request::parse(canonical.as_bytes(), &Limits::REQUEST).as_ref(), Ok(&request));
});
