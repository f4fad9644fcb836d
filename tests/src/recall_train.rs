//! `recall-train` as the tests run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    recall_train::command::main()
}
