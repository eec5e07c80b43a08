//! The program `callgate`; all of it is in the library beside this file.

use std::process::ExitCode;

/// A decision makes many small pieces of text; the system's allocator was a seventh of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    callgate::main()
}
