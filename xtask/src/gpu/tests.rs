//! Whether the emulation computes what a device would, and finds what is wrong: kernels that are right, and the
//! same ones made wrong on purpose.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::standins::{Standins, Unavailable};

/// What came of a kernel.
struct Tried {
    output: Vec<f32>,
    report: String,
}

/// Blocks, threads of each, bytes of shared memory, and numbers of input and output.
type Shape = (u32, u32, u32, u32);

/// The stand-ins and the program that calls them; none, which is said, without g++.
fn built() -> Option<&'static (Standins, PathBuf, TempDir)> {
    static BUILT: OnceLock<Option<(Standins, PathBuf, TempDir)>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let standins = match Standins::build_in(folder.path()) {
                Err(error) if error.is::<Unavailable>() => {
                    eprintln!("SKIPPED: {error}");
                    return None;
                }
                standins => standins.unwrap(),
            };
            let source = folder.path().join("try_kernel.cpp");
            std::fs::write(&source, include_str!("../../emulate/try_kernel.cpp")).unwrap();
            let program = standins.program("try_kernel", &source, true).unwrap();
            Some((standins, program, folder))
        })
        .as_ref()
}

fn run(kernel: &str, (blocks, threads, shared, elements): Shape) -> Option<Tried> {
    let (standins, program, _) = built()?;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("subject.cu");
    let prologue = include_str!("../../emulate/kernels/prologue.cu");
    std::fs::write(&source, format!("{prologue}{kernel}")).unwrap();
    let run = folder.path().join("run");
    let mut command = Command::new(program);
    standins.provide(&mut command, 80, &run).unwrap();
    command
        .arg(source)
        .args([blocks, threads, shared, elements].map(|number| number.to_string()));
    let output = command.output().unwrap();
    let report = std::fs::read_to_string(run.join("report.txt")).unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    Some(Tried {
        output: output
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect(),
        report,
    })
}

macro_rules! run {
    ($name:literal, $shape:expr) => {
        match run(
            include_str!(concat!("../../emulate/kernels/", $name, ".cu")),
            $shape,
        ) {
            Some(tried) => tried,
            None => return,
        }
    };
}

impl Tried {
    #[track_caller]
    fn gives(&self, expected: impl IntoIterator<Item = f32>) {
        assert_eq!(self.report, "executed 1 1\n");
        assert_eq!(self.output, expected.into_iter().collect::<Vec<_>>());
    }

    #[track_caller]
    fn is_found(&self, parts: &[&str]) {
        let found: Vec<_> = self
            .report
            .lines()
            .filter(|line| line.starts_with("found "))
            .collect();
        assert_eq!(found.len(), 1, "{}", self.report);
        for part in parts {
            assert!(found[0].contains(part), "{part:?} is not in {:?}", found[0]);
        }
    }
}

const REVERSED: Shape = (2, 64, 256, 128);

#[test]
fn a_right_kernel_gives_what_it_should() {
    let turned = (0..128).map(|at| (at / 64 * 64 + 63 - at % 64) as f32);
    run!("reversed", REVERSED).gives(turned.clone());
    run!("counted_down", (2, 64, 272, 128)).gives(turned);
}

#[test]
fn a_missing_barrier_is_found() {
    run!("missing_barrier", REVERSED).is_found(&[
        "kernel subject: thread (0, 0, 0) of block (0, 0, 0) reads 4 bytes at ",
        "thread number 63 of the block writes, with no __syncthreads between",
    ]);
}

#[test]
fn blocks_that_write_to_the_same_place_are_found() {
    run!("two_blocks", (2, 32, 0, 32)).is_found(&[
        "thread (0, 0, 0) of block (1, 0, 0) writes 4 bytes",
        "(byte 0 of buffer 1), which another block of the same launch writes",
    ]);
}

#[test]
fn an_index_behind_a_buffer_is_found() {
    run!("reads_behind", REVERSED).is_found(&[
        "thread (63, 0, 0) of block (1, 0, 0) reads 4 bytes",
        "4 bytes past the end of buffer 0 of 512 bytes",
    ]);
}

#[test]
fn an_index_before_a_buffer_is_found() {
    run!("writes_before", REVERSED).is_found(&[
        "thread (0, 0, 0) of block (0, 0, 0) writes 4 bytes",
        "4 bytes before the start of buffer 1 of 512 bytes",
    ]);
}

#[test]
fn an_index_behind_shared_memory_is_found() {
    run!("beyond_shared", REVERSED).is_found(&[
        "thread (0, 0, 0) of block (0, 0, 0) reads 4 bytes",
        "4 bytes past the end of shared memory of 256 bytes",
    ]);
}

#[test]
fn lanes_have_to_wait_for_their_warp() {
    let neighbours = (0..32).map(|at| (at ^ 1) as f32);
    run!("warp_barrier", (1, 32, 128, 32)).gives(neighbours);
    run!("missing_warp_barrier", (1, 32, 128, 32))
        .is_found(&["with no __syncwarp or __syncthreads between"]);
}

#[test]
fn threads_that_wait_for_different_things_are_found() {
    run!("one_sided_barrier", (1, 64, 0, 64))
        .is_found(&["48 threads of a block wait for the block and 16 for their warp"]);
}

#[test]
fn an_unknown_instruction_is_named() {
    run!("unknown_instruction", (1, 32, 0, 32))
        .is_found(&["tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned"]);
}

#[test]
fn shuffles_and_atomics_add_up() {
    run!("summed", (1, 64, 4, 64)).gives([2016.0; 64]);
}

#[test]
fn asynchronous_copies_leave_out_what_is_not_there() {
    let copied = (0..32).map(|at| if at < 30 { at as f32 } else { 0.0 });
    run!("copied", (1, 8, 128, 32)).gives(copied);
}

/// `1 + Σ left · right` with the matrices of the kernels; rows of `left` and columns of `right` begin at `start`.
fn product(columns: i32, inner: i32, start: i32) -> impl Iterator<Item = f32> {
    (0..16 * columns).map(move |at| {
        let (row, column) = (at / columns, at % columns);
        let sum: i32 = (0..inner)
            .map(|k| (row * 3 + k * 5 + start) * (k * 2 + column * 7 - 40))
            .sum();
        (1 + sum) as f32
    })
}

#[test]
fn tensor_cores_multiply() {
    run!("tensor_core_halves", (1, 32, 768, 128)).gives(product(8, 16, -60));
    run!("tensor_core_tf32", (1, 32, 0, 128)).gives(product(8, 8, -30));
    run!("fragments", (1, 32, 1024, 256)).gives(product(16, 16, -60));
}

#[test]
fn small_floats_are_rounded_to_the_nearest() {
    let values: [f32; 8] = [
        2049.0,
        2051.0,
        65519.0,
        65520.0,
        6.0e-8,
        2.0e-8,
        0.1,
        -1.0 / 3.0,
    ];
    let halves = values.map(|value| half::f16::from_f32(value).to_f32());
    let bfloats = values.map(|value| half::bf16::from_f32(value).to_f32());
    run!("rounding", (1, 16, 0, 16)).gives(halves.into_iter().chain(bfloats));
}
