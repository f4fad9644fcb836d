//! Rows of features as a data set: what is known of them, and how they are loaded.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use recall_data::{
    BatchInputs, BatchRequest, CorruptPolicy, DataError, DataSpec, Dataset, EvalTransform,
    KeptFeatures, Loader, LoaderConfig, Role, Split,
};
use recall_eval::{Embeddings, EmbeddingsFile, save_labels};
use tempfile::{TempDir, tempdir};

const DIM: usize = 3;

/// Row `i` begins with `i + 1`.
fn rows(count: usize) -> Embeddings {
    let values = (0..count * DIM).map(|at| match at % DIM {
        0 => (at / DIM) as f32 + 1.0,
        column => column as f32 / 8.0,
    });
    Embeddings::new(values.collect(), DIM).unwrap()
}

fn folder(count: usize) -> TempDir {
    let dir = tempdir().unwrap();
    rows(count).save(dir.path().join("f.npy")).unwrap();
    dir
}

fn open(dir: &Path, spec: &str) -> Result<Dataset, DataError> {
    let spec = spec
        .split(',')
        .map(|name| dir.join(name).display().to_string())
        .collect::<Vec<_>>()
        .join(",");
    format!("embeddings:{spec}").parse::<DataSpec>()?.open()
}

fn loader(dataset: Dataset, corrupt: CorruptPolicy) -> Loader {
    let config = LoaderConfig {
        corrupt,
        threads: 2,
        ..LoaderConfig::default()
    };
    Loader::new(Arc::new(dataset), EvalTransform::default(), config).unwrap()
}

fn request(ids: &[usize]) -> BatchRequest {
    BatchRequest {
        epoch: 0,
        step: 0,
        ids: ids.to_vec(),
    }
}

/// A `.safetensors` file of rows and whole numbers.
fn tensors(path: &Path, rows: &Embeddings, whole: &[(&str, &str, Vec<u8>)]) {
    let mut header = String::from("{");
    let mut data = Vec::new();
    for (name, kind, bytes) in whole {
        let count = bytes.len() / if *kind == "I64" { 8 } else { 1 };
        let start = data.len();
        data.extend(bytes);
        header += &format!(
            "\"{name}\":{{\"dtype\":\"{kind}\",\"shape\":[{count}],\"data_offsets\":[{start},{}]}},",
            data.len()
        );
    }
    let start = data.len();
    data.extend(rows.as_slice().iter().flat_map(|value| value.to_le_bytes()));
    header += &format!(
        "\"features\":{{\"dtype\":\"F32\",\"shape\":[{},{DIM}],\"data_offsets\":[{start},{}]}}}}",
        rows.rows(),
        data.len()
    );
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    fs::write(path, file).unwrap();
}

fn whole(labels: &[i64]) -> Vec<u8> {
    labels
        .iter()
        .flat_map(|label| label.to_le_bytes())
        .collect()
}

#[test]
fn labels_stand_beside_rows_and_bring_their_names() {
    let dir = folder(4);
    save_labels(dir.path().join("f.labels.npy"), &[10, 2, 2, 10]).unwrap();
    let dataset = open(dir.path(), "f.npy").unwrap();
    assert_eq!((dataset.name(), dataset.noun()), ("f", "rows"));
    assert_eq!(
        dataset.class_names(),
        ["2", "10"],
        "in the order of numbers"
    );
    assert_eq!(dataset.labels(&[0, 1, 2, 3]), [1, 0, 0, 1]);
    assert_eq!(dataset.items()[3].name, "row 3");
    assert!(dataset.missing_files().is_empty());

    fs::write(dir.path().join("f.txt"), "a\nb\nc\nd\n").unwrap();
    fs::write(
        dir.path().join("f.classes.csv"),
        "label,name\n2,cup\n10,lamp\n",
    )
    .unwrap();
    let dataset = open(dir.path(), "f.npy").unwrap();
    assert_eq!(dataset.class_names(), ["cup", "lamp"]);
    assert_eq!(dataset.items()[3].name, "d");
    // A text of other lines is of something else.
    fs::write(dir.path().join("f.txt"), "notes\n").unwrap();
    assert_eq!(open(dir.path(), "f.npy").unwrap().items()[3].name, "row 3");
}

#[test]
fn without_labels_rows_can_be_searched_and_no_more() {
    let dir = folder(4);
    let dataset = open(dir.path(), "f.npy").unwrap();
    assert!(!dataset.is_labelled());
    assert_eq!(dataset.split(Split::Test).len(), 4);
}

#[test]
fn a_file_of_tensors_has_labels_and_splits_in_it() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("t.safetensors");
    let labels = whole(&[1, 1, 2, 2]);
    tensors(
        &path,
        &rows(4),
        &[
            ("labels", "I64", labels.clone()),
            ("train", "U8", vec![0, 1, 0, 1]),
        ],
    );
    let dataset = open(dir.path(), "t.safetensors").unwrap();
    assert_eq!(dataset.split(Split::Train), [1, 3]);
    assert_eq!(dataset.split(Split::Test), [0, 2]);
    // They come before labels beside the file, and have their names as well.
    save_labels(dir.path().join("t.labels.npy"), &[5, 5, 6, 7]).unwrap();
    fs::write(dir.path().join("t.classes.csv"), "label,name\n1,cup\n").unwrap();
    let named = open(dir.path(), "t.safetensors").unwrap();
    assert_eq!(named.class_names(), ["2", "cup"]);
    tensors(
        &path,
        &rows(4),
        &[("labels", "I64", labels), ("train", "U8", vec![0, 7, 0, 1])],
    );
    let message = open(dir.path(), "t.safetensors").unwrap_err().to_string();
    assert!(
        message.contains("has 7 at row 1") && message.contains("1 trains"),
        "{message}"
    );
}

#[test]
fn a_table_says_more() {
    let dir = folder(4);
    let table = dir.path().join("t.csv");
    fs::write(
        &table,
        "label,split,is_query,is_gallery,path\na,train,,,\na,train,,,x.png\nb,test,1,0,\nb,test,0,1,y.png\n",
    )
    .unwrap();
    let dataset = open(dir.path(), "f.npy,t.csv").unwrap();
    assert_eq!(dataset.split(Split::Test), [2, 3]);
    let roles: Vec<Role> = dataset.items().iter().map(|item| item.role).collect();
    assert_eq!(roles, [Role::Both, Role::Both, Role::Query, Role::Gallery]);
    let names: Vec<&str> = dataset
        .items()
        .iter()
        .map(|item| item.name.as_str())
        .collect();
    assert_eq!(names, ["row 0", "x.png", "row 2", "y.png"]);
    // A picture that is not there is not shown, and missed by nobody.
    assert!(dataset.missing_files().is_empty());
    assert!(dataset.pixels(0).unwrap_err().to_string().contains("row 0"));

    fs::write(&table, "label\na\nb\n").unwrap();
    let message = open(dir.path(), "f.npy,t.csv").unwrap_err().to_string();
    assert!(
        message.contains("t.csv has labels for 2 rows") && message.contains("has 4"),
        "{message}"
    );
    fs::write(&table, "name\na\n").unwrap();
    let message = open(dir.path(), "f.npy,t.csv").unwrap_err().to_string();
    assert!(message.contains("no column `label`"), "{message}");
}

#[test]
fn batches_hold_the_rows_that_were_asked_for_in_their_order() {
    let dir = folder(2000);
    let dataset = open(dir.path(), "f.npy").unwrap();
    let loader = loader(dataset, CorruptPolicy::Error);
    // Runs of rows, single ones, and one twice.
    let mut ids: Vec<usize> = (100..900).collect();
    ids.extend([5, 1999, 5, 0, 1, 2]);
    let batch = loader.load(request(&ids)).unwrap();
    let BatchInputs::Features { values, dim } = &batch.inputs else {
        panic!();
    };
    assert_eq!((*dim, batch.shape()), (DIM, [806, DIM, 1, 1]));
    for (row, id) in values.chunks_exact(DIM).zip(&ids) {
        assert_eq!(row, [*id as f32 + 1.0, 0.125, 0.25]);
    }
    assert!(loader.load(request(&[2000])).is_err());
}

#[test]
fn a_row_of_zeros_or_nan_stops_a_batch_or_is_left_out() {
    let dir = tempdir().unwrap();
    let mut values = rows(5).as_slice().to_vec();
    values[DIM..2 * DIM].fill(0.0);
    let path = dir.path().join("z.npy");
    Embeddings::new(values, DIM).unwrap().save(&path).unwrap();
    // Embeddings refuse NaN, so it is put into the file: the last number of row 3.
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 4 * DIM - 4;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();

    let all = request(&[0, 1, 2, 3, 4]);
    let strict = loader(open(dir.path(), "z.npy").unwrap(), CorruptPolicy::Error);
    let message = strict.load(all.clone()).unwrap_err().to_string();
    assert!(
        message.contains("row 1") && message.contains("all zeros"),
        "{message}"
    );
    let batch = loader(open(dir.path(), "z.npy").unwrap(), CorruptPolicy::Skip)
        .load(all)
        .unwrap();
    assert_eq!(batch.ids, [0, 2, 4]);
    let BatchInputs::Features { values, .. } = &batch.inputs else {
        panic!();
    };
    let firsts: Vec<f32> = values.iter().step_by(DIM).copied().collect();
    assert_eq!(firsts, [1.0, 3.0, 5.0]);
    let problems: Vec<&str> = batch.skipped.iter().map(|of| of.problem.as_str()).collect();
    assert!(
        problems[1].contains("row 3") && problems[1].contains("NaN in column 2"),
        "{problems:?}"
    );
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let dir = folder(100);
    let loader = loader(open(dir.path(), "f.npy").unwrap(), CorruptPolicy::Error);
    let file = fs::File::options()
        .write(true)
        .open(dir.path().join("f.npy"))
        .unwrap();
    file.set_len(300).unwrap();
    let message = loader.load(request(&[0, 99])).unwrap_err().to_string();
    assert!(message.contains("f.npy"), "{message}");
}

#[test]
fn kept_features_stand_for_images() {
    let dir = folder(2);
    let dataset = "emoji".parse::<DataSpec>().unwrap().open().unwrap();
    let rows = || EmbeddingsFile::open(dir.path().join("f.npy")).unwrap();
    assert!(KeptFeatures::new(rows(), vec![7]).is_err());
    assert!(KeptFeatures::new(rows(), vec![9, 7]).is_err());
    let kept = KeptFeatures::new(rows(), vec![7, 9]).unwrap();
    let loader = loader(dataset, CorruptPolicy::Error).with_features(kept);
    let batch = loader.load(request(&[9, 7, 9])).unwrap();
    let BatchInputs::Features { values, .. } = &batch.inputs else {
        panic!();
    };
    let firsts: Vec<f32> = values.iter().step_by(DIM).copied().collect();
    assert_eq!(firsts, [2.0, 1.0, 2.0]);
    assert_eq!(batch.labels, loader.dataset().labels(&[9, 7, 9]));
    let message = loader.load(request(&[8])).unwrap_err().to_string();
    assert!(message.contains("item 8"), "{message}");
}
