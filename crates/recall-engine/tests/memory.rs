//! What the system tells of the memory of a process: of this one, in which nothing else goes on.

#![cfg(target_os = "linux")]

use recall_engine::{Memory, OfProcess};

#[test]
fn what_was_taken_is_seen() {
    let memory = OfProcess;
    let before = memory.taken().unwrap();
    let large = vec![1_u8; 400 << 20];
    assert!(memory.taken().unwrap() >= before + (390 << 20));
    drop(std::hint::black_box(large));
    assert!(memory.taken().unwrap() < before + (10 << 20));
    assert!(memory.peak().unwrap() >= before + (390 << 20));
    assert!(memory.room().unwrap() > memory.taken().unwrap());
    if memory.forget_peak() {
        assert!(memory.peak().unwrap() < before + (10 << 20));
    }
}
