//! Time and memory of a ground truth over a gallery in its file, beside what no program avoids: reading the file, and its
//! products with the queries.
//!
//! `cargo bench -p recall-eval --bench million -- [ITEMS [DIM [QUERIES]]] [--files=DIR]`, by default 1001001 256 70, in f16, as
//! revisited Oxford with R1M. A query has 25 easy, 25 hard and 20 junk images, a landmark that they resemble more or less.
//!
//! The products are those of nalgebra's kernel, on as many threads, of as many rows at a time as is fastest. All files are
//! in the cache of the system. Seconds are those of the fastest of [`RUNS`] runs by turns; where other programs run, seconds of
//! the processor tell more, and stand beside them on Linux.
//!
//! `DIR` is where the files stay, for other programs to judge: `gallery.npy`, `queries.npy` and `truth.json`. A gallery of that
//! shape which is there already is not written again.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nalgebra::{DMatrix, DMatrixView};
use rayon::prelude::*;
use recall_eval::revisited::QueryTruth;
use recall_eval::{
    Embeddings, EmbeddingsFile, EmbeddingsWriter, EmptyQueries, EvalError, GalleryFile,
    GroundTruth, Metric, Precision, evaluate,
};

/// Rows that are written at a time.
const ROWS: usize = 1024;

const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds flags of its own.
    let sizes: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let size = |at: usize, default| sizes.get(at).copied().unwrap_or(default);
    let (items, dim, count) = (size(0, 1_001_001), size(1, 256), size(2, 70).max(1));
    let given = std::env::args().find_map(|arg| arg.strip_prefix("--files=").map(PathBuf::from));
    let temporary = tempfile::tempdir()?;
    let folder = given.unwrap_or_else(|| temporary.path().to_owned());
    let path = folder.join("gallery.npy");
    let mut noise = Noise(1);
    let landmarks = Embeddings::new(noise.rows(count, dim), dim)?.normalised()?;
    let mut queries = Vec::new();
    (0..count).for_each(|q| noise.near(landmarks.row(q), 0.9, &mut queries));
    let queries = Embeddings::new(queries, dim)?.normalised()?;

    // The first rows are those of the ground truth: 70 for each landmark.
    let graded = (70 * count).min(items);
    let there =
        EmbeddingsFile::open(&path).is_ok_and(|file| [file.rows(), file.dim()] == [items, dim]);
    if !there {
        write_gallery(&path, &landmarks, [items, graded], &mut noise)?;
    }
    let ids = |q: usize, from: usize, to: usize| -> Vec<u32> {
        (70 * q + from..(70 * q + to).min(graded))
            .map(|id| id as u32)
            .collect()
    };
    let truth = |q| QueryTruth {
        easy: ids(q, 0, 25),
        hard: ids(q, 25, 50),
        junk: ids(q, 50, 70),
    };
    let truth: Vec<QueryTruth> = (0..count).map(truth).collect();
    queries.save(folder.join("queries.npy"))?;
    std::fs::write(folder.join("truth.json"), json(&truth))?;
    let truth = GroundTruth::Graded(truth);

    let [mut least, mut judged] = [Seconds::NEVER; 2];
    let mut figures = String::new();
    for _ in 0..RUNS {
        for rows in [128, 256, 1024] {
            let file = EmbeddingsFile::open(&path)?;
            least = least.or(Seconds::of(|| products(&file, &queries, rows))?);
        }
        judged = judged.or(Seconds::of(|| {
            let gallery = GalleryFile::unread(EmbeddingsFile::open(&path)?, None)?;
            let metrics = [
                Metric::MapTrapezoid,
                Metric::MpAt(1),
                Metric::MpAt(5),
                Metric::MpAt(10),
            ];
            figures.clear();
            for (setup, ranks) in truth.file_retrieval(&queries, &gallery)?.ranks()? {
                let evaluation = evaluate(&ranks, &metrics, EmptyQueries::Skip)?;
                let name = setup.map_or_else(String::new, |setup| setup.to_string());
                figures += &format!("{name}\n{evaluation}\n");
            }
            Ok(())
        })?);
    }
    print!("{figures}");
    println!(
        "{count} queries, {items} items of {dim} in f16, on {} threads: {:.2} s; reading the file and its products alone \
         {:.2} s, so {:.2} times that{}{}",
        rayon::current_num_threads(),
        judged.passed,
        least.passed,
        judged.passed / least.passed,
        match (judged.worked, least.worked) {
            (Some(judged), Some(least)) => format!(
                "; of the processor {judged:.2} s and {least:.2} s, so {:.2} times",
                judged / least
            ),
            _ => String::new(),
        },
        peak().map_or_else(String::new, |mebibytes| format!(
            "; at most {mebibytes} MiB of memory"
        ))
    );
    Ok(())
}

/// Rows of the ground truth, and behind them noise.
fn write_gallery(
    path: &Path,
    landmarks: &Embeddings,
    [items, graded]: [usize; 2],
    noise: &mut Noise,
) -> Result<(), EvalError> {
    let dim = landmarks.dim();
    let mut writer = EmbeddingsWriter::create_in(path, Precision::F16)?;
    for start in (0..items).step_by(ROWS) {
        let mut rows = Vec::with_capacity(ROWS * dim);
        for row in start..items.min(start + ROWS) {
            match row < graded {
                true => {
                    let share = (row % 70 % 25) as f32 / 25.0;
                    let cosine = match row % 70 {
                        0..25 => 0.55 + 0.3 * share,
                        25..50 => 0.25 + 0.25 * share,
                        _ => 0.3 + 0.3 * share,
                    };
                    noise.near(landmarks.row(row / 70), cosine, &mut rows);
                }
                false => rows.extend(noise.rows(1, dim)),
            }
        }
        writer.push(&Embeddings::new(rows, dim)?.normalised()?)?;
    }
    writer.finish(None)
}

/// As `read_ground_truth` takes it.
fn json(truth: &[QueryTruth]) -> String {
    let queries = truth.iter().map(|QueryTruth { easy, hard, junk }| {
        format!("{{\"easy\": {easy:?}, \"hard\": {hard:?}, \"junk\": {junk:?}}}")
    });
    format!("[{}]\n", queries.collect::<Vec<_>>().join(",\n"))
}

/// Reads all rows, so many at a time, and multiplies them with the queries.
fn products(file: &EmbeddingsFile, queries: &Embeddings, rows: usize) -> Result<(), EvalError> {
    let (count, dim) = (queries.rows(), queries.dim());
    let queries = DMatrix::from_row_slice(count, dim, queries.as_slice());
    let starts: Vec<usize> = (0..file.rows()).step_by(rows).collect();
    let buffers = || (vec![0.0; rows * dim], DMatrix::zeros(count, rows));
    starts
        .into_par_iter()
        .try_for_each_init(buffers, |(values, products), start| {
            let rows = rows.min(file.rows() - start);
            let values = &mut values[..rows * dim];
            file.read(start..start + rows, values)?;
            let items = DMatrixView::from_slice(values, dim, rows);
            let mut products = products.columns_mut(0, rows);
            products.gemm(1.0, &queries, &items, 0.0);
            std::hint::black_box(products);
            Ok(())
        })
}

/// How long something took.
#[derive(Clone, Copy)]
struct Seconds {
    passed: f64,
    /// Those of the processor, on all its cores, where Linux says them.
    worked: Option<f64>,
}

impl Seconds {
    const NEVER: Self = Self {
        passed: f64::INFINITY,
        worked: None,
    };

    fn of(run: impl FnOnce() -> Result<(), EvalError>) -> Result<Self, EvalError> {
        let (start, worked) = (Instant::now(), worked());
        run()?;
        Ok(Self {
            passed: start.elapsed().as_secs_f64(),
            worked: worked.zip(self::worked()).map(|(from, to)| to - from),
        })
    }

    /// The less of each.
    fn or(self, other: Self) -> Self {
        Self {
            passed: self.passed.min(other.passed),
            worked: match self.worked.zip(other.worked) {
                Some((one, other)) => Some(one.min(other)),
                None => self.worked.or(other.worked),
            },
        }
    }
}

/// Seconds of the processor that this process has had, in Linux's hundredths.
fn worked() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name of the program, which may hold blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |at: usize| fields.split_whitespace().nth(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// The most memory that the process has had, where Linux says it.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes >> 10)
}

/// Numbers of Knuth's MMIX generator; the sum of two is closer to normal than one.
struct Noise(u64);

impl Noise {
    fn number(&mut self) -> f32 {
        let mut uniform = || {
            self.0 = (self.0)
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        uniform() + uniform()
    }

    fn rows(&mut self, rows: usize, dim: usize) -> Vec<f32> {
        (0..rows * dim).map(|_| self.number()).collect()
    }

    /// A row of about this cosine with a unit row.
    fn near(&mut self, to: &[f32], cosine: f32, rows: &mut Vec<f32>) {
        // The variance of a number is 2/3.
        let scale = (1.0 - cosine * cosine).sqrt() / (to.len() as f32 * 2.0 / 3.0).sqrt();
        rows.extend(
            to.iter()
                .map(|value| cosine * value + scale * self.number()),
        );
    }
}
