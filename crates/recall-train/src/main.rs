//! The `recall-train` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    recall_train::command::main()
}
