use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::excerpt;
use crate::dataset::Note;
use crate::{
    BoundingBox, DataError, Dataset, ImageSource, Item, Role, Split, names, split_by_name,
};

/// What the lines of a table are about.
#[derive(Clone, Copy)]
enum Lines {
    /// Images: each has a path.
    Images,
    /// Rows of features: their pictures may be known.
    Rows,
}

impl Lines {
    fn expected(self) -> &'static str {
        match self {
            Self::Images => {
                "expected is a CSV file with a header and the columns path,label and, if \
                 wanted, split,is_query,is_gallery,x_1,y_1,x_2,y_2"
            }
            Self::Rows => {
                "expected is a CSV file with a header, the column label and, if wanted, \
                 path,split,is_query,is_gallery"
            }
        }
    }
}

const BOX_COLUMNS: [&str; 4] = ["x_1", "y_1", "x_2", "y_2"];

/// Where the columns are.
struct Columns {
    /// None only where the lines are rows of features.
    path: Option<usize>,
    needs_path: bool,
    label: usize,
    split: Option<usize>,
    is_query: Option<usize>,
    is_gallery: Option<usize>,
    bbox: Option<[usize; 4]>,
}

impl Columns {
    fn find(header: &StringRecord, file: &Path, lines: Lines) -> Result<Self, DataError> {
        // Some spreadsheets start a file with a byte order mark.
        let names: Vec<&str> = header
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').trim())
            .collect();
        let find = |wanted: &str| names.iter().position(|name| *name == wanted);
        let need = |wanted: &str| {
            find(wanted).ok_or_else(|| {
                let found = excerpt(&names.join(","));
                let problem = format!(
                    "has no column `{wanted}` but `{found}`: {}",
                    lines.expected()
                );
                DataError::layout(file, problem)
            })
        };
        let bbox = match BOX_COLUMNS.map(find) {
            [Some(left), Some(top), Some(right), Some(bottom)] => Some([left, top, right, bottom]),
            [None, None, None, None] => None,
            found => {
                let missing: Vec<_> = BOX_COLUMNS
                    .iter()
                    .zip(found)
                    .filter_map(|(name, place)| place.is_none().then_some(*name))
                    .collect();
                let problem = format!(
                    "has columns of a box but not {}: give all four",
                    missing.join(", ")
                );
                return Err(DataError::layout(file, problem));
            }
        };
        Ok(Self {
            path: match lines {
                Lines::Images => Some(need("path")?),
                Lines::Rows => find("path"),
            },
            needs_path: matches!(lines, Lines::Images),
            label: need("label")?,
            split: find("split"),
            is_query: find("is_query"),
            is_gallery: find("is_gallery"),
            bbox,
        })
    }
}

/// One line of the table.
pub(super) struct Row {
    /// As it is written; only rows of features may have none.
    pub path: Option<String>,
    pub label: String,
    /// `None` where the table has no such column.
    pub split: Option<Split>,
    pub role: Role,
    bbox: Option<BoundingBox>,
}

/// Reads the table; with `require_files` an image that is not there is an error at its line.
pub(crate) fn read(file: &Path, require_files: bool) -> Result<Dataset, DataError> {
    let folder = folder_of(file);
    let rows = lines(file, Lines::Images, |row| {
        let path = folder.join(row.path.as_deref().unwrap_or_default());
        if !require_files || path.is_file() {
            Ok(())
        } else {
            Err(format!(
                "there is no file {} (paths start at the folder of the table; --skip-corrupt leaves \
                 out what is not there)",
                path.display().to_string().escape_debug()
            ))
        }
    })?;
    dataset(file, folder, rows)
}

/// Reads a table whose lines are about rows of features.
pub(super) fn of_features(file: &Path) -> Result<Vec<Row>, DataError> {
    lines(file, Lines::Rows, |_| Ok(()))
}

/// Where the paths of a table start.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// The lines of a table, each of which `check` accepts.
fn lines(
    file: &Path,
    about: Lines,
    check: impl Fn(&Row) -> Result<(), String>,
) -> Result<Vec<Row>, DataError> {
    let expected = about.expected();
    let opened = std::fs::File::open(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            DataError::layout(file, format!("is not there: {expected}"))
        }
        _ => DataError::io(file, error),
    })?;
    if opened.metadata().is_ok_and(|found| found.is_dir()) {
        let folder = match about {
            Lines::Images => "; for a folder write `folder:DIR`",
            Lines::Rows => "",
        };
        return Err(DataError::layout(
            file,
            format!("is a folder: {expected}{folder}"),
        ));
    }
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(opened);
    let header = reader.headers().map_err(|error| refused(file, error))?;
    let columns = Columns::find(header, file, about)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| refused(file, error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let row = read_row(&record, &columns).and_then(|row| check(&row).map(|()| row));
        let row = row.map_err(|problem| DataError::Line {
            path: file.into(),
            line,
            problem,
        })?;
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(DataError::layout(
            file,
            format!("has no lines below its header: {expected}"),
        ));
    }
    Ok(rows)
}

fn dataset(file: &Path, folder: &Path, mut rows: Vec<Row>) -> Result<Dataset, DataError> {
    // Names stand in lists, one a line: see `names`.
    rows.iter_mut()
        .for_each(|row| row.label = names::escape(&row.label));
    let (class_names, classes) = classes(file, rows.iter().map(|row| row.label.as_str()))?;
    let halves = split_by_name(&class_names);
    let items = (rows.iter().zip(classes))
        .map(|(row, class)| {
            let path = row.path.as_deref().unwrap_or_default();
            let source = ImageSource::File(folder.join(path));
            let split = row.split.unwrap_or(halves[class as usize]);
            Item {
                bbox: row.bbox,
                role: row.role,
                ..Item::new(names::escape(path), source, class, split)
            }
        })
        .collect();
    let name = file.file_stem().map_or_else(String::new, names::escape_os);
    let notes = doubtful(&class_names);
    Ok(Dataset::from_items(name, items, class_names.clone())?.with_notes(notes))
}

/// The names of the classes in their order, and the class of each label.
pub(super) fn classes<'a>(
    file: &Path,
    labels: impl Iterator<Item = &'a str> + Clone,
) -> Result<(Vec<String>, Vec<u32>), DataError> {
    let names: BTreeSet<&str> = labels.clone().collect();
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    if names.len() < 2 {
        let problem = "has only one label, and there is nothing to tell apart".to_owned();
        return Err(DataError::layout(file, problem));
    }
    // Numbers in the order of numbers: 2 before 10.
    if names.iter().all(|name| name.parse::<i64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<i64>().ok());
    }
    let ids: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
    let classes = labels.map(|label| ids[label]).collect();
    Ok((names, classes))
}

/// What programs write where there is no value.
const NO_VALUE: [&str; 6] = ["nan", "null", "none", "na", "n/a", "<na>"];

/// Labels that a program may have changed while it wrote the table: one class then becomes two, or
/// images without a label become one.
pub(super) fn doubtful(class_names: &[String]) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut numbers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in class_names {
        if let Ok(number) = name.trim().parse::<f64>()
            && number.is_finite()
        {
            numbers.entry(number.to_string()).or_default().push(name);
        }
    }
    let mut alike = numbers.values().filter(|names| names.len() > 1);
    if let Some(first) = alike.next() {
        let more = match alike.count() {
            0 => String::new(),
            others => format!(", as {others} more are"),
        };
        notes.push(Note::warning(
            format!(
                "the labels {} are one number written in different ways{more}, and count as different \
                 classes: write the column as text or as whole numbers throughout",
                first.join(" and ")
            ),
            Vec::new(),
        ));
    }
    let is_missing = |name: &&String| NO_VALUE.contains(&name.to_ascii_lowercase().as_str());
    if let Some(name) = class_names.iter().find(is_missing) {
        notes.push(Note::warning(
            format!(
                "the label {name} counts as a class like any other: leave out the lines of images \
                 without a label"
            ),
            Vec::new(),
        ));
    }
    notes
}

/// What the CSV reader says of a file, with the line where it knows it.
pub(super) fn refused(file: &Path, error: csv::Error) -> DataError {
    let line = error.position().map_or(0, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(source) => DataError::io(file, source),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => DataError::Line {
            path: file.into(),
            line,
            problem: format!("it has {len} fields where the header has {expected_len}"),
        },
        csv::ErrorKind::Utf8 { .. } => DataError::Line {
            path: file.into(),
            line,
            problem: "it is not UTF-8: save the table as UTF-8".into(),
        },
        other => DataError::layout(file, format!("cannot be read as CSV: {other:?}")),
    }
}

fn read_row(record: &StringRecord, columns: &Columns) -> Result<Row, String> {
    let field = |place: usize| record.get(place).unwrap_or("");
    let path = columns.path.map(field);
    if path == Some("") && columns.needs_path {
        return Err("the path is empty".into());
    }
    let label = field(columns.label);
    if label.is_empty() {
        return Err("the label is empty".into());
    }
    let split = match columns.split.map(field) {
        None => None,
        Some("train") => Some(Split::Train),
        Some("test") => Some(Split::Test),
        Some("validation" | "val" | "valid") => Some(Split::Validation),
        Some(other) => {
            return Err(format!(
                "the split is `{}`: use train, test or validation",
                excerpt(other)
            ));
        }
    };
    let flag = |name: &str, place: Option<usize>| match place.map(field) {
        None | Some("") => Ok(None),
        Some(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "1.0" => Ok(Some(true)),
            "false" | "0" | "0.0" => Ok(Some(false)),
            _ => Err(format!("{name} is `{}`: use true or false", excerpt(text))),
        },
    };
    let role = match (
        flag("is_query", columns.is_query)?,
        flag("is_gallery", columns.is_gallery)?,
    ) {
        (None, None) | (Some(true), Some(true)) => Role::Both,
        (Some(true), None | Some(false)) | (None, Some(false)) => Role::Query,
        (None | Some(false), Some(true)) | (Some(false), None) => Role::Gallery,
        (Some(false), Some(false)) if split == Some(Split::Train) => Role::Both,
        (Some(false), Some(false)) => {
            return Err(
                "it is neither query nor gallery: set one of them, or drop the line".into(),
            );
        }
    };
    let bbox = match columns.bbox.map(|places| places.map(field)) {
        None | Some(["", "", "", ""]) => None,
        Some(corners) => Some(read_box(corners)?),
    };
    Ok(Row {
        path: path.filter(|path| !path.is_empty()).map(str::to_owned),
        label: label.into(),
        split,
        role,
        bbox,
    })
}

fn read_box(corners: [&str; 4]) -> Result<BoundingBox, String> {
    let mut pixels = [0; 4];
    for ((name, text), pixel) in BOX_COLUMNS.iter().zip(corners).zip(&mut pixels) {
        // Written by way of a column with gaps, whole numbers come as 12.0.
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number.ok_or_else(|| {
            let text = excerpt(text);
            format!("{name} is `{text}`: give pixels, or leave all four out")
        })?;
        if number < 0.0 || number > f64::from(u32::MAX) {
            return Err(format!("{name} is {text}: pixels are counted from 0"));
        }
        *pixel = number.round() as u32;
    }
    let [left, top, right, bottom] = pixels;
    BoundingBox::new(left, top, right, bottom).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table beside the images `1.png` to `4.png`.
    fn table(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        for image in 1..=4 {
            std::fs::write(dir.path().join(format!("{image}.png")), "x").unwrap();
        }
        let file = dir.path().join("table.csv");
        std::fs::write(&file, text).unwrap();
        (dir, file)
    }

    fn open(text: &str) -> Result<Dataset, DataError> {
        let (_dir, file) = table(text);
        read(&file, true)
    }

    #[test]
    fn labels_that_a_program_may_have_changed_are_warned_of() {
        let notes = |labels: &[&str]| {
            let lines = labels.iter().enumerate();
            let lines: String = lines
                .map(|(row, label)| format!("{row}.png,{label}\n"))
                .collect();
            let (_dir, file) = table(&format!("path,label\n{lines}"));
            let dataset = read(&file, false).unwrap();
            assert!(dataset.notes().iter().all(Note::is_warning));
            let messages = dataset.notes().iter().map(|note| note.message().to_owned());
            messages.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(notes(&["1", "2", "-3", "a", "infinity"]), "");
        let message = notes(&["1", "1.0", "2", "7", "07"]);
        assert!(
            message.contains("the labels 1 and 1.0 are one number"),
            "{message}"
        );
        assert!(message.contains("as 1 more are"), "{message}");
        let message = notes(&["1", "2", "nan"]);
        assert!(
            message.contains("the label nan counts as a class"),
            "{message}"
        );
    }

    #[test]
    fn path_and_label_are_enough() {
        let (_dir, file) = table("path,label\n1.png,10\n2.png,2\n3.png,10\n4.png,-1\n");
        let dataset = read(&file, true).unwrap();
        assert_eq!(dataset.name(), "table");
        assert_eq!(
            dataset.class_names(),
            ["-1", "2", "10"],
            "in the order of numbers"
        );
        assert_eq!(dataset.labels(&[0, 1, 2, 3]), [2, 1, 2, 0]);
        let halves = split_by_name(&["-1", "2", "10"]);
        assert!(
            dataset
                .items()
                .iter()
                .all(|item| item.split == halves[item.class as usize])
        );
        assert_eq!(*dataset.read(3).unwrap(), *b"x");
    }

    #[test]
    fn all_columns_are_read_and_others_ignored() {
        let dataset = open(
            "\u{feff}split, is_query ,is_gallery,label,weather,path,x_1,y_1,x_2,y_2\n\
             train,,,a,sun,1.png,,,,\n\
             validation,True,False,b,rain,2.png,1,2,30.0,4\n\
             val,0,1,b,,3.png,0,0,1,1\n\
             test,TRUE,true,b,,4.png,,,,\n",
        )
        .unwrap();
        assert_eq!(dataset.split(Split::Train), [0]);
        assert_eq!(dataset.split(Split::Validation), [1, 2]);
        assert_eq!(dataset.split(Split::Test), [3]);
        let roles: Vec<_> = dataset.items().iter().map(|item| item.role).collect();
        assert_eq!(roles, [Role::Both, Role::Query, Role::Gallery, Role::Both]);
        assert_eq!(dataset.items()[0].bbox, None);
        assert_eq!(dataset.items()[1].bbox, BoundingBox::new(1, 2, 30, 4).ok());
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named_by_its_number() {
        let header = "path,label,split,is_query,is_gallery,x_1,y_1,x_2,y_2";
        for (line, word) in [
            ("9.png,a,train,,,,,,", "there is no file"),
            (",a,train,,,,,,", "the path is empty"),
            ("1.png,,train,,,,,,", "the label is empty"),
            ("1.png,a,dev,,,,,,", "`dev`: use train, test or validation"),
            ("1.png,a,,,,,,,", "the split is ``"),
            ("1.png,a,test,maybe,1,,,,", "is_query is `maybe`"),
            ("1.png,a,test,0,0,,,,", "neither query nor gallery"),
            ("1.png,a,test,1,1,5,5,5,9", "no area"),
            ("1.png,a,test,1,1,5,5,,9", "x_2 is ``"),
            ("1.png,a,test,1,1,-5,5,6,9", "x_1 is -5"),
            ("1.png,a,test,1,1,nan,5,6,9", "x_1 is `nan`"),
            ("1.png,a", "2 fields where the header has 9"),
        ] {
            let text = format!("{header}\n1.png,a,train,,,,,,\n{line}\n");
            let message = open(&text).unwrap_err().to_string();
            assert!(
                message.contains("line 3 of ") && message.contains(word),
                "{message}"
            );
        }
    }

    #[test]
    fn a_table_that_cannot_be_used_is_named_with_the_way_out() {
        for (text, word) in [
            ("", "no column `path`"),
            (
                "path,class\n1.png,a\n",
                "no column `label` but `path,class`",
            ),
            ("path,label\n", "no lines"),
            ("path,label\n1.png,a\n2.png,a\n", "only one label"),
            ("path,label,x_1,y_2\n1.png,a,1,2\n", "not y_1, x_2"),
        ] {
            let message = open(text).unwrap_err().to_string();
            assert!(
                message.contains(word) && message.contains("table.csv"),
                "{message}"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        let message = read(&dir.path().join("none.csv"), true)
            .unwrap_err()
            .to_string();
        assert!(message.contains("none.csv is not there"), "{message}");
        let message = read(dir.path(), true).unwrap_err().to_string();
        assert!(message.contains("is a folder"), "{message}");

        let (_dir, file) = table("");
        std::fs::write(&file, b"path,label\n1.png,\xff\n").unwrap();
        let message = read(&file, true).unwrap_err().to_string();
        assert!(
            message.contains("line 2") && message.contains("UTF-8"),
            "{message}"
        );
    }
}
