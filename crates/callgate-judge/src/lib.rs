//! The judge's voice: a question to an OpenAI-compatible endpoint, and its answer as data.
//!
//! What a question says is made by policy, and what an answer means is decided by `decide`. Here is
//! only the way there and back: a request that keeps trusted text apart from data, an answer that is
//! read strictly, and a bound on time, size and number. Whatever goes wrong is a finding, too.
//!
//! Nothing here reads a file, the environment, or a policy. The endpoint and its key come from the
//! operator, never from a bundle. Arguments and keys are never written to a log or an error.

mod answer;
mod ask;
mod cache;
mod endpoint;
mod http;

pub use answer::{MAX_ANSWER, read};
pub use cache::{CacheOptions, CachedJudge};
pub use endpoint::{Endpoint, EndpointError, Key};
pub use http::HttpJudge;
