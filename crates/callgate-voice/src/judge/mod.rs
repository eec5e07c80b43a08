//! The judge's voice: a question to an OpenAI-compatible endpoint, and its answer as data.
//!
//! What a question says is made by policy, and what an answer means is decided by `decide`. Here is
//! only the way there and back: a request that keeps trusted text apart from data, and an answer that is
//! read strictly. Whatever goes wrong is a finding, too.

mod answer;
mod ask;
mod cache;
mod http;

pub use answer::{MAX_ANSWER, read};
pub use cache::{CacheOptions, CachedJudge};
pub use http::HttpJudge;
