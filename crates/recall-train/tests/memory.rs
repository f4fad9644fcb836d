//! What the system tells of the memory of a process: of this one, in which nothing else goes on.

#![cfg(target_os = "linux")]

use recall_train::plan::{available_memory, memory, peak_memory};

#[test]
fn what_was_taken_is_seen() {
    let before = memory().unwrap();
    let large = vec![1_u8; 400 << 20];
    assert!(memory().unwrap() >= before + (390 << 20));
    drop(std::hint::black_box(large));
    assert!(memory().unwrap() < before + (10 << 20));
    assert!(peak_memory().unwrap() >= before + (390 << 20));
    assert!(available_memory().unwrap() > 0);
}
