//! The threads that decide.
//!
//! A gate with more to decide than it can must still say that it is there: enforcement points may go on without one
//! that is not. So what costs time runs beside what answers connections. Must never be dropped where that would wait.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Threads of their own, or those of whoever serves.
#[derive(Debug)]
pub(crate) struct Workers {
    own: Option<Runtime>,
    handle: Handle,
}

impl Workers {
    /// So many threads; those of the caller where none are asked for.
    pub(crate) fn start(count: Option<usize>) -> io::Result<Self> {
        let Some(count) = count else { return Ok(Self { own: None, handle: Handle::current() }) };
        let mut builder = Builder::new_multi_thread();
        let own = builder.worker_threads(count.max(1)).thread_name("callgate-work").enable_all().build()?;
        Ok(Self { handle: own.handle().clone(), own: Some(own) })
    }

    /// Does it there.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(work)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(own) = self.own.take() {
            own.shutdown_background();
        }
    }
}
