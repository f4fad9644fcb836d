//! How long it takes to open a list of landmarks at full size, and to draw the batches of an epoch.
//!
//! `cargo run --release -p recall-data --example landmarks` writes lists of the published sizes with made-up names into a
//! folder that it removes again, without images, and reads them as a run does. With a data set behind `--`, such as
//! `gldv2:DIR`, it measures that one.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use recall_data::{BatchSamplerConfig, DataSpec, Dataset, Split};

/// Images and landmarks of Google Landmarks v2, the clean list and the whole one.
const CLEAN: [usize; 2] = [1_580_470, 81_313];
const ALL: [usize; 2] = [4_132_914, 203_094];
/// Images and 3D models of SfM-120k.
const MODELS: [(&str, [usize; 2]); 2] = [("train", [91_642, 551]), ("val", [6_403, 162])];
/// Images of revisitop1m.
const DISTRACTORS: usize = 1_001_001;

/// Sixteen characters that differ by image, in all folders.
fn id(image: usize) -> String {
    format!(
        "{:016x}",
        (image as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    )
}

/// The landmark of an image: few have many images, as landmarks do, and each has one at least.
fn landmark(image: usize, landmarks: usize, images: usize) -> usize {
    if image < landmarks {
        return image;
    }
    let share = (image - landmarks) as f64 / (images - landmarks) as f64;
    ((share * share * landmarks as f64) as usize).min(landmarks - 1)
}

fn write_clean(file: &Path) -> std::io::Result<()> {
    let [images, landmarks] = CLEAN;
    let mut lists = vec![String::new(); landmarks];
    for image in 0..images {
        let list = &mut lists[landmark(image, landmarks, images)];
        if !list.is_empty() {
            list.push(' ');
        }
        list.push_str(&id(image));
    }
    let mut text = "landmark_id,images\n".to_owned();
    for (landmark, list) in lists.iter().enumerate() {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{landmark},{list}");
    }
    fs::write(file, text)
}

fn write_all(file: &Path) -> std::io::Result<()> {
    let [images, landmarks] = ALL;
    let mut text = "id,url,landmark_id\n".to_owned();
    for image in 0..images {
        let (id, landmark) = (id(image), landmark(image, landmarks, images));
        let _ = writeln!(
            text,
            "{id},http://upload.wikimedia.org/wikipedia/commons/{}/Some_landmark_{image}.jpg,{landmark}",
            &id[..2]
        );
    }
    fs::write(file, text)
}

fn write_distractors(file: &Path) -> std::io::Result<()> {
    let mut text = String::new();
    for image in 0..DISTRACTORS {
        let _ = writeln!(text, "{}/{}.jpg", image / 10_000, id(image));
    }
    fs::write(file, text)
}

/// A pickle of protocol 2, as Python writes dictionaries of lists.
fn write_models(file: &Path) -> std::io::Result<()> {
    fn text(pickle: &mut Vec<u8>, text: &str) {
        pickle.push(b'X');
        pickle.extend((text.len() as u32).to_le_bytes());
        pickle.extend(text.as_bytes());
    }
    fn list<T>(pickle: &mut Vec<u8>, items: Vec<T>, write: impl Fn(&mut Vec<u8>, T)) {
        pickle.extend(b"](");
        items.into_iter().for_each(|item| write(pickle, item));
        pickle.push(b'e');
    }
    let number = |pickle: &mut Vec<u8>, number: usize| {
        pickle.push(b'J');
        pickle.extend((number as u32).to_le_bytes());
    };
    let mut pickle = b"\x80\x02}(".to_vec();
    for (split, [images, models]) in MODELS {
        text(&mut pickle, split);
        pickle.extend(b"}(");
        text(&mut pickle, "cids");
        let names = (0..images).map(|image| format!("{:0>40}", id(image)));
        list(&mut pickle, names.collect(), |pickle, name| {
            text(pickle, &name)
        });
        let clusters = (0..images).map(|image| landmark(image, models, images));
        // Two pairs for each image.
        let pairs = 0..2 * images;
        let queries = pairs.clone().map(|pair| pair / 2).collect();
        let positives = pairs.map(|pair| (pair * 7 + 3) % images).collect();
        for (key, numbers) in [
            ("cluster", clusters.collect()),
            ("qidxs", queries),
            ("pidxs", positives),
        ] {
            text(&mut pickle, key);
            list(&mut pickle, numbers, number);
        }
        pickle.push(b'u');
    }
    pickle.extend(b"u.");
    fs::write(file, pickle)
}

/// The most memory that the process has had, in bytes, where the system says it.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Lets [`peak`] begin anew.
fn forget_peak() {
    // Where this is not possible, the figures are those of the process so far.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn tell(what: &str, started: Instant) {
    let memory = peak().map_or_else(String::new, |bytes| {
        format!("  {:5.0} MB at most", bytes as f64 / 1e6)
    });
    println!(
        "{what:<46}{:7.2} s{memory}",
        started.elapsed().as_secs_f64()
    );
}

fn open(spec: &str) -> Result<Dataset, Box<dyn Error>> {
    forget_peak();
    let spec: DataSpec = spec.parse()?;
    let started = Instant::now();
    let dataset = spec.index()?;
    tell(
        &format!("{}: {} images", dataset.name(), dataset.items().len()),
        started,
    );
    Ok(dataset)
}

/// What a run does before its first batch.
fn begin(spec: &str, batch: usize) -> Result<(), Box<dyn Error>> {
    let dataset = open(spec)?;
    let started = Instant::now();
    let missing = dataset.missing_files().len();
    tell(&format!("  looked for on disk, {missing} missing"), started);
    let started = Instant::now();
    let ids = dataset.split(Split::Train);
    let sampler = BatchSamplerConfig::new(batch, 4).init(ids, &dataset.labels(ids))?;
    tell(&format!("  a sampler of batches of {batch}"), started);
    let started = Instant::now();
    let batches = sampler.epoch(0);
    tell(
        &format!("  an epoch of {} batches drawn", batches.len()),
        started,
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(spec) = std::env::args().nth(1) {
        return begin(&spec, 1024);
    }
    let dir = std::env::temp_dir().join(format!("recall-landmarks-{}", std::process::id()));
    fs::create_dir(&dir)?;
    let measured = measure(&dir);
    fs::remove_dir_all(&dir)?;
    measured
}

fn measure(dir: &Path) -> Result<(), Box<dyn Error>> {
    write_clean(&dir.join("train_clean.csv"))?;
    write_all(&dir.join("train.csv"))?;
    write_distractors(&dir.join("revisitop1m.txt"))?;
    write_models(&dir.join("retrieval-SfM-120k.pkl"))?;
    let at = dir.display();

    begin(&format!("gldv2:{at}"), 4096)?;
    drop(open(&format!("gldv2:{at}/train.csv"))?);
    drop(open(&format!("revisitop1m:{at}"))?);
    begin(&format!("sfm120k:{at}"), 2048)?;
    Ok(())
}
